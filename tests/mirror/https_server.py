"""A git host of a test's own: TLS and a password on loopback, `git http-backend` behind it."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PASSWORD = "s3cret"
_WANTED = "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()


@dataclass
class Host:
    """``asked`` counts requests that were let in; ``leaks`` are commands seen meanwhile with the password in them."""

    folder: Path
    port: int = 0
    asked: int = 0
    leaks: list[str] = field(default_factory=list)

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    def look_at_commands(self) -> None:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    words = Path("/proc", entry, "cmdline").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                if PASSWORD in words:
                    self.leaks.append(words)


@contextmanager
def git_host(folder: Path) -> Iterator[Host]:
    """Serve the repositories in ``folder``."""
    folder.mkdir(parents=True)
    host = Host(folder)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-keyout", str(folder / "key.pem"), "-out", str(host.certificate)),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(host.certificate, folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"host": host}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: Host

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        if self.headers.get("Authorization") != _WANTED:
            self._answer(401, [("WWW-Authenticate", "Basic realm=x")], b"")
            return
        self.host.asked += 1
        self.host.look_at_commands()
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.host.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "REMOTE_USER": "ada",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ")[::2] for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in lines if name == "Status"), 200)
        self._answer(status, [(name, value) for name, value in lines if name != "Status"], rest)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
