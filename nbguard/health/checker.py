"""The daemon's look at its checker: each would be the only one to notice that the other is gone."""

from __future__ import annotations

import os
from collections.abc import Callable

from nbguard.clock import Clock
from nbguard.health.ages import awake_seconds_since
from nbguard.health.memory import CheckMemory, read_memory
from nbguard.health.remembered import Run
from nbguard.health.weighing import before, spell
from nbguard.model import Problem

REGULAR = 3
"""So many full checks in a row that came when they were due are a regular checker, which somebody set up."""


class CheckerWatch:
    """Looks at what checks left at ``path``. ``is_installed`` says whether a service with checks was installed."""

    def __init__(
        self, path: str, *, clock: Clock, boot: str, late_seconds: float, is_installed: Callable[[], bool]
    ) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._late_seconds = late_seconds
        self._is_installed = is_installed
        self._began = clock.monotonic()
        self._seen: tuple[int, int] | None = None
        self._memory = CheckMemory()

    def problems(self) -> tuple[Problem, ...]:
        """checker-late, or nothing. Costs a stat or two while nothing changes."""
        self._look()
        clock = self._clock
        run = Run(
            at=clock.now(),
            boot=self._boot,
            boottime_seconds=clock.boottime_ns() / 1e9,
            monotonic_seconds=clock.monotonic(),
        )
        late = lateness(self._memory, run, daemon_seconds=run.monotonic_seconds - self._began)
        if late <= self._late_seconds or not (self._memory.in_row >= REGULAR or self._is_installed()):
            return ()
        return (
            Problem(
                code="checker-late",
                message=f"no independent check has run for {spell(late)}",
                hint="nbguard service install puts its timers right; nbguard check runs one now",
                since=before(run.at, late),
            ),
        )

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError:
            self._seen, self._memory = None, CheckMemory()
            return
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._memory = seen, read_memory(self._path)


def lateness(memory: CheckMemory, run: Run, *, daemon_seconds: float) -> float:
    """Waking seconds without a full check, as far back as this daemon and this start of the machine go."""
    if memory.full is None:
        return daemon_seconds
    return min(daemon_seconds, awake_seconds_since(memory.full, run))
