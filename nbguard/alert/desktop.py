"""A notification on the desktop of whoever is logged in: notify-send, the session bus itself, or macOS's script."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from nbguard.alert.program import run_program
from nbguard.alert.route import BadChannel, Route
from nbguard.alerting import Message, Sent

_BUS = ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", "org.freedesktop.Notifications")
_SCRIPT = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
_LONGEST = 1_000


def desktop_route(environment: Mapping[str, str], timeout_seconds: float) -> Route:
    """A route to this user's desktop. A desktop that nobody is logged in to says no, and is tried again.

    Raises BadChannel when nothing here can speak to one.
    """
    path = environment.get("PATH", os.defpath)
    programs = ("osascript",) if sys.platform == "darwin" else ("notify-send", "gdbus", "busctl")
    found = next(((name, where) for name in programs if (where := shutil.which(name, path=path))), None)
    if found is None:
        hint = "install libnotify's notify-send, or use another channel"
        raise BadChannel("nothing here can notify a desktop", hint=hint, for_good=False)
    name, program = found
    surroundings = {**_bus(os.getuid()), **environment}

    def send(message: Message) -> Sent:
        title, body = (text.replace("\0", "")[:_LONGEST] for text in (message.title, message.body))
        words = [program, *_words(name, title, body)]
        try:
            ended = run_program(words, typed=b"", environment=surroundings, timeout_seconds=timeout_seconds)
        except OSError as error:
            return Sent(is_sent=False, answer=f"{name}: {error.strerror or error}")
        if ended.code == 0:
            return Sent(is_sent=True, answer=f"shown by {name}")
        why = " ".join(ended.said.split()) if ended.code is not None else f"no answer in {timeout_seconds:g} s"
        return Sent(is_sent=False, answer=f"no desktop takes it ({name}: {why or ended.code})")

    return Route(send=send)


def _words(name: str, title: str, body: str) -> list[str]:
    if name == "osascript":
        return ["-e", _SCRIPT, title, body]
    if name == "notify-send":
        return ["--app-name=nbguard", "--urgency=critical", "--", title, _escaped(body)]
    service, where, interface = _BUS
    if name == "gdbus":
        call = ["call", "--session", "--dest", service, "--object-path", where, "--method", f"{interface}.Notify"]
        texts = [_as_variant(text) for text in ("nbguard", "", title, _escaped(body))]
        return [*call, "--", texts[0], "uint32 0", *texts[1:], "@as []", "@a{sv} {}", "int32 -1"]
    call = ["--user", "call", "--", service, where, interface, "Notify", "susssasa{sv}i"]
    return [*call, "nbguard", "0", "", title, _escaped(body), "0", "0", "-1"]


def _escaped(body: str) -> str:
    """The body is read as markup by most desktops."""
    return body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _as_variant(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'


def _bus(uid: int) -> dict[str, str]:
    """Where the session's bus is, for a process (cron's, say) that was not told."""
    runtime = f"/run/user/{uid}"
    if not os.path.exists(f"{runtime}/bus"):
        return {}
    return {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
