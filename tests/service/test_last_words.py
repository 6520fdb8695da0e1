"""What the alert unit runs when nothing of nbguard is left: real mail, real posts, a command, no secret in sight."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nbguard.app_service import prepare_last_words
from nbguard.cli.context import Context
from nbguard.service.last_words import Mail, Post, Run, Way, post_of, script
from tests.alert.servers import Mailbox, password_is, smtp
from tests.helpers import nbguard

TEXT = "nbguard on lab: nbguard-check.service failed: it is \"gone\" $(date) \\ 'x'. Run: nbguard status"
PASSWORD = "p$`\"\\'#w"


def say(*ways: Way) -> str:
    """Run the script as the alert unit does; what it complained of."""
    text = script(ways)
    done = subprocess.run(
        ["/bin/sh", "-c", text, "alert-channels.sh", TEXT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert done.stdout == ""
    assert PASSWORD not in done.stderr
    return done.stderr


def mail(port: int, **changes: object) -> Mail:
    fields: dict[str, object] = {
        "server": "127.0.0.1",
        "port": port,
        "encryption": "offered",
        "sender": "nbguard@lab.example",
        "recipient": "ada@lab.example",
        "user": "",
        "password": "",
        "verify": True,
        **changes,
    }
    return Mail(**fields)  # type: ignore[arg-type]  # a table of the fields' own values


def test_a_mail_arrives_with_the_text_as_it_is() -> None:
    with smtp(Mailbox()) as mailbox:
        assert say(mail(mailbox.port)) == ""
    (taken,) = mailbox.mails
    assert taken.get_content().strip() == TEXT
    assert taken["To"] == "ada@lab.example"
    assert mailbox.recipients == ["ada@lab.example"]


def test_a_password_with_every_odd_letter_is_given_to_the_server_and_to_nobody_else() -> None:
    asked = {"authenticator": password_is(b"ada", PASSWORD.encode()), "auth_require_tls": False}
    with smtp(Mailbox(), **asked) as mailbox:
        assert say(mail(mailbox.port, user="ada", password=PASSWORD)) == ""
    assert mailbox.authenticated == [True]
    assert PASSWORD not in " ".join(line for line in script([mail(25, user="ada", password=PASSWORD)]).split("curl"))


def test_a_password_is_never_sent_to_another_machine_without_encryption() -> None:
    assert "ssl-reqd" in script([mail(25, server="mail.example", user="ada", password="x")])
    assert "ssl-reqd" in script([mail(587, encryption="starttls")])
    assert "smtps://" in script([mail(465, encryption="ssl")])


def test_a_server_that_is_not_there_costs_the_others_nothing(tmp_path: Path) -> None:
    told = tmp_path / "it's told"
    complaint = say(mail(1), Run(words=("tee", str(told))))
    assert "curl:" in complaint
    assert told.read_text() == f"{TEXT}\n"


class Inbox(HTTPServer):
    """A web server that keeps what was posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Keeping)
        self.posts: list[tuple[str, str, str, str]] = []


class Keeping(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Inbox)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        authorization = self.headers.get("Authorization", "")
        self.server.posts.append((self.path, body, self.headers["Content-Type"], authorization))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing to say."""


@contextmanager
def inbox() -> Generator[Inbox]:
    server = Inbox()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_apprise_would_post_is_posted() -> None:
    import json

    with inbox() as server:
        where = f"ada:{PASSWORD.replace('#', '%23')}@127.0.0.1:{server.server_port}"
        ways = [post_of(f"{scheme}://{where}/alerts") for scheme in ("ntfy", "json")]
        assert None not in ways
        assert say(*(way for way in ways if way is not None)) == ""
    (topic, plain, _, said), (_, hook, kind, _) = server.posts
    assert topic == "/alerts"
    assert plain == TEXT.replace('"', "").replace("\\", "")
    assert said.startswith("Basic ")
    assert json.loads(hook)["message"] == plain
    assert kind == "application/json"


@pytest.mark.parametrize(
    ("url", "web"),
    [
        ("ntfy://my-topic", "https://ntfy.sh/my-topic"),
        ("ntfys://ntfy.example/top", "https://ntfy.example/top"),
        ("jsons://hook.example:8443/a/b", "https://hook.example:8443/a/b"),
        ("slack://a/b/c", None),
        ("env:URL", None),
        ("file:/home/ada/url", None),
        ("desktop:", None),
        ("ntfy://[broken", None),
    ],
)
def test_only_what_a_plain_post_can_do_is_taken(url: str, web: str | None) -> None:
    way = post_of(url)
    assert (way.url if way is not None else None) == web


def test_what_could_end_the_script_early_is_left_out() -> None:
    assert script([mail(25, user="ada", password="a\nNBGUARD-END\nrm -rf x")]) == ""
    assert script([Post(url="https://x/NBGUARD-END", body="$plain", header="a: b")]) == ""
    assert script([mail(25, user="a:b", password="c")]) == ""


def test_it_is_written_for_its_owner_alone_while_a_service_is_wanted_and_holds_what_the_configuration_holds(
    home: Path,
) -> None:
    (home / "work").mkdir()
    assert nbguard("run", "--watch", str(home / "work"), "--once").code == 0
    folder = home / ".nbguard"
    with (folder / "config.toml").open("a") as file:
        file.write('\n[[channels]]\nname = "mail"\nhuman = "ada"\nurl = "mailto://ada:pw@127.0.0.1:2525?from=a@b.c"\n')
        file.write('\n[[channels]]\nname = "chat"\nhuman = "bob"\nurl = "file:/secret"\n')
    path = folder / "emergency" / "alert-channels.sh"
    context = Context(home=str(folder), config=None)
    prepare_last_words(context)
    assert not path.exists(), "no service, no script"
    (folder / "state/service-installed").touch()
    prepare_last_words(context)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "ada:pw" in path.read_text()
    assert "/secret" not in path.read_text()
    before = path.stat().st_ino
    prepare_last_words(context)
    assert path.stat().st_ino == before, "not written again"
