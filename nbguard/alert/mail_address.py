"""A mail channel's URL, read: which server, with whose name, to which one human. Written as Apprise writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

from nbguard.alert.route import BadChannel


class Encryption(StrEnum):
    """INSECURE was asked for; OFFERED takes what the server offers, and sends no password without it."""

    INSECURE = "insecure"
    OFFERED = "offered"
    STARTTLS = "starttls"
    SSL = "ssl"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAddress:
    """Where a mail goes, and how it gets there."""

    server: str
    port: int
    encryption: Encryption
    sender: str
    sender_name: str
    recipient: str
    user: str = ""
    password: str = ""
    verify: bool = True


_PORTS = {Encryption.INSECURE: 25, Encryption.OFFERED: 25, Encryption.STARTTLS: 587, Encryption.SSL: 465}
_FORM = "mailtos://USER:PASSWORD@SERVER?from=YOU@DOMAIN&to=YOU@DOMAIN"
_KNOWN = frozenset({"to", "from", "name", "smtp", "mode", "user", "pass", "verify", "cto", "rto"})
_ADDRESS = re.compile(r"[!-?A-~]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
# What a mailbox's domain does not say: its provider's server for outgoing mail.
_PROVIDERS = (
    (r"gmail\.com|googlemail\.com", "smtp.gmail.com", Encryption.STARTTLS),
    (r"(?:hotmail|live|outlook)\.com(?:\.au)?", "smtp-mail.outlook.com", Encryption.STARTTLS),
    (r"office365\.com", "smtp.office365.com", Encryption.STARTTLS),
    (r"yahoo\.(?:com|ca)", "smtp.mail.yahoo.com", Encryption.SSL),
    (r"gmx\.(?:com|net|de|at|ch|fr)", "mail.gmx.com", Encryption.STARTTLS),
    (r"web\.de", "smtp.web.de", Encryption.STARTTLS),
    (r"fastmail\.(?:com|fm)", "smtp.fastmail.com", Encryption.SSL),
    (r"(?:icloud|me|mac)\.com", "smtp.mail.me.com", Encryption.STARTTLS),
    (r"zoho(?:mail)?\.com", "smtp.zoho.com", Encryption.SSL),
    (r"yandex\.(?:com|ru)", "smtp.yandex.ru", Encryption.SSL),
)


def read_mail_address(url: str) -> MailAddress:
    """Raises BadChannel; the message never holds the URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise BadChannel("the mail URL cannot be read", hint=_FORM) from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - _KNOWN):
        if "cc" in query or "bcc" in query:
            raise BadChannel("a channel is one human: cc and bcc are not sent", hint="make it a channel of its own")
        raise BadChannel(f"unknown in a mail URL: {', '.join(map(repr, unknown))}", hint=_FORM)
    user = unquote(parts.username or "") or query.get("user", "")
    known, encryption = _provider(host if "@" not in user else user.rpartition("@")[2]) if port is None else ("", None)
    server = query.get("smtp") or known or host
    if not server:
        raise BadChannel("the mail URL names no server", hint=_FORM)
    mode = _mode(parts.scheme, query.get("mode", ""), None if query.get("smtp") else encryption)
    password = unquote(parts.password or "") or query.get("pass", "")
    if not (user.isascii() and password.isascii()):
        raise BadChannel("the user or the password is not ASCII, which servers for mail cannot be told")
    sender = query.get("from") or (user if "@" in user else f"{user}@{host}" if user else "")
    return MailAddress(
        server=server,
        port=port or _PORTS[mode],
        encryption=mode,
        sender=_checked(sender, "sender"),
        sender_name=query.get("name") or "nbguard",
        recipient=_checked(_recipient(parts.path, query, sender), "recipient"),
        user=user,
        password=password,
        verify=query.get("verify", "yes").lower() not in {"no", "false", "0"},
    )


def _provider(domain: str) -> tuple[str, Encryption | None]:
    for pattern, server, encryption in _PROVIDERS:
        if re.fullmatch(pattern, domain.lower()):
            return server, encryption
    return "", None


def _mode(scheme: str, asked: str, of_provider: Encryption | None) -> Encryption:
    if asked:
        try:
            return Encryption(asked.lower())
        except ValueError:
            raise BadChannel("mode is insecure, starttls or ssl", hint=_FORM) from None
    if of_provider is not None:
        return of_provider
    return Encryption.STARTTLS if scheme.lower() == "mailtos" else Encryption.OFFERED


def _recipient(path: str, query: dict[str, str], sender: str) -> str:
    given = [unquote(part) for part in path.split("/") if part] + re.split(r"[,;\s]+", query.get("to", ""))
    found = list(dict.fromkeys(one for part in given for one in re.split(r"[,;\s]+", part) if one))
    if len(found) > 1:
        message = f"{len(found)} recipients in one URL: when one of them is refused, nobody knows who read it"
        raise BadChannel(message, hint="one channel for each human")
    return found[0] if found else sender


def _checked(address: str, role: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise BadChannel(f"the mail URL has no {role} that is an address", hint=_FORM)
    return address
