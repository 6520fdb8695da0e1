"""What we know of each mirror, durable in ``state/mirrors.json``: read without trusting it, changed under a lock."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from nbguard.clock import from_iso, iso
from nbguard.durable import FileLock, make_private_folder, replace_durably
from nbguard.mirror.standing import REMEMBERED, MirrorState

_log = logging.getLogger(__name__)
_MOST_BYTES = 1_000_000
_MOST_TEXT = 600
_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything in the file. ``namespace`` stays the same when the machine is renamed; ``sequence`` counts
    heartbeats; ``mirrors`` are known by :func:`key_of`."""

    namespace: str = ""
    sequence: int = 0
    mirrors: Mapping[str, MirrorState]


def key_of(name: str, url: str) -> str:
    """A mirror of the same name at another address is another mirror."""
    return f"{name} {sha256(url.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


class StateFile:
    """The file, shared by the daemon, commands and the check."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "mirrors.json")
        self._folder = folder

    def read(self) -> Known:
        """What is known; nothing when there is no file, or none that can be understood. Raises OSError."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return Known(mirrors={})
        with os.fdopen(fd, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        try:
            return _parsed(raw)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            _log.warning("%s cannot be understood; what it said of mirrors is found out anew", self.path)
            return Known(mirrors={})

    def of(self, key: str) -> MirrorState:
        """One mirror, as far as it is known. Raises OSError."""
        return self.read().mirrors.get(key, MirrorState())

    def change(self, change: Callable[[Known], Known]) -> Known:
        """Change it durably, one process at a time. Raises OSError."""
        make_private_folder(self._folder)
        lock = FileLock(f"{self.path}.lock")
        lock.acquire(wait=True)
        try:
            before = self.read()
            after = change(before)
            if after != before:
                replace_durably(self.path, _text(after))
            return after
        finally:
            lock.release()

    def put(self, key: str, state: MirrorState) -> None:
        """Remember the state of one mirror. Raises OSError."""
        self.change(lambda known: replace(known, mirrors={**known.mirrors, key: state}))


_TIMES = ("tried_at", "verified_at", "beat_at", "behind_since", "sampled_at", "read_whole_at")


def _text(known: Known) -> bytes:
    mirrors = {}
    for key, state in known.mirrors.items():
        row: dict[str, object] = {}
        for name in MirrorState.__slots__:
            value = getattr(state, name)
            row[name] = iso(value) if isinstance(value, datetime) else list(value) if name == "written" else value
        mirrors[key] = row
    table = {"v": 1, "namespace": known.namespace, "sequence": known.sequence, "mirrors": mirrors}
    return (json.dumps(table, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _parsed(raw: bytes) -> Known:
    if len(raw) > _MOST_BYTES:
        raise ValueError("too large")
    table = json.loads(raw)
    rows = table["mirrors"]
    if table["v"] != 1 or not isinstance(rows, dict):
        raise ValueError("not of this form")
    return Known(
        namespace=_text_in(table["namespace"]),
        sequence=_count(table["sequence"]),
        mirrors={str(key): _state(row) for key, row in rows.items()},
    )


def _state(row: Mapping[str, object]) -> MirrorState:
    times = {name: _time(row.get(name)) for name in _TIMES}
    written = row.get("written")
    if not isinstance(written, list):
        raise ValueError("written is no list")
    return MirrorState(
        **times,
        trouble=_text_in(row.get("trouble", "")),
        foreign=_text_in(row.get("foreign", "")),
        verified_by=_text_in(row.get("verified_by", "")),
        failures=_count(row.get("failures", 0)),
        network=_text_in(row.get("network", "")),
        written=tuple(oid for item in written if (oid := _oid(item)) is not None)[-REMEMBERED:],
        main=_oid(row.get("main")),
        records=_oid(row.get("records")),
        step_commits=max(1, _count(row.get("step_commits", 256))),
        chained=row.get("chained") is True,
    )


def _time(value: object) -> datetime | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("not a time")
    return None if value is None else from_iso(value)


def _text_in(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    return value[:_MOST_TEXT]


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise ValueError("not a number")
    return value


def _oid(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not _OID.fullmatch(value)):
        raise ValueError("not a commit")
    return value
