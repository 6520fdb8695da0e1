"""`state/checks.json`: what checks remember of each other. Losing it costs one forecast and a few proofs made anew."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TypeVar

from nbguard.clock import from_iso, iso
from nbguard.durable import read_plain, replace_durably
from nbguard.health.remembered import Covered, Jump, PackRead, Run, Sample, Still

CHECKS_FILE = "checks.json"
FORMAT = 1
_MOST_BYTES = 4_000_000
_MOST_ROWS = 5_000

_Noun = TypeVar("_Noun")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckMemory:
    """Everything. ``in_row`` and ``light_in_row`` count checks that came when they were due: so many are a habit.
    ``woke_at``: when this machine was last seen to have woken. ``protected`` is the last full check's count. ``told``
    are the codes that checks have found: they must be seen to be over, too."""

    light: Run | None = None
    full: Run | None = None
    looked: Run | None = None
    canary_at: datetime | None = None
    drill_at: datetime | None = None
    whole_drill_at: datetime | None = None
    connected_at: datetime | None = None
    woke_at: float = 0.0
    in_row: int = 0
    light_in_row: int = 0
    runs: int = 0
    notebooks: int = 0
    protected: int = 0
    told: tuple[str, ...] = ()
    jump: Jump | None = None
    covered: Mapping[str, Covered] = field(default_factory=dict)
    space: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    packs: Mapping[str, PackRead] = field(default_factory=dict)
    still: Mapping[str, Still] = field(default_factory=dict)


def read_memory(path: str) -> CheckMemory:
    """What was remembered; nothing when there is no such file, or what is there makes no sense."""
    try:
        table = _table(json.loads(read_plain(path, _MOST_BYTES, follow=False), parse_constant=_refuse))
        if table.get("v") != FORMAT:
            return CheckMemory()
        return CheckMemory(
            light=_optional(table.get("light"), _run),
            full=_optional(table.get("full"), _run),
            looked=_optional(table.get("looked"), _run),
            canary_at=_optional(table.get("canary_at"), _moment),
            drill_at=_optional(table.get("drill_at"), _moment),
            whole_drill_at=_optional(table.get("whole_drill_at"), _moment),
            connected_at=_optional(table.get("connected_at"), _moment),
            in_row=_count(table.get("in_row", 0)),
            light_in_row=_count(table.get("light_in_row", 0)),
            runs=_count(table.get("runs", 0)),
            notebooks=_count(table.get("notebooks", 0)),
            protected=_count(table.get("protected", 0)),
            told=_words(table.get("told", [])),
            woke_at=_number(table.get("woke_at", 0.0)),
            jump=_optional(table.get("jump"), _jump),
            covered=_each(table.get("covered"), _covered),
            space=_each(table.get("space"), _samples),
            packs=_each(table.get("packs"), _pack),
            still=_each(table.get("still"), _still),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return CheckMemory()


def write_memory(path: str, memory: CheckMemory) -> None:
    """Durably, readable by its owner alone. Raises OSError."""
    table = {"v": FORMAT, **asdict(memory)}
    replace_durably(path, (json.dumps(table, default=_plain) + "\n").encode("ascii"))


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{value!r} is not JSON")


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or len(value) > _MOST_ROWS:
        raise ValueError("not a table")
    return value


def _optional(value: object, read: Callable[[object], _Noun]) -> _Noun | None:
    return None if value is None else read(value)


def _each(value: object, read: Callable[[object], _Noun]) -> dict[str, _Noun]:
    return {} if value is None else {name: read(item) for name, item in _table(value).items()}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e15:
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _count(value: object) -> int:
    return max(0, int(_number(value)))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ROWS:
        raise ValueError("not a list")
    return tuple(_text(item) for item in value)


def _moment(value: object) -> datetime:
    return from_iso(_text(value))


def _run(value: object) -> Run:
    table = _only(value, Run)
    return Run(
        at=_moment(table["at"]),
        boot=_text(table["boot"]),
        boottime_seconds=_number(table["boottime_seconds"]),
        monotonic_seconds=_number(table["monotonic_seconds"]),
    )


def _jump(value: object) -> Jump:
    table = _only(value, Jump)
    numbers = {name: _number(table[name]) for name in ("seconds", "wall_before", "boottime_seconds")}
    return Jump(boot=_text(table["boot"]), **numbers)


def _covered(value: object) -> Covered:
    table = _only(value, Covered)
    return Covered(
        notebooks=_count(table["notebooks"]),
        device=_optional(table.get("device"), _count),
        fell_at=_optional(table.get("fell_at"), _number),
    )


def _samples(value: object) -> tuple[Sample, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ROWS:
        raise ValueError("not a list")
    rows = [_only(item, Sample) for item in value]
    return tuple(
        Sample(at=_number(row["at"]), bytes=_count(row["bytes"]), inodes=_count(row["inodes"])) for row in rows
    )


def _pack(value: object) -> PackRead:
    table = _only(value, PackRead)
    return PackRead(offset=_count(table.get("offset", 0)), read_at=_number(table.get("read_at", 0.0)))


def _still(value: object) -> Still:
    table = _only(value, Still)
    words = {name: _text(table[name]) for name in ("code", "message", "hint", "subject")}
    return Still(since=_moment(table["since"]), **words)


def _only(value: object, kind: type) -> dict[str, object]:
    """The keys that we know; those of a newer nbguard are passed over."""
    table = _table(value)
    return {item.name: table[item.name] for item in fields(kind) if item.name in table}
