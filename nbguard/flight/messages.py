"""Messages of a kernel's IOPub channel (Jupyter messaging protocol 5) as we need them; the others are None."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from nbguard.flight.wire import Cut

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A cell begins. ``is_cut``: its code goes on, and was not passed on."""

    code: str
    count: int | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Text on stdout or stderr. ``missing_bytes`` were not passed on after it."""

    name: str
    text: str
    missing_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """A display, or a result (then with its ``count``), or new content for displays of that id."""

    data: JsonObject
    metadata: JsonObject
    size: int
    display_id: str | None = None
    is_result: bool = False
    is_update: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception ended the cell."""

    name: str
    value: str
    traceback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clear:
    """Outputs so far are taken back, at once or when the next one comes."""

    wait: bool


@dataclass(frozen=True, slots=True)
class State:
    """busy, idle, starting or restarting."""

    name: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An output whose content was not passed on whole, and cannot be used in part."""

    size: int
    cut: Cut


Content = Input | Stream | Display | Failure | Clear | State | LeftOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: ``parent`` is the id of the request that caused it, ``life`` the kernel process's session id."""

    parent: str
    is_execution: bool
    life: str
    sent_at: datetime | None
    content: Content


def parse(header: bytes, parent: bytes, content: bytes, *, cut: Cut, size: int) -> Message | None:
    """The message, or None when it is of no use to us or not as the protocol has it. Never raises."""
    try:
        head, cause = _object(json.loads(header)), _object(json.loads(parent))
        kind = head.get("msg_type")
        found = _cut(kind, content, cut, size) if cut is not Cut.WHOLE else _content(kind, json.loads(content), size)
    except (ValueError, RecursionError, MemoryError):
        return None
    if found is None:
        return None
    return Message(
        parent=_text(cause.get("msg_id")),
        is_execution=cause.get("msg_type") == "execute_request",
        life=_text(head.get("session")),
        sent_at=_time(head.get("date")),
        content=found,
    )


def _content(kind: object, raw: object, size: int) -> Content | None:
    content = _object(raw)
    match kind:
        case "stream":
            return Stream(name=_text(content.get("name")) or "stdout", text=_text(content.get("text")))
        case "status":
            return State(_text(content.get("execution_state")))
        case "execute_input":
            return Input(code=_text(content.get("code")), count=_count(content.get("execution_count")))
        case "error":
            lines = content.get("traceback")
            return Failure(
                name=_text(content.get("ename")),
                value=_text(content.get("evalue")),
                traceback=tuple(line for line in lines if isinstance(line, str)) if isinstance(lines, list) else (),
            )
        case "clear_output":
            return Clear(bool(content.get("wait")))
        case "display_data" | "update_display_data" | "execute_result":
            shown = _object(content.get("transient")).get("display_id")
            return Display(
                data=_object(content.get("data")),
                metadata=_object(content.get("metadata")),
                size=size,
                display_id=shown if isinstance(shown, str) else None,
                is_result=kind == "execute_result",
                is_update=kind == "update_display_data",
                count=_count(content.get("execution_count")),
            )
    return None


def _cut(kind: object, content: bytes, cut: Cut, size: int) -> Content | None:
    """What can be saved of a message that was not passed on whole: of a stream its beginning."""
    if kind == "stream" and (found := _beginning(content)):
        return Stream(name=found[0], text=found[1], missing_bytes=max(0, size - len(content)))
    if kind == "execute_input":
        code = _string_in(content, "code")
        return None if code is None else Input(code=code, count=None, is_cut=True)
    if kind == "error":
        return Failure(
            name=_string_in(content, "ename") or "", value=(_string_in(content, "evalue") or ""), traceback=()
        )
    if kind in ("stream", "display_data", "execute_result", "update_display_data"):
        return LeftOut(size, cut)
    return None


def _beginning(content: bytes) -> tuple[str, str] | None:
    text = _string_in(content, "text")
    return None if text is None else (_string_in(content, "name") or "stdout", text)


def _string_in(content: bytes, key: str) -> str | None:
    """The string at ``key`` of an object whose JSON text ends too early, as far as it goes."""
    start = content.find(b'"%s"' % key.encode("ascii"))
    if start < 0:
        return None
    start = content.find(b'"', start + len(key) + 2)
    if start < 0:
        return None
    raw = content[start + 1 :].decode("utf-8", "ignore")
    end, at = len(raw), 0
    while (found := raw.find("\\", at)) >= 0 or (raw.find('"', at) >= 0):
        quote = raw.find('"', at)
        if quote >= 0 and (found < 0 or quote < found):
            end = quote
            break
        at = found + 2
    # An escape may be cut anywhere: take off a few characters until what is left can be read.
    for shorter in range(13):
        try:
            read = json.loads(f'"{raw[: max(0, end - shorter)]}"', strict=False)
        except ValueError:
            continue
        return read if isinstance(read, str) else None
    return None


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None
