"""Mail: a yes is the server's own yes, a no says why and whether for good, and nothing waits longer than allowed."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from nbguard.alert.mail_address import Encryption, MailAddress, read_mail_address
from nbguard.alert.route import BadChannel
from nbguard.alert.sending import ChannelSender, open_sender
from nbguard.alerting import Message, MessageKind
from nbguard.settings import Channel
from tests.alert.servers import Mailbox, certificate_in, free_port, password_is, raw_server, smtp

CALL = Message(kind=MessageKind.ROLL_CALL, title="Are you there?", body="nbguard ack K7Q2-9XPM\n", code="K7Q2-9XPM")


def mail(port: int, rest: str = "", *, scheme: str = "mailto", who: str = "") -> Channel:
    url = f"{scheme}://{who}127.0.0.1:{port}/?from=nbguard@example.org&to=ada@example.org{rest}"
    return Channel(name="mail", human="ada", url=url)


@pytest.fixture
def sender() -> ChannelSender:
    return open_sender((), timeout_seconds=1.0, environment=dict(os.environ))


def test_what_is_sent_arrives_and_the_servers_words_come_back(sender: ChannelSender) -> None:
    with smtp(Mailbox()) as mailbox:
        sent = sender.send(mail(mailbox.port), CALL)
    assert (sent.is_sent, sent.answer) == (True, "250 2.0.0 queued as 4711")
    (arrived,) = mailbox.mails
    assert arrived["To"] == "ada@example.org"
    assert arrived["Subject"] == "Are you there?"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived.get_content().splitlines() == ["nbguard ack K7Q2-9XPM"]


def test_a_title_cannot_add_headers_and_odd_names_do_not_stop_a_mail(sender: ChannelSender) -> None:
    odd = Message(kind=MessageKind.INCIDENT, title="gone: a\r\nBcc: eve@example.org\udcff", body="\udcff\n.\nend\n")
    with smtp(Mailbox()) as mailbox:
        assert sender.send(mail(mailbox.port), odd).is_sent
    (arrived,) = mailbox.mails
    assert arrived["Bcc"] is None
    assert arrived["Subject"] == "gone: a Bcc: eve@example.org?"
    assert arrived.get_content().splitlines() == ["?", ".", "end"]


def test_a_long_title_arrives_as_it_is(sender: ChannelSender) -> None:
    title = "nbguard on a-machine: a notebook or kernel is not protected: own-files-removed, and more: é " + "x" * 60
    with smtp(Mailbox()) as mailbox:
        assert sender.send(mail(mailbox.port), Message(kind=MessageKind.TEST, title=title, body="b\n")).is_sent
    assert mailbox.mails[0]["Subject"] == title


NOES = [
    ("an unknown recipient", {"rcpt": "550 5.1.1 no such user here"}, "550 5.1.1 no such user here", True),
    ("grey-listing", {"rcpt": "451 4.7.1 come back later"}, "451 4.7.1 come back later", False),
    ("a full mailbox", {"rcpt": "552 5.2.2 mailbox full"}, "552 5.2.2 mailbox full", False),
    ("a sender it does not like", {"sender": "553 5.7.1 not yours"}, "553 5.7.1 not yours", True),
    ("content it does not like", {"data": "554 5.6.0 spam"}, "554 5.6.0 spam", True),
    ("escapes for our terminal", {"rcpt": "550 \x1b[31mred"}, "550 [31mred", True),
]


@pytest.mark.parametrize(("says", "answer", "refused"), [no[1:] for no in NOES], ids=[no[0] for no in NOES])
def test_a_no_is_told_with_its_code_and_whether_it_is_final(
    sender: ChannelSender, says: dict[str, str], answer: str, refused: bool
) -> None:
    with smtp(Mailbox(**says)) as mailbox:  # type: ignore[arg-type]  # each is one of its texts
        sent = sender.send(mail(mailbox.port), CALL)
    assert mailbox.recipients or "sender" in says
    assert (sent.is_sent, sent.answer, sent.refused) == (False, answer, refused)


def test_a_closed_port_is_told_at_once_and_tried_again_later(sender: ChannelSender) -> None:
    port = free_port()
    sent = sender.send(mail(port), CALL)
    assert not sent.is_sent
    assert not sent.refused
    assert sent.answer == f"127.0.0.1:{port}: Connection refused"


def test_a_password_that_is_refused_is_final_and_not_shown(sender: ChannelSender) -> None:
    options = {"authenticator": password_is(b"ada", b"right"), "auth_require_tls": False}
    with smtp(Mailbox(), **options) as mailbox:
        wrong = sender.send(mail(mailbox.port, who="ada:s3cr3t-wrong@"), CALL)
        right = sender.send(mail(mailbox.port, who="ada:right@"), CALL)
    assert wrong.answer.startswith("535")
    assert wrong.refused
    assert "s3cr3t" not in repr(wrong)
    assert right.is_sent
    assert mailbox.authenticated == [True]


def test_a_server_that_repeats_the_password_does_not_make_us_show_it(sender: ChannelSender) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"220 hello\r\n")
        connection.recv(1000)
        connection.sendall(b"250-hello\r\n250 AUTH PLAIN\r\n")
        connection.recv(1000)
        connection.sendall(b"535 I do not like s3cr3t-word\r\n")
        connection.recv(1000)

    with raw_server(talk) as port:
        sent = sender.send(mail(port, who="ada:s3cr3t-word@"), CALL)
    assert sent.answer == "535 I do not like ****"


def test_a_password_leaves_this_machine_encrypted_or_not_at_all(
    sender: ChannelSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbguard.alert.mail._is_this_machine", lambda host: False)
    options = {"authenticator": password_is(b"ada", b"right"), "auth_require_tls": False}
    with smtp(Mailbox(), **options) as mailbox:
        by_itself = sender.send(mail(mailbox.port, who="ada:right@"), CALL)
        wanted = sender.send(mail(mailbox.port, "&mode=insecure", who="ada:right@"), CALL)
    assert "offers no encryption" in by_itself.answer
    assert by_itself.refused
    assert wanted.is_sent


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_a_certificate_nobody_vouches_for_is_not_believed(sender: ChannelSender, tmp_path: Path, mode: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_in(tmp_path))
    options = {"tls_context": context} if mode == "starttls" else {"ssl_context": context}
    mailbox = Mailbox()
    try:
        with smtp(mailbox, **options):
            doubtful = sender.send(mail(mailbox.port, f"&mode={mode}"), CALL)
            told_to = sender.send(mail(mailbox.port, f"&mode={mode}&verify=no"), CALL)
    except ssl.SSLError:
        pytest.fail("aiosmtpd could not be started with TLS")
    assert "self-signed" in doubtful.answer
    assert not doubtful.is_sent
    assert not doubtful.refused
    assert told_to.is_sent
    assert len(mailbox.mails) == 1


def test_no_starttls_where_it_was_asked_for_is_a_no(sender: ChannelSender) -> None:
    with smtp(Mailbox()) as mailbox:
        sent = sender.send(mail(mailbox.port, scheme="mailtos"), CALL)
    assert "offers no STARTTLS" in sent.answer
    assert not mailbox.mails


def test_a_server_that_says_nothing_costs_the_time_out(sender: ChannelSender) -> None:
    asked = threading.Event()

    def talk(connection: socket.socket, over: threading.Event) -> None:
        asked.set()
        over.wait(10)

    with raw_server(talk) as port:
        began = time.monotonic()
        sent = sender.send(mail(port), CALL)
        took = time.monotonic() - began
    assert asked.is_set()
    assert not sent.is_sent
    assert "did not answer in 1 s" in sent.answer
    assert took < 1.9


def test_a_server_that_answers_byte_by_byte_does_not_escape_the_deadline() -> None:
    dripped: list[int] = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"220-")
        while not over.wait(0.05):
            connection.sendall(b"x")
            dripped.append(1)

    sender = open_sender((), timeout_seconds=0.3, environment={})
    with raw_server(talk) as port:
        began = time.monotonic()
        first = sender.send(mail(port), CALL)
        again = sender.send(mail(port), CALL)
        took = time.monotonic() - began
    assert len(dripped) > 3
    assert first.answer == "no answer within 0.6 s"
    assert "still waits" in again.answer
    assert not first.refused and not again.refused
    assert took < 1.5


def test_a_mail_that_was_taken_is_sent_however_the_server_says_good_bye(sender: ChannelSender) -> None:
    said: list[bytes] = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"220 hello\r\n")
        for answer in (b"250 hello", b"250 OK", b"250 OK", b"354 go on", b"250 mine now"):
            said.append(connection.recv(5000))
            while answer == b"250 mine now" and not said[-1].endswith(b"\r\n.\r\n"):
                said[-1] += connection.recv(5000)
            connection.sendall(answer + b"\r\n")
        over.wait(10)  # QUIT is never answered

    with raw_server(talk) as port:
        sent = sender.send(mail(port), CALL)
    assert (sent.is_sent, sent.answer) == (True, "250 mine now")


def base(**changes: object) -> MailAddress:
    values: dict[str, object] = {
        "server": "mail.example.org",
        "port": 587,
        "encryption": Encryption.STARTTLS,
        "sender": "ada@example.org",
        "sender_name": "nbguard",
        "recipient": "ada@example.org",
        "user": "ada",
        "password": "p@ss",
    }
    return MailAddress(**{**values, **changes})  # type: ignore[arg-type]


READ = [
    ("mailtos://ada:p%40ss@mail.example.org?from=ada@example.org", base()),
    ("mailtos://ada:p%40ss@example.org?smtp=mail.example.org", base()),
    ("mailtos://mail.example.org?user=ada&pass=p%40ss&from=ada@example.org", base()),
    ("mailtos://ada:p%40ss@example.org?smtp=mail.example.org&mode=ssl", base(encryption=Encryption.SSL, port=465)),
    (
        "mailto://ada:p%40ss@example.org:2525/bob@example.net?name=Backup",
        base(
            server="example.org",
            port=2525,
            encryption=Encryption.OFFERED,
            recipient="bob@example.net",
            sender_name="Backup",
        ),
    ),
    ("mailto://ada:p%40ss@gmail.com", base(server="smtp.gmail.com", sender="ada@gmail.com", recipient="ada@gmail.com")),
]


@pytest.mark.parametrize(("url", "address"), READ, ids=[case[0] for case in READ])
def test_a_mail_url_is_read_as_apprise_writes_it(url: str, address: MailAddress) -> None:
    assert read_mail_address(url) == address


BAD = [
    ("mailto://u:hush@h.org?from=a@x.org&to=b@x.org,c@x.org", "2 recipients in one URL"),
    ("mailto://u:hush@h.org/b@x.org/c@x.org?from=a@x.org", "2 recipients in one URL"),
    ("mailto://u:hush@h.org?from=a@x.org&cc=b@x.org", "cc and bcc"),
    ("mailto://u:hush@h.org?from=a@x.org&pgp=yes", "unknown in a mail URL: 'pgp'"),
    ("mailto://h.org", "no sender"),
    ("mailto://u:hush@h.org?to=nobody", "no recipient"),
    ("mailto://u:hush@h.org?to=a%00@x.org", "no recipient"),
    ("mailto://u:hush@h.org?mode=maybe", "mode is"),
    ("mailto://u:hush@h.org:port", "cannot be read"),
    ("mailto://", "names no server"),
    ("mailto://u:hush%C3%A9@h.org?to=a@x.org&from=a@x.org", "is not ASCII"),
]


@pytest.mark.parametrize(("url", "words"), BAD, ids=[case[0] for case in BAD])
def test_a_mail_url_that_cannot_be_used_says_why_and_never_itself(url: str, words: str) -> None:
    with pytest.raises(BadChannel) as caught:
        read_mail_address(url)
    assert words in caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint
