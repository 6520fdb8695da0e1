"""What this machine remembers of the mirrors it looks at: a small file in state, by the mirror's address."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from nbguard.alerting import Weighed, Weight
from nbguard.clock import from_iso, iso
from nbguard.durable import make_private_folder, replace_durably
from nbguard.mirror.look import Look
from nbguard.mirror.peer import Memory, Seen
from nbguard.model import Problem

_MOST_BYTES = 16_000_000
_STILL_SO = timedelta(days=1)


def load(path: str, address: str) -> Memory:
    """What is remembered of one mirror; nothing where the file is not there, or makes no sense."""
    table = _read(path).get(_key(address))
    try:
        return _memory(table) if isinstance(table, dict) else Memory(hosts={})
    except (ValueError, KeyError, TypeError, OverflowError):
        return Memory(hosts={})


def found_elsewhere(path: str, address: str, now: datetime) -> tuple[Weighed, ...]:
    """What was found at other mirrors when they were last looked at, within a day."""
    here = _key(address)
    return tuple(
        found
        for key, table in _read(path).items()
        if key != here and isinstance(table, dict)
        for found in _found_in(table, now)
    )


def save(path: str, address: str, memory: Memory, found: Iterable[Weighed], now: datetime) -> None:
    """Remember it, and what was found, durably. Only under a lock of the caller's. Raises OSError."""
    mirrors = _read(path)
    mirrors[_key(address)] = {
        "at": iso(now),
        "found": [_found_out(one) for one in found],
        "silent_since": None if memory.silent_since is None else memory.silent_since.table(),
        "hosts": {
            name: {"boot": seen.boot, "seq": seen.sequence, "since": seen.since.table()}
            for name, seen in memory.hosts.items()
        },
    }
    make_private_folder(os.path.dirname(path))
    replace_durably(path, (json.dumps({"v": 1, "mirrors": mirrors}, indent=1) + "\n").encode("ascii"))


def _read(path: str) -> dict[str, object]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        mirrors = found["mirrors"]
        return dict(mirrors) if isinstance(mirrors, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _key(address: str) -> str:
    """An address may hold a secret: it is not written down."""
    return hashlib.sha256(os.fsencode(address)).hexdigest()


def _memory(table: Mapping[str, object]) -> Memory:
    hosts = table["hosts"]
    if not isinstance(hosts, dict):
        raise ValueError("no hosts")
    since = table.get("silent_since")
    return Memory(
        hosts={
            str(name): Seen(str(one["boot"]), int(one["seq"]), Look.of(one["since"])) for name, one in hosts.items()
        },
        silent_since=None if since is None else Look.of(since),
    )


def _found_out(one: Weighed) -> dict[str, str]:
    problem = one.problem
    return {
        "weight": str(one.weight),
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "since": iso(problem.since),
        "subject": problem.subject,
    }


def _found_in(table: Mapping[str, object], now: datetime) -> list[Weighed]:
    try:
        rows = table["found"]
        if not isinstance(rows, list) or abs(now - from_iso(str(table["at"]))) > _STILL_SO:
            return []
        return [
            Weighed(
                problem=Problem(
                    code=str(row["code"]),
                    message=str(row["message"]),
                    hint=str(row["hint"]),
                    since=from_iso(str(row["since"])),
                    subject=str(row["subject"]),
                ),
                weight=Weight(row["weight"]),
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError):
        return []
