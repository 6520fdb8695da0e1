"""`nbguard alert` and `nbguard ack` as processes: what each channel answered, who answers, and no secret anywhere."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.shell_completion import ShellComplete

from nbguard.app_alert import open_desk
from nbguard.cli.context import Context
from nbguard.cli.main import main
from nbguard.settings import Channel, Settings
from nbguard.settings_writing import as_toml
from tests.alert.servers import Mailbox, Web, free_port, smtp
from tests.alert.servers import http as web_server
from tests.helpers import REPOSITORY, Answer, nbguard, notebook_bytes

CODE = re.compile(r"nbguard ack ([0-9A-Z]{4}-[0-9A-Z]{4})")


def configured(*channels: Channel, mode: int = 0o600) -> Path:
    path = Path(os.environ["NBGUARD_HOME"]) / "config.toml"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    (path.parent / "state").mkdir(mode=0o700, exist_ok=True)
    path.write_text(as_toml(Settings(channels=channels)))
    path.chmod(mode)
    return path


def mail(port: int, name: str = "mail", more: str = "") -> Channel:
    url = f"mailto://127.0.0.1:{port}/?from=n@example.org&to=ada@example.org{more}"
    return Channel(name=name, human="ada", url=url)


def code_in(mailbox: Mailbox) -> str:
    found = CODE.search(mailbox.mails[-1].get_content())
    assert found is not None
    return found[1]


def state_of(name: str) -> str:
    (state,) = [each["state"] for each in nbguard("alert", "list", "--json").json if each["name"] == name]
    assert isinstance(state, str)
    return state


def hides(answer: Answer) -> bool:
    return "hush" not in answer.out + answer.talk


def test_a_test_says_what_each_answered_and_how_many_took_it(home: Path) -> None:
    down = free_port()
    with smtp(Mailbox()) as good, smtp(Mailbox(rcpt="550 5.1.1 who is that?")) as bad, web_server(Web()) as web:
        hook = Channel(name="hook", human="bob", url=web.url.replace("http", "json") + "/hush")
        gone = Channel(name="gone", human="bob", url=f"json://127.0.0.1:{down}/hush")
        configured(mail(good.port), mail(bad.port, "no"), hook, gone)
        some = nbguard("alert", "test")
        one = nbguard("alert", "test", "hook")
        none = nbguard("alert", "test", "no", "--json")
    assert some.code == 3
    assert "mail (ada): sent: 250 2.0.0 queued as 4711\n" in some.out
    assert "no (ada): NOT sent: 550 5.1.1 who is that?\n" in some.out
    assert "hook (bob): sent: accepted\n" in some.out
    assert "gone (bob): NOT sent: " in some.out
    assert one.code == 0
    assert none.code == 1
    (told,) = none.json
    assert (told["name"], told["sent"], told["refused"]) == ("no", False, True)
    assert told["address"] == f"mailto://127.0.0.1:{bad.port}?to=ada@example.org"
    assert all(map(hides, (some, one, none)))
    assert len(good.mails) == 1
    assert len(web.requests) == 2


def test_a_channel_that_is_not_there_is_said_with_those_that_are(home: Path) -> None:
    assert "nbguard setup --notify" in nbguard("alert", "test").talk
    configured(mail(1))
    answer = nbguard("alert", "test", "hook")
    assert answer.code == 1
    assert "there are: mail" in answer.talk


def test_a_configuration_with_secrets_that_others_can_read_is_named(home: Path) -> None:
    channel = Channel(name="hook", human="bob", url="json://hush@h/hush")
    configured(channel, mode=0o644)
    answer = nbguard("alert", "list")
    assert answer.code == 0
    assert "holds secrets and can be read by others (0644): chmod 600" in answer.talk
    assert "json://h/****" in answer.out
    assert hides(answer)
    assert "can be opened by others" in (doctor := nbguard("doctor")).out + doctor.talk
    configured(channel)
    assert "chmod" not in nbguard("alert", "list").talk


SHOWING = [
    "config show",
    "config show --json",
    "config validate",
    "status",
    "status --json",
    "doctor",
    "doctor --support",
]


@pytest.mark.parametrize(
    "command", [*SHOWING, "check", "alert list --json", "alert test --json", "setup --yes --dry-run"]
)
def test_no_command_prints_a_secret(home: Path, command: str) -> None:
    url = "mailto://ada:hush@127.0.0.1:1/?from=n@example.org"
    configured(Channel(name="a", human="a", url=url), Channel(name="b", human="b", command=("true", "--token=hush")))
    answer = nbguard(*command.split())
    assert hides(answer)
    assert answer.code != 70
    for log in Path(os.environ["NBGUARD_HOME"], "state").glob("*.log*"):
        assert "hush" not in log.read_text()


def test_a_code_is_answered_however_it_is_typed_and_once(home: Path) -> None:
    with smtp(Mailbox()) as mailbox:
        configured(mail(mailbox.port))
        assert nbguard("alert", "test").code == 0
        code = code_in(mailbox)
    assert state_of("mail") == "unproven"
    odd = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    answer = nbguard("ack", *odd.split(" "))
    assert (answer.code, answer.out) == (0, "thank you: ada reads mail\n")
    assert state_of("mail") == "live"
    again = nbguard("ack", code, "--json")
    assert (again.code, again.json["outcome"]) == (0, "already")


def test_a_code_is_answered_also_while_the_configuration_is_broken(home: Path) -> None:
    with smtp(Mailbox()) as mailbox:
        path = configured(mail(mailbox.port))
        assert nbguard("alert", "test").code == 0
        good = path.read_bytes()
        path.write_bytes(b"broken")
        answer = nbguard("ack", code_in(mailbox))
        assert (answer.code, answer.out) == (0, "thank you: ada reads mail\n")
        path.write_bytes(good)
        assert state_of("mail") == "live"


def test_a_whole_message_can_be_piped_in(home: Path) -> None:
    with smtp(Mailbox()) as mailbox:
        configured(mail(mailbox.port))
        nbguard("alert", "test")
        message = mailbox.mails[-1].as_string()
    answer = nbguard("ack", "-", "--json", typed=message)
    assert (answer.code, answer.json["human"]) == (0, "ada")
    assert nbguard("ack", "-", typed="no code in here").code == 2


def test_a_wrong_code_is_said_and_after_many_none_is_heard(home: Path) -> None:
    with smtp(Mailbox()) as mailbox:
        configured(mail(mailbox.port))
        nbguard("alert", "test")
        right = code_in(mailbox)
    wrong = nbguard("ack", "AAAA-AAAA", "--json")
    assert (wrong.code, wrong.json["outcome"], wrong.json["accepted"]) == (1, "unknown", False)
    assert "it stands in the newest message" in wrong.talk
    assert nbguard("ack").code == 2
    desk = open_desk(Context.from_environment(None))
    for _ in range(9):
        desk.answer("AAAA-AAAA")
    late = nbguard("ack", right)
    assert late.code == 1
    assert "too many wrong codes" in late.talk
    assert state_of("mail") == "unproven"


def test_a_page_on_this_machine_takes_the_code(home: Path) -> None:
    with smtp(Mailbox()) as mailbox:
        configured(mail(mailbox.port))
        nbguard("alert", "test")
        code = code_in(mailbox)
    child = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "ack", "--page"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert child.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\S+", child.stderr.readline())
        assert found is not None
        where = urlsplit(found[0])
        shown = _ask(where.netloc, "GET", where.path)
        token = re.search(r'name="token" value="([^"]+)"', shown)
        assert token is not None
        assert "thank you: ada reads mail" in _ask(where.netloc, "POST", where.path, f"code={code}&token={token[1]}")
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.communicate()
    assert state_of("mail") == "live"


def test_a_full_check_tells_a_dead_mans_switch_how_it_went(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a"))
    assert nbguard("setup", "--yes", "--no-service", "--watch", str(work)).code == 0
    assert nbguard("run", "--once").code == 0
    path = Path(os.environ["NBGUARD_HOME"], "config.toml")
    with web_server(Web()) as web:
        path.write_text(f'{path.read_text()}\n[alerts]\nping_url = "{web.url}/hush"\n')
        silent = [nbguard("check", "--light"), nbguard("check", "--no-send")]
        assert web.requests == []
        proven = nbguard("check")
        (work / "a.ipynb").write_bytes(notebook_bytes("a", "b"))
        shutil.rmtree(Path(os.environ["NBGUARD_HOME"], "archive.git"))
        broken = nbguard("check")
    asked = [urlsplit(request.path) for request in web.requests]
    assert [each.path for each in asked] == ["/hush/start", "/hush", "/hush/start", "/hush/fail"]
    assert asked[0].query == asked[1].query != asked[2].query
    assert b"archive-missing" in web.requests[-1].body
    assert all(map(hides, (*silent, proven, broken)))


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with web_server(Web()) as web:
        answer = nbguard("ack", "--page", "--port", str(urlsplit(web.url).port))
    assert answer.code == 1
    assert "no page can be shown" in answer.talk


def _ask(host: str, method: str, path: str, body: str = "") -> str:
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request(method, path, body)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_channels_come_by_tab(home: Path) -> None:
    shell = ShellComplete(main, {}, "nbguard", "_NBGUARD_COMPLETE")
    assert shell.get_completions(["alert", "test"], "") == []
    configured(mail(1), mail(1, "second"))
    assert [item.value for item in shell.get_completions(["alert", "test"], "s")] == ["second"]


def test_a_code_where_nothing_was_ever_told_is_unknown_and_nothing_is_made(home: Path) -> None:
    answer = nbguard("ack", "K7Q2-9XPM")
    assert (answer.code, answer.out) == (1, "")
    assert "no code of a message from here" in answer.talk
    assert "cannot write" not in answer.talk
    assert not Path(os.environ["NBGUARD_HOME"]).exists()
