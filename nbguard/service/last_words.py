"""Channels for when nothing of nbguard is left: a script that the alert unit runs, with what every machine has.

It is written beforehand, next to the notes and readable by its owner alone, for it holds what the channels hold. Only
what curl(1), sendmail(8) and the user's own commands can do is in it; secrets never stand on a command line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

_SECONDS = 20
_END = "NBGUARD-END"
_HEAD = """# Written by nbguard; the alert unit runs it with one word: what happened. It holds secrets.
text=$1
have() { command -v "$1" >/dev/null 2>&1; }
plain=$(printf '%s' "$text" | tr -d '"\\\\' | tr '\\n' ' ')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to one human. ``encryption`` is insecure, offered, starttls or ssl."""

    server: str
    port: int
    encryption: str
    sender: str
    recipient: str
    user: str
    password: str
    verify: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A POST to a web address; ``body`` has ``$plain`` where the text belongs. ``user`` is name:password, or empty."""

    url: str
    body: str
    header: str
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command of the user's; the text on its stdin."""

    words: tuple[str, ...]


Way = Mail | Post | Run


def post_of(url: str) -> Post | None:
    """The web address behind an Apprise URL of a few plain kinds (ntfy, json); None for every other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in {"ntfy", "ntfys", "json", "jsons"} or not host:
        return None
    path = parts.path.rstrip("/")
    where, is_secure = f"{host}:{port}" if port else host, scheme.endswith("s")
    if scheme.startswith("ntfy") and not path:  # ntfy://TOPIC is a topic of the public server
        where, path, is_secure = "ntfy.sh", f"/{quote(unquote(host))}", True
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    is_json = scheme.startswith("json")
    return Post(
        url=f"{'https' if is_secure else 'http'}://{where}{path or '/'}",
        body='{"version": "1.0", "title": "nbguard", "message": "$plain", "type": "failure"}' if is_json else "$plain",
        header="Content-Type: application/json" if is_json else "Title: nbguard",
        user=user,
    )


def script(ways: Sequence[Way]) -> str:
    """What runs them one after another, each for 20 seconds at most; empty when there is none.

    A way that cannot be written safely is left out.
    """
    parts = [part for way in ways if (part := _part(way))]
    return "\n".join([_HEAD, *parts, "exit 0", ""]) if parts else ""


def _part(way: Way) -> str:
    if isinstance(way, Run):
        run = f"NBGUARD_ALERT_KIND=incident timeout {_SECONDS} {shlex.join(way.words)} >/dev/null"
        return f"printf '%s\\n' \"$text\" | {run}\n"
    fields = [str(value) for value in _fields(way)]
    if any(not field.isprintable() or _END in field for field in fields):
        return ""
    return _mail(way) if isinstance(way, Mail) else _post(way)


def _fields(way: Mail | Post) -> tuple[object, ...]:
    if isinstance(way, Mail):
        return way.server, way.sender, way.recipient, way.user, way.password
    return way.url, way.body, way.header, way.user


def _post(post: Post) -> str:
    settings = [f"url = {_quoted(post.url)}", f"header = {_quoted(post.header)}", 'data-binary = "@-"', "fail"]
    if post.user:
        settings.append(f"user = {_quoted(post.user)}")
    body = post.body.replace('"', '\\"')
    return _curl(f'printf "%s" "{body}"', settings)


def _mail(mail: Mail) -> str:
    scheme = "smtps" if mail.encryption == "ssl" else "smtp"
    settings = [
        f"url = {_quoted(f'{scheme}://{mail.server}:{mail.port}')}",
        f"mail-from = {_quoted(mail.sender)}",
        f"mail-rcpt = {_quoted(mail.recipient)}",
        'upload-file = "-"',
    ]
    if mail.user and mail.password:
        if ":" in mail.user:  # curl would end the name there
            return ""
        settings.append(f"user = {_quoted(f'{mail.user}:{mail.password}')}")
    if mail.encryption == "starttls" or (mail.encryption == "offered" and mail.password and not _is_here(mail.server)):
        settings.append("ssl-reqd")
    elif mail.encryption == "offered":
        settings.append("ssl")
    if not mail.verify:
        settings.append("insecure")
    head = [
        f"From: nbguard <{mail.sender}>",
        f"To: {mail.recipient}",
        "Subject: nbguard: notebooks may not be protected",
        "Auto-Submitted: auto-generated",
        "",
    ]
    words = " ".join(map(shlex.quote, head))
    send = f"{{ printf '%s\\r\\n' {words}; printf '%s\\r\\n' \"$text\"; }}"
    locally = f"have sendmail && {send} | tr -d '\\r' | timeout {_SECONDS} sendmail -i -- {shlex.quote(mail.recipient)}"
    return f"if have curl; then\n{_curl(send, settings)}else {locally}\nfi\n"


def _curl(send: str, settings: Sequence[str]) -> str:
    """Settings by a file descriptor, so that no secret is seen in the list of processes."""
    lines = ["silent", "show-error", 'output = "/dev/null"', f"max-time = {_SECONDS}", *settings]
    return "\n".join([f"{send} | curl --config /dev/fd/3 3<<'{_END}'", *lines, _END, ""])


def _quoted(text: str) -> str:
    """A word in curl's configuration (curl(1), --config)."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _is_here(server: str) -> bool:
    return server in {"localhost", "127.0.0.1", "::1"}
