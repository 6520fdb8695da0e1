"""A page on this machine that takes the code of a message: one form, no script, gone when it was answered.

It listens on loopback, its address holds a secret, and only a POST that carries another one changes anything.
"""

from __future__ import annotations

import hmac
import html
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

MINUTES = 15
_MOST_BYTES = 4_096
_READ_SECONDS = 3.0
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nbguard: answer a message</title></head><body>
<h1>Answer a message of nbguard</h1>
<p role="status">{words}</p>
{form}
</body></html>
"""
_FORM = """<form method="post" action="/{path}">
<label>The code, as it stands in the message: <input name="code" required maxlength="40" autocomplete="off"
autofocus></label>
<input type="hidden" name="token" value="{token}">
<button>I have read it</button>
</form>"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a code that was typed into the page."""

    is_accepted: bool
    words: str


class AckPage:
    """``answer`` is given what was typed. ``port`` 0 takes a free one. Raises OSError when it cannot listen."""

    def __init__(self, answer: Callable[[str], Heard], *, port: int = 0) -> None:
        self._answer = answer
        self._path, self._token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.is_answered = False
        self._server = HTTPServer(("127.0.0.1", port), self._handler())
        self.port = self._server.server_port

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self._path}"

    def serve(self, seconds: float = MINUTES * 60) -> bool:
        """Serve until a code was accepted (True), or so many seconds have passed."""
        ends_at = time.monotonic() + seconds
        with self._server:
            while not self.is_answered and (left := ends_at - time.monotonic()) > 0:
                self._server.timeout = left
                self._server.handle_request()
        return self.is_answered

    def get(self, path: str, host: str) -> tuple[int, str]:
        """Status and page for a look, which changes nothing."""
        if not self._is_for_us(path, host):
            return 404, self._page("There is nothing here.", form=False)
        return 200, self._page("It says that you are there, and silences what the message is about.", form=True)

    def post(self, path: str, host: str, origin: str | None, body: bytes) -> tuple[int, str]:
        """Status and page for a form that was sent."""
        if not self._is_for_us(path, host):
            return 404, self._page("There is nothing here.", form=False)
        try:
            fields = parse_qs(body.decode("ascii"), max_num_fields=8)
        except (UnicodeDecodeError, ValueError):
            fields = {}
        token = fields.get("token", [""])[0]
        is_ours = hmac.compare_digest(token.encode(), self._token.encode())
        if not is_ours or origin not in {None, f"http://{host}"}:
            return 403, self._page("This form did not come from this page.", form=False)
        heard = self._answer(fields.get("code", [""])[0])
        self.is_answered = self.is_answered or heard.is_accepted
        return 200, self._page(heard.words, form=not heard.is_accepted)

    def _is_for_us(self, path: str, host: str) -> bool:
        """The right secret, and a name that only this machine has: a name that leads here from elsewhere is refused."""
        is_here = host in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        return is_here and hmac.compare_digest(path.encode("utf-8", "replace"), f"/{self._path}".encode())

    def _page(self, words: str, *, form: bool) -> str:
        fields = _FORM.format(path=self._path, token=self._token) if form else ""
        return _PAGE.format(words=html.escape(words), form=fields)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _READ_SECONDS  # one after the other: nobody keeps the others waiting
            server_version, sys_version = "nbguard", ""

            def do_GET(self) -> None:
                self._send(*page.get(self.path, self.headers.get("Host", "")))

            def do_POST(self) -> None:
                size = self.headers.get("Content-Length", "")
                if not size.isdecimal() or int(size) > _MOST_BYTES:
                    self._send(413, "")
                    return
                body = self.rfile.read(int(size))
                host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
                self._send(*page.post(self.path, host, origin, body))

            def _send(self, status: int, text: str) -> None:
                self.send_response(status)
                for name, value in {**_HEADERS, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name for it
                pass  # its lines hold the secret of the address

        return Handler
