"""The desk's state as JSON, and back; what is not exactly such a state is refused, never guessed at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from nbguard.alert.state import Code, Incident, Seen, State, Telling, Way
from nbguard.alerting import MessageKind, Observer, Weight
from nbguard.clock import from_iso, iso

FORMAT = 1
_Noun = TypeVar("_Noun")


class NewerFormat(ValueError):
    """A newer nbguard wrote it: it is neither broken nor ours to write over."""


def encode(state: State) -> bytes:
    """One JSON object, ASCII."""
    return (json.dumps({"v": FORMAT, **_fields(state)}, default=_plain) + "\n").encode("ascii")


def decode(data: bytes) -> State:
    """The reverse of :func:`encode`. Raises ValueError (NewerFormat for a newer ``v``)."""
    try:
        table = json.loads(data)
        if not isinstance(table, dict):
            raise ValueError("it is no JSON object")
        version = table.get("v")
        if not isinstance(version, int) or version < 1:
            raise ValueError("it has no format number")
        if version > FORMAT:
            raise NewerFormat(f"it has format {version}, this nbguard knows {FORMAT}")
        return _state(table)
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not what was written: {error!r}") from error


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).__slots__}  # type: ignore[attr-defined]  # all have them


def _plain(value: object) -> object:
    """A tenth of what dataclasses.asdict takes, which copies everything."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Seen | Incident | Way | Telling | Code):
        return _fields(value)
    raise TypeError(f"{value!r} is not JSON")


def _state(table: Mapping[str, object]) -> State:
    seen = _table(table["seen"])
    return State(
        salt=_hex(table["salt"]),
        revision=_whole(table["revision"]),
        seen=Seen(
            seconds=_number(seen["seconds"]),
            at=_time(seen["at"]),
            boot=_text(seen["boot"]),
            boottime_ns=_whole(seen["boottime_ns"]),
        ),
        incidents=_each(table["incidents"], _incident),
        ways=_each(table["ways"], _way),
        codes=_each(table["codes"], _code),
        wrong=tuple(_number(one) for one in _list(table["wrong"])),
    )


def _incident(table: Mapping[str, object]) -> Incident:
    return Incident(
        id=_text(table["id"]),
        code=_text(table["code"]),
        subject=_text(table["subject"]),
        weight=Weight(_text(table["weight"])),
        message=_text(table["message"]),
        hint=_text(table["hint"]),
        observer=Observer(_text(table["observer"])),
        began_at=_time(table["began_at"]),
        began_seconds=_number(table["began_seconds"]),
        origin_seconds=_number(table["origin_seconds"]),
        words_seconds=_number(table["words_seconds"]),
        rounds=_whole(table["rounds"]),
        told_seconds=_maybe(table["told_seconds"], _number),
        joined=_texts(table["joined"]),
        heard=_texts(table["heard"]),
        acknowledged_seconds=_maybe(table["acknowledged_seconds"], _number),
        absent_seconds=_maybe(table["absent_seconds"], _number),
        absent_at=_maybe(table["absent_at"], _time),
        resolved_seconds=_maybe(table["resolved_seconds"], _number),
        flaps=_whole(table["flaps"]),
    )


def _way(table: Mapping[str, object]) -> Way:
    return Way(
        name=_text(table["name"]),
        human=_text(table["human"]),
        digest=_text(table["digest"]),
        owed=_each(table["owed"], _telling),
        owes_call=_flag(table["owes_call"]),
        tries=_whole(table["tries"]),
        again_seconds=_number(table["again_seconds"]),
        failing_seconds=_maybe(table["failing_seconds"], _number),
        refused=_flag(table["refused"]),
        trouble=_text(table["trouble"]),
        claimed_seconds=_number(table["claimed_seconds"]),
        sent_at=_maybe(table["sent_at"], _time),
        answered_seconds=_maybe(table["answered_seconds"], _number),
        answered_at=_maybe(table["answered_at"], _time),
        called_seconds=_maybe(table["called_seconds"], _number),
        asked_at=_maybe(table["asked_at"], _time),
        reminded=_whole(table["reminded"]),
        reminded_seconds=_maybe(table["reminded_seconds"], _number),
    )


def _telling(table: Mapping[str, object]) -> Telling:
    return Telling(
        incident=_text(table["incident"]),
        kind=MessageKind(_text(table["kind"])),
        since_seconds=_number(table["since_seconds"]),
    )


def _code(table: Mapping[str, object]) -> Code:
    return Code(
        salt=_text(table["salt"]),
        digest=_text(table["digest"]),
        channel=_text(table["channel"]),
        incidents=_texts(table["incidents"]),
        minted_at=_time(table["minted_at"]),
        expires_seconds=_number(table["expires_seconds"]),
        is_used=_flag(table["is_used"]),
    )


def _each(value: object, made: Callable[[Mapping[str, object]], _Noun]) -> tuple[_Noun, ...]:
    return tuple(made(_table(one)) for one in _list(value))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(one) for one in _list(value))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.80} is no list")
    return value


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is no table")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text")
    return value


def _hex(value: object) -> str:
    text = _text(value)
    if len(text) < 4 or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"{text!r:.80} is no salt")
    return text


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.80} is not true or false")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r:.80} is no whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise ValueError(f"{value!r:.80} is no number of seconds")
    return float(value)


def _time(value: object) -> datetime:
    return from_iso(_text(value))


def _maybe(value: object, made: Callable[[object], _Noun]) -> _Noun | None:
    return None if value is None else made(value)
