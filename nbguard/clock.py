"""The only place that asks the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Three clocks: the wall (UTC, may jump), boot time (counts sleep, never jumps), monotonic seconds."""

    def now(self) -> datetime: ...
    def boottime_ns(self) -> int: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def boottime_ns(self) -> int:
        # CLOCK_BOOTTIME counts time asleep; macOS has none, and its CLOCK_MONOTONIC counts sleep already.
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def monotonic(self) -> float:
        return time.monotonic()


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and a Z, e.g. ``2026-11-21T08:00:00.000000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"  # a tenth of strftime


def from_iso(text: str) -> datetime:
    """The reverse of :func:`iso`. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)
