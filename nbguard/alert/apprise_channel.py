"""Everything but mail: one of Apprise's hundred services, loaded once and kept in memory."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from nbguard.alert.route import BadChannel, Route
from nbguard.alerting import Message, MessageKind, Sent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apprise import Apprise, NotifyBase
    from apprise.result import AppriseResult

# They say SUCCESS with nobody there: syslog without a daemon, and local buses of no desktop.
_NO_HUMAN = {
    "syslog": "nobody reads it in time, and it says yes also where no syslog runs",
    "rsyslog": "nobody reads it in time, and a datagram that goes nowhere counts as sent",
}
_DESKTOP = frozenset({"dbus", "qt", "glib", "kde", "gnome", "macosx", "windows"})
_HINT = "Apprise's documentation says how this service's URL is written"
_HTTP_REFUSALS = frozenset({401, 403, 404, 410})
_STATUS = re.compile(r"error=(\d{3})\b")
_TOO_SHORT_TO_HIDE = 3


def apprise_route(url: str, timeout_seconds: float, environment: Mapping[str, str]) -> Route:
    """A route for one Apprise URL that reaches exactly one recipient; it needs no file of ours later.

    Raises BadChannel; no message holds the URL.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in _NO_HUMAN:
        raise BadChannel(f"{scheme}: is no way to a human: {_NO_HUMAN[scheme]}", hint="choose mail, push or a command")
    if scheme in _DESKTOP:
        raise BadChannel(f"{scheme}: is not used", hint='a notification on this desktop is url = "desktop:"')
    channel, service = _load(url, scheme, timeout_seconds)
    if len(service) != 1:
        many = f"{len(service)} recipients in one URL: when one of them is refused, nobody knows who read it"
        raise BadChannel(many if len(service) else "the URL names nobody", hint="one channel for each human")
    _keep_certificates(service, environment)
    secrets = tuple(_secrets(url))

    def send(message: Message) -> Sent:
        result = channel.notify(
            title=message.title,
            body=message.body,
            notify_type=_notify_type(message.kind),
            body_format="text",
            timeout=1.5 * timeout_seconds,
        )
        return _sent(result)

    return Route(send=send, secrets=secrets)


def _load(url: str, scheme: str, timeout_seconds: float) -> tuple[Apprise, NotifyBase]:
    import encodings.idna  # noqa: F401 - host names need it, and it may not be there any more by then
    import logging
    import warnings

    with warnings.catch_warnings():  # a hundred plug-ins are loaded, and what they deprecate is not for us
        warnings.simplefilter("ignore")
        from apprise import Apprise, AppriseAsset

        Apprise.instantiate("json://localhost")
    for name in ("apprise", "urllib3"):  # their lines hold tokens and answers; what matters comes back as Sent
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    asset = AppriseAsset(app_id="nbguard", app_desc="nbguard", app_url="", secure_logging=True, async_mode=False)
    try:
        service = Apprise.instantiate(_with_limits(url, timeout_seconds), asset=asset)
    except Exception:  # noqa: BLE001 - a plug-in may raise anything, and its words may hold the URL
        service = None
    if service is None:
        raise BadChannel(f"Apprise does not know this URL, or something in it ({_shown(scheme)}:)", hint=_HINT)
    channel = Apprise(asset=asset)
    channel.add(service)
    return channel, service


def _shown(scheme: str) -> str:
    return scheme if scheme.isalnum() and len(scheme) < 20 else "?"


def _with_limits(url: str, timeout_seconds: float) -> str:
    """The URL with limits for connecting and reading, where it has none of its own; what is too long for a service goes
    in parts, for the code stands at the end."""
    base, _, fragment = url.partition("#")
    for name, value in (("cto", f"{timeout_seconds:g}"), ("rto", f"{timeout_seconds:g}"), ("overflow", "split")):
        if not re.search(rf"[?&]{name}=", base):
            base += f"{'&' if '?' in base else '?'}{name}={value}"
    return f"{base}#{fragment}" if fragment else base


def _keep_certificates(service: NotifyBase, environment: Mapping[str, str]) -> None:
    """Requests opens its file of authorities for each connection; that file goes with a removed virtual environment.
    So its bytes are kept in a file without a name, and its path is where the plug-in says whether to verify."""
    if service.verify_certificate is not True or not hasattr(os, "memfd_create"):
        return
    import certifi

    path = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE") or certifi.where()
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return  # a folder of authorities, or none: as Apprise does it
    fd = os.memfd_create("nbguard-authorities", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as kept:
        kept.write(data)
    # requests takes a path here, though Apprise declares a truth
    setattr(service, "verify_certificate", f"/proc/self/fd/{fd}")  # noqa: B010


def _notify_type(kind: MessageKind) -> str:
    if kind in {MessageKind.INCIDENT, MessageKind.REMINDER}:
        return "failure"
    return "success" if kind is MessageKind.RESOLVED else "info"


def _sent(result: AppriseResult) -> Sent:
    """Only SUCCESS is success: PARTIAL, NOMATCH and TIMEOUT are not."""
    words = " ".join(" ".join(entry.message for entry in result.logs()).split())
    name = result.status.name
    if name == "SUCCESS":
        return Sent(is_sent=True, answer="accepted")
    if name == "TIMEOUT":
        return Sent(is_sent=False, answer=words or "no answer in time")
    status = _STATUS.search(words)
    is_final = status is not None and int(status[1]) in _HTTP_REFUSALS
    return Sent(is_sent=False, answer=words or f"Apprise says {name} and nothing else", refused=is_final)


def _secrets(url: str) -> set[str]:
    """Every part of the URL that could be one, as it stands and decoded. Names of hosts may stay."""
    found: set[str] = {url}
    try:
        parts = urlsplit(url)
    except ValueError:
        return found
    pieces = [parts.username or "", parts.password or "", *parts.path.split("/")]
    pieces += [value for _, value in parse_qsl(parts.query)] + [parts.query, parts.fragment]
    if "." not in (parts.hostname or "."):
        pieces += [parts.netloc.rpartition("@")[2].partition(":")[0]]  # a token where others have a host
    for piece in pieces:
        found |= {piece, unquote(piece)}
    return {piece for piece in found if len(piece) >= _TOO_SHORT_TO_HIDE}
