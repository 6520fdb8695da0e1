"""What this machine remembers of the mirrors it looks at: a small file in state, by the mirror's address."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

from nbguard.durable import make_private_folder, replace_durably
from nbguard.mirror.look import Look
from nbguard.mirror.peer import Memory, Seen

_MOST_BYTES = 16_000_000


def load(path: str, address: str) -> Memory:
    """What is remembered of one mirror; nothing where the file is not there, or makes no sense."""
    table = _read(path).get(_key(address))
    try:
        return _memory(table) if isinstance(table, dict) else Memory(hosts={})
    except (ValueError, KeyError, TypeError, OverflowError):
        return Memory(hosts={})


def save(path: str, address: str, memory: Memory) -> None:
    """Remember it, durably. Only under a lock of the caller's. Raises OSError."""
    mirrors = _read(path)
    mirrors[_key(address)] = {
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
