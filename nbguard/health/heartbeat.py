"""The heartbeat file: what the daemon says of itself, as JSON that reads back to the same Heartbeat."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from datetime import datetime
from typing import TypeVar

from nbguard.clock import from_iso, iso
from nbguard.durable import read_plain, unlink_quietly, write_all
from nbguard.model import Heartbeat, Problem, RootReport

_MOST_BYTES = 64_000_000
_Noun = TypeVar("_Noun", Heartbeat, Problem, RootReport)


def write_heartbeat(path: str, heartbeat: Heartbeat) -> None:
    """Put it in place in one step. Not fsynced: after a power cut the boot id is another one anyway. Raises OSError."""
    data = (json.dumps(asdict(heartbeat), default=_plain, indent=1) + "\n").encode("ascii")
    temporary = os.path.join(os.path.dirname(path), f".nbguard-{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        unlink_quietly(temporary)
        raise


def read_heartbeat(path: str) -> Heartbeat | None:
    """The last heartbeat; None when there is none, or none that can be read (which counts as absent, never as fresh).

    Keys of a newer nbguard are passed over; keys that an older one did not write take their defaults.
    """
    try:
        return _heartbeat(json.loads(read_plain(path, _MOST_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{value!r} is not JSON")


def _heartbeat(table: dict[str, object]) -> Heartbeat:
    whole = {"pid": int, "beat_boottime_ns": int, "boot": str, "version": str}
    for name, kind in whole.items():
        if not isinstance(table[name], kind):
            raise ValueError(f"{name} is not {kind.__name__}")
    return _made(
        Heartbeat,
        {
            **table,
            "since": from_iso(_text(table["since"])),
            "beat_at": from_iso(_text(table["beat_at"])),
            "roots": tuple(_root(item) for item in _rows(table["roots"])),
            "problems": tuple(
                _made(Problem, {**item, "since": from_iso(_text(item["since"]))}) for item in _rows(table["problems"])
            ),
        },
    )


def _root(table: dict[str, object]) -> RootReport:
    swept = table["last_sweep_at"]
    return _made(RootReport, {**table, "last_sweep_at": None if swept is None else from_iso(_text(swept))})


def _made(kind: type[_Noun], table: dict[str, object]) -> _Noun:
    known = {item.name for item in fields(kind)}
    values = {name: value for name, value in table.items() if name in known}
    return kind(**values)  # type: ignore[arg-type]  # the values were checked above, or are harmless text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _rows(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{value!r} is not a list of tables")
    return value
