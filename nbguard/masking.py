"""Addresses without their secrets: what may be printed, logged, or put into a message."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlsplit

from nbguard.settings import Channel, Settings

HIDDEN = "****"
LOCAL = frozenset({"desktop:", "wall:"})
_MAIL = frozenset({"mailto", "mailtos"})
# Schemes whose host is a machine of somebody's own, and never a token, a topic or an account.
_WITH_HOST = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "gotify", "gotifys", "matrix", "matrixs"})


def is_elsewhere(address: str) -> bool:
    """Whether an address is only where the address is: ``env:NAME`` or ``file:PATH``."""
    return address.startswith("env:") or (address.startswith("file:") and not address.startswith("file://"))


def is_inline_secret(address: str) -> bool:
    """Whether what stands in the configuration may be a secret."""
    return bool(address) and not is_elsewhere(address) and address.rstrip("/") not in LOCAL


def masked_channel(url: str) -> str:
    """A channel's URL: for mail its server and recipient, for a server of one's own its host, else the kind alone
    (most services carry their token where others have a host)."""
    if not url or is_elsewhere(url) or url.rstrip("/") in LOCAL:
        return url
    scheme, found, _ = url.partition(":")
    scheme = scheme.lower()
    if not found or not scheme.isalnum():
        return HIDDEN
    if scheme in _MAIL:
        return f"{scheme}://{_mail(url)}"
    host = _host(url) if scheme in _WITH_HOST else ""
    return f"{scheme}://{host}/{HIDDEN}" if host else f"{scheme}://{HIDDEN}"


def masked_settings(settings: Settings) -> Settings:
    """Settings as they may be printed. The arguments of a channel's command may hold a token: they are hidden too."""
    return replace(
        settings,
        channels=tuple(_masked(channel) for channel in settings.channels),
        alerts=replace(settings.alerts, ping_url=masked_ping(settings.alerts.ping_url)),
        mirrors=tuple(replace(mirror, url=masked_remote(mirror.url)) for mirror in settings.mirrors),
    )


def holds_secrets(settings: Settings) -> bool:
    """Whether the configuration itself may hold a secret, so that nobody else should read it."""
    inline = [channel.url for channel in settings.channels] + [settings.alerts.ping_url]
    return any(is_inline_secret(address) for address in inline) or any(
        len(channel.command) > 1 for channel in settings.channels
    )


def _masked(channel: Channel) -> Channel:
    command = (*channel.command[:1], HIDDEN) if len(channel.command) > 1 else channel.command
    return replace(channel, url=masked_channel(channel.url), command=command)


def masked_ping(url: str) -> str:
    """A dead man's switch: whoever knows its path can answer for us, so only the host is shown."""
    if not url or is_elsewhere(url):
        return url
    host = _host(url)
    return f"{url.partition(':')[0]}://{host}/{HIDDEN}" if host else HIDDEN


def masked_remote(url: str) -> str:
    """A git remote: its path is no secret, whatever stands before the host of an ``http`` remote is, and elsewhere
    what stands behind a colon there."""
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    authority, slash, path = rest.partition("/")
    who, at, host = authority.rpartition("@")
    if at and scheme.lower() in {"http", "https"}:
        who = HIDDEN
    elif ":" in who:
        who = f"{who.partition(':')[0]}:{HIDDEN}"
    path = path.partition("?")[0]
    return f"{scheme}://{who}{at}{host}{slash}{path}"


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """``text`` with every secret in it hidden, also where it stands percent-encoded; longest first."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= 3:
            text = text.replace(secret, HIDDEN)
    return text


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if not host.isprintable():
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port is not None else host


def _mail(url: str) -> str:
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        user = unquote(parts.username or query.get("user", ""))
    except ValueError:
        return HIDDEN
    to = [unquote(part) for part in parts.path.split("/") if part] + ([query["to"]] if query.get("to") else [])
    secret = f":{HIDDEN}" if parts.password or query.get("pass") else ""
    shown = f"{user}{secret}@{_host(url)}" if user or secret else _host(url)
    shown += f"?to={','.join(to)}" if to else ""
    return shown if shown.isprintable() else HIDDEN
