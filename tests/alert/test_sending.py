"""Channels other than mail: what each answers, what none of them says, and what delivers when all else is gone."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alert.sending import ChannelSender, open_sender, shown_address
from nbguard.alerting import Message, MessageKind
from nbguard.masking import masked_channel, masked_ping, masked_remote
from nbguard.settings import Channel
from tests.alert.servers import Mailbox, Web, certificate_in, free_port, http, smtp
from tests.helpers import REPOSITORY, poll

NEWS = Message(
    kind=MessageKind.INCIDENT, title="The backups stand still", body="nbguard ack K7Q2-9XPM", code="K7Q2-9XPM"
)


def at(url: str = "", *, command: tuple[str, ...] = ()) -> Channel:
    return Channel(name="one", human="ada", url=url, command=command)


@pytest.fixture
def sender() -> ChannelSender:
    return open_sender((), timeout_seconds=2.0, environment=dict(os.environ))


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_webhook_is_sent_to_and_says_so(sender: ChannelSender) -> None:
    with http(Web()) as web:
        sent = sender.send(at(web.url.replace("http", "json") + "/hook"), NEWS)
    (request,) = web.requests
    assert (sent.is_sent, sent.answer) == (True, "accepted")
    told = json.loads(request.body)
    assert (told["title"], told["message"], told["type"]) == (NEWS.title, NEWS.body, "failure")


@pytest.mark.parametrize(("status", "refused"), [(500, False), (404, True), (401, True), (429, False)])
def test_a_webhook_that_says_no_is_not_sent_and_its_token_not_shown(
    sender: ChannelSender, status: int, refused: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    with http(Web(answers=[(status, {}, b"no t0k3n-of-ada here")])) as web:
        channel = at(web.url.replace("http://", "json://ada:hush-hush@") + "/t0k3n-of-ada?+X=hush-too")
        sent = sender.send(channel, NEWS)
    assert len(web.requests) == 1
    assert not sent.is_sent
    assert sent.refused is refused
    assert str(status) in sent.answer
    logging.getLogger().removeHandler(handler)
    everything = sent.answer + log.getvalue() + "".join(capfd.readouterr()) + shown_address(channel)
    for secret in ("t0k3n-of-ada", "hush-hush", "hush-too"):
        assert secret not in everything


def test_what_is_too_long_for_a_service_goes_in_parts_with_the_code_in_the_last(sender: ChannelSender) -> None:
    long = Message(kind=MessageKind.INCIDENT, title="much", body="x <b> & y\n" * 4_000 + NEWS.body)
    with http(Web()) as web:
        assert sender.send(at(web.url.replace("http", "json")), long).is_sent
    told = [json.loads(request.body)["message"] for request in web.requests]
    assert len(told) == 2
    assert told[-1].endswith(NEWS.body)
    assert "x <b> & y" in told[0]


def test_a_closed_port_is_not_sent(sender: ChannelSender) -> None:
    sent = sender.send(at(f"json://127.0.0.1:{free_port()}/x"), NEWS)
    assert not sent.is_sent
    assert not sent.refused
    assert "onnection" in sent.answer


REFUSED = [
    ("syslog says yes with no daemon", "syslog://", "no way to a human"),
    ("syslog elsewhere", "rsyslog://127.0.0.1", "no way to a human"),
    ("a scheme nobody knows", "nosuchthing://hush-hush", "Apprise does not know this URL"),
    ("no scheme", "hush-hush", "Apprise does not know this URL"),
    ("a service without what it needs", "slack://hush-hush", "Apprise does not know this URL"),
    ("two numbers", "signal://127.0.0.1/+15551234567/+15551234568/+15551234569", "2 recipients in one URL"),
    ("two topics", "ntfys://127.0.0.1/hush-one/hush-two", "2 recipients in one URL"),
    ("a bus of this desktop", "dbus://", "desktop:"),
]


@pytest.mark.parametrize(("url", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_channel_that_cannot_be_one_is_refused_with_the_reason(sender: ChannelSender, url: str, words: str) -> None:
    assert words in sender.trouble(at(url))
    sent = sender.send(at(url), NEWS)
    assert not sent.is_sent
    assert sent.refused
    assert "hush" not in sent.answer


def test_a_command_reads_the_message_and_its_exit_code_is_said(sender: ChannelSender, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    good = program(tmp_path, "good", f'(echo "$NBGUARD_ALERT_KIND $NBGUARD_ALERT_CODE $1"; cat) > {kept}; echo told')
    sent = sender.send(at(command=(good, "an argument")), NEWS)
    assert (sent.is_sent, sent.answer, sent.printed) == (True, f"{good} ended with 0", "told")
    assert kept.read_text() == f"incident K7Q2-9XPM an argument\n{NEWS.title}\n\n{NEWS.body}\n"
    bad = program(tmp_path, "bad", "echo no bell >&2; exit 7")
    sent = sender.send(at(command=(bad,)), NEWS)
    assert (sent.is_sent, sent.refused, sent.answer) == (False, False, f"{bad} ended with 7")
    assert sent.printed == "no bell", "in no answer, for answers are kept, logged and shown to all"


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    slow = program(tmp_path, "slow", f"sleep 300 & echo $! > {number}; wait")
    sent = open_sender((), timeout_seconds=0.5, environment=dict(os.environ)).send(at(command=(slow,)), NEWS)
    assert sent.answer == f"{slow} was ended: it took over 0.5 s"
    child = int(number.read_text())
    poll(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


def test_a_command_may_say_a_lot_and_read_nothing(sender: ChannelSender, tmp_path: Path) -> None:
    loud = program(tmp_path, "loud", "head -c 3000000 /dev/zero | tr '\\0' x; echo the end")
    sent = sender.send(at(command=(loud,)), Message(kind=MessageKind.TEST, title="t", body="b" * 200_000))
    assert sent.is_sent
    assert len(sent.answer) <= 300


def test_a_command_may_leave_somebody_running(sender: ChannelSender, tmp_path: Path) -> None:
    leaving = program(tmp_path, "leaving", f"sleep 3 & echo $! > {tmp_path}/pid")
    assert sender.send(at(command=(leaving,)), NEWS).is_sent
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_program_that_is_not_there_is_said_and_found_when_it_comes(sender: ChannelSender, tmp_path: Path) -> None:
    channel = at(command=(str(tmp_path / "later"),))
    first = sender.send(channel, NEWS)
    assert "there is no program" in first.answer
    assert not first.refused
    program(tmp_path, "later", "exit 0")
    assert sender.send(channel, NEWS).is_sent


def test_a_secret_lies_in_the_environment_or_in_a_file_of_ones_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with http(Web()) as web:
        url = web.url.replace("http", "json") + "/hush-hush"
        sender = open_sender((), timeout_seconds=2.0, environment={"HOOK": f" {url}\n"})
        assert sender.send(at("env:HOOK"), NEWS).is_sent
        secret.write_text(f"{url}\n")
        secret.chmod(0o600)
        assert sender.send(at(f"file:{secret}"), NEWS).is_sent
        assert sender.send(at(f"file:{secret}"), NEWS).is_sent
    assert [request.path for request in web.requests] == ["/hush-hush"] * 3
    assert shown_address(at(f"file:{secret}")) == f"file:{secret}"


def test_a_secret_that_others_can_read_is_not_used(sender: ChannelSender, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("json://127.0.0.1:1/hush-hush")
    secret.chmod(0o640)
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "round").touch(0o600)
    (tmp_path / "round").write_text("env:HOME")
    for name, words in {
        "secret": "can be read by others (0640)",
        "link": "cannot read",
        "pipe": "is no file",
        "empty": "does not hold one line",
        "none": "cannot read",
        "round": "leads to another env:",
    }.items():
        trouble = sender.trouble(at(f"file:{tmp_path / name}"))
        assert words in trouble
        assert "hush" not in trouble
    assert "not set in the environment" in sender.trouble(at("env:NO_SUCH_NAME"))


def test_a_desktop_is_told_in_its_own_words(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program(tmp_path, "notify-send", f'printf "%s\\n" "$@" > {seen}')
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    sender = open_sender((), timeout_seconds=2.0, environment=environment)
    odd = Message(kind=MessageKind.INCIDENT, title="--help", body="<b>a & b</b>")
    sent = sender.send(at("desktop:"), odd)
    assert (sent.is_sent, sent.answer) == (True, "shown by notify-send")
    assert seen.read_text().splitlines()[-3:] == ["--", "--help", "&lt;b&gt;a &amp; b&lt;/b&gt;"]
    program(tmp_path, "notify-send", "echo cannot open display; exit 1")
    sent = sender.send(at("desktop:"), NEWS)
    assert (sent.is_sent, sent.refused) == (False, False)
    assert "cannot open display" in sent.answer


def test_without_a_desktop_the_desktop_is_not_sent_to(tmp_path: Path) -> None:
    for name in ("gdbus", "busctl"):
        if (real := Path("/usr/bin") / name).exists():
            (tmp_path / name).symlink_to(real)
            environment = {"PATH": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
            sent = open_sender((), timeout_seconds=5.0, environment=environment).send(at("desktop:"), NEWS)
            assert not sent.is_sent
            assert name in sent.answer
            (tmp_path / name).unlink()
    assert "nothing here can notify" in open_sender((), timeout_seconds=1.0, environment={"PATH": "/none"}).trouble(
        at("desktop:")
    )


def test_wall_says_yes_to_an_empty_house_and_we_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "wall", f"cat > {tmp_path}/walled")
    sender = open_sender((), timeout_seconds=2.0, environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    monkeypatch.setattr("psutil.users", lambda: [])
    assert sender.send(at("wall:"), NEWS).answer == "nobody is logged in at a terminal"
    assert not (tmp_path / "walled").exists()

    class Somebody:
        terminal = "pts/3"

    monkeypatch.setattr("psutil.users", lambda: [Somebody()])
    assert sender.send(at("wall:"), NEWS).is_sent
    assert NEWS.title in (tmp_path / "walled").read_text()


MASKED = [
    (
        "mailto://ada:hush@mail.example.org:25/?from=a@x.org&to=bob@x.org",
        "mailto://ada:****@mail.example.org:25?to=bob@x.org",
    ),
    ("mailtos://mail.example.org?user=ada&pass=hush", "mailtos://ada:****@mail.example.org"),
    ("json://ada:hush@127.0.0.1:8080/hush", "json://127.0.0.1:8080/****"),
    ("discord://hush/hush", "discord://****"),
    ("ntfy://hush", "ntfy://****"),
    ("https://hooks.slack.com/hush", "https://****"),
    ("env:MAIL", "env:MAIL"),
    ("file:~/.mail", "file:~/.mail"),
    ("file://hush", "file://****"),
    ("desktop:", "desktop:"),
    ("hush", "****"),
    ("ha sh:hush", "****"),
    ("mailto://[hush", "mailto://****"),
    ("", ""),
]


@pytest.mark.parametrize(("url", "shown"), MASKED)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked_channel(url) == shown
    assert "hush" not in shown


SECRET = "S3CRETxS3CRET"
_schemes = st.sampled_from(["json", "jsons", "ntfy", "slack", "discord", "https", "gotify", "matrix", "x-y", ""])
_around = st.text(st.sampled_from("ab/@:?&=#[]%. "), max_size=12)


@given(scheme=_schemes, parts=st.lists(_around, min_size=1, max_size=4))
def test_whatever_a_url_looks_like_its_secret_is_not_shown(scheme: str, parts: list[str]) -> None:
    url = f"{scheme}://h.example/{SECRET.join([*parts, ''])}"
    assert SECRET not in masked_channel(url)
    assert SECRET not in masked_ping(url)
    assert SECRET not in masked_channel(f"{scheme}://{SECRET}:{SECRET}@h.example/{parts[0]}")
    assert SECRET not in masked_channel(f"mailto://ada:{SECRET}@h.example/?pass={SECRET}&to={parts[0]}")


@given(url=st.text(max_size=40) | st.builds("{}://{}".format, _schemes | st.just("mailto"), st.text(max_size=40)))
def test_no_url_is_more_than_a_channel_that_cannot_be_used(url: str) -> None:
    sender = open_sender((), timeout_seconds=0.01, environment={})
    trouble = sender.trouble(at(url)) if not url.startswith("file:") else ""
    assert "\n" not in trouble
    assert len(url) < 9 or url not in trouble


def test_pings_and_remotes_are_shown_without_theirs() -> None:
    assert masked_ping("https://hc.example.org/hush-hush") == "https://hc.example.org/****"
    assert masked_ping("hush") == "****"
    assert masked_remote("https://ghp_hush@github.com/ada/kept.git?x=hush") == "https://****@github.com/ada/kept.git"
    assert masked_remote("https://ada:hush@host/kept.git") == "https://****@host/kept.git"
    assert masked_remote("ssh://ada:hush@host/kept.git") == "ssh://ada:****@host/kept.git"
    assert masked_remote("ssh://git@host/kept.git") == "ssh://git@host/kept.git"
    assert masked_remote("/media/disk/kept.git") == "/media/disk/kept.git"


_ALONE = """
import os, sys
from nbguard.alert.sending import open_sender
from nbguard.alerting import Message, MessageKind
from nbguard.settings import Channel

