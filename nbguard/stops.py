"""A recorded stop: the daemon is down because nbguard itself took it down, and for how long that is no alarm."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nbguard.clock import from_iso, iso
from nbguard.durable import make_private_folder, replace_durably, unlink_quietly

UPGRADE_SECONDS = 300.0
_MOST_BYTES = 4_000


class Why(StrEnum):
    """An upgrade is over within minutes; what was uninstalled stays away until it is installed again."""

    UPGRADE = "upgrade"
    UNINSTALLED = "uninstalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStop:
    """When we stopped the daemon ourselves: UTC, and nanoseconds since the boot of that id."""

    why: Why
    at: datetime
    boot: str
    boottime_ns: int


def excuses(stop: RecordedStop | None, *, began: datetime | None, boot: str, boottime_ns: int) -> bool:
    """Whether a daemon that is down now, and last began at ``began`` (UTC), is down by that stop.

    One that began after the stop went by itself; an upgrade that outlasts its time, or the machine's run, is over.
    """
    if stop is None or (began is not None and began > stop.at):
        return False
    if stop.why is Why.UNINSTALLED:
        return True
    return stop.boot == boot and 0 <= boottime_ns - stop.boottime_ns <= UPGRADE_SECONDS * 1e9


def record_stop(path: str, stop: RecordedStop) -> None:
    """Write it down before the daemon is stopped. Raises OSError."""
    fields = {"v": 1, "why": stop.why, "at": iso(stop.at), "boot": stop.boot, "boottime_ns": stop.boottime_ns}
    make_private_folder(os.path.dirname(path))
    replace_durably(path, (json.dumps(fields) + "\n").encode("ascii"))


def forget_stop(path: str) -> None:
    """The daemon runs again. Raises OSError."""
    unlink_quietly(path)


def read_stop(path: str) -> RecordedStop | None:
    """The last recorded stop; None when there is none, or it cannot be read (then nothing is excused)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fields = json.loads(os.read(fd, _MOST_BYTES))
        finally:
            os.close(fd)
        return RecordedStop(
            why=Why(fields["why"]),
            at=from_iso(str(fields["at"])),
            boot=str(fields["boot"]),
            boottime_ns=int(fields["boottime_ns"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
