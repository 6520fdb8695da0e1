"""Servers of the tests, on loopback: mail that is taken, refused or kept waiting, and HTTP that answers as told."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Mailbox:
    """An SMTP server's handler: what it took, and how it answers at each step."""

    rcpt: str = "250 OK"
    data: str = "250 2.0.0 queued as 4711"
    sender: str = "250 OK"
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    authenticated: list[bool] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.sender

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.recipients.append(address)
        if self.rcpt.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(message_from_bytes(content, policy=policy.default))
        self.authenticated.append(bool(session.authenticated))
        self.encrypted.append(session.ssl is not None)
        return self.data


@contextmanager
def smtp(mailbox: Mailbox, **options: Any) -> Generator[Mailbox]:
    """An aiosmtpd server on a free port; ``options`` are its own."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=0, **options)
    # Controller itself asks a port of 0 whether it answers.
    controller.port = free_port()
    controller.start()
    mailbox.port = controller.port
    try:
        yield mailbox
    finally:
        controller.stop()


def password_is(user: bytes, password: bytes) -> Callable[..., AuthResult]:
    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        is_right = (data.login, data.password) == (user, password)
        return AuthResult(success=is_right, handled=is_right)

    return authenticate


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def raw_server(talk: Callable[[socket.socket, threading.Event], None]) -> Generator[int]:
    """A TCP server; ``talk`` has the connection until it returns, and an event that says the test is over."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    workers: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection, over)
            except OSError:
                pass  # the other side left

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            worker = threading.Thread(target=one, args=(connection,))
            worker.start()
            workers.append(worker)

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        server.join()
        for worker in workers:
            worker.join()
        listener.close()


@dataclass
class Request:
    """What an HTTP server was asked."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Web:
    """What an HTTP server was asked, and answers: one (status, headers, body) after the other, the last for ever."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"OK")])
    requests: list[Request] = field(default_factory=list)
    url: str = ""


@contextmanager
def http(web: Web, certificate: str | None = None) -> Generator[Web]:
    """Serve ``web`` on a free port; with a certificate (PEM, key included) over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.requests.append(Request(self.command, self.path, body, dict(self.headers.items())))
            status, headers, said = web.answers[min(len(web.requests), len(web.answers)) - 1]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name for it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    web.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate_in(folder: Path) -> str:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"],
            *["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key.name, "-out", pem.name],
            *["-addext", "subjectAltName=IP:127.0.0.1"],
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "RANDFILE": str(folder / ".rnd")},
    )
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + pem.read_bytes())
    return str(both)