urls = sys.argv[1:]
channels = [Channel(name=f"c{at}", human="ada", url=url) for at, url in enumerate(urls)]
channels.append(Channel(name="command", human="ada", command=("true",)))
sender = open_sender(channels, timeout_seconds=3.0, environment=dict(os.environ))

class Gone:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"{name}: everything that could be imported is gone")

sys.meta_path[:] = [Gone()]
sys.path[:] = []
os.unlink(os.environ["REQUESTS_CA_BUNDLE"])
os.unlink(os.environ["SSL_CERT_FILE"])
for kind in MessageKind:
    for channel in channels:
        sent = sender.send(channel, Message(kind=kind, title="still hér", body="bödy", code="K7Q2-9XPM"))
        print(channel.name, kind, sent)
        assert sent.is_sent, sent
"""


def test_what_was_built_delivers_when_nothing_can_be_imported_and_no_certificate_read(tmp_path: Path) -> None:
    import shutil
    import ssl

    pem = certificate_in(tmp_path)
    for name in ("bundle.pem", "authorities.pem"):
        shutil.copy(tmp_path / "cert.pem", tmp_path / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "bundle.pem"),
        "SSL_CERT_FILE": str(tmp_path / "authorities.pem"),
    }
    mailbox, web = Mailbox(), Web()
    with smtp(mailbox, tls_context=context), http(web, pem):
        mail = f"mailtos://127.0.0.1:{mailbox.port}/?from=n@example.org&to=ada@example.org"
        hook = web.url.replace("https", "jsons") + "/hook"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_ALONE), mail, hook],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "bundle.pem").exists()
    assert mailbox.encrypted == [True] * len(MessageKind)
    assert len(web.requests) == len(MessageKind)
