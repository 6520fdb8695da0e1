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
from nbguard.settings import Checks

REGULAR = 3
REGULAR_LIGHT = 10
"""So many checks in a row that came when they were due are a habit, which somebody set up."""

_MISSED = 4


class CheckerWatch:
    """Looks at what checks left at ``path``. ``is_installed`` says whether a service with checks was installed."""

    def __init__(self, path: str, *, clock: Clock, boot: str, checks: Checks, is_installed: Callable[[], bool]) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._checks = checks
        self._is_installed = is_installed
        self._began = clock.monotonic()
        self._seen: tuple[int, int] | None = None
        self._memory = CheckMemory()

    def problems(self) -> tuple[Problem, ...]:
        """checker-late, or nothing. Costs a stat or two while nothing changes."""
        self._look()
        clock, memory = self._clock, self._memory
        run = Run(
            at=clock.now(),
            boot=self._boot,
            boottime_seconds=clock.boottime_ns() / 1e9,
            monotonic_seconds=clock.monotonic(),
        )
        up_seconds = run.monotonic_seconds - self._began
        whole, light = _without(memory.full, run, up_seconds), _without(memory.light, run, up_seconds)
        late = light_late_seconds(self._checks)
        if whole > self._checks.late_seconds and (memory.in_row >= REGULAR or self._is_installed()):
            return (_problem("no whole check has run", whole, run),)
        if light > late and (memory.light_in_row >= REGULAR_LIGHT or self._is_installed()):
            return (_problem("no light check has run", light, run),)
        return ()

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError:
            self._seen, self._memory = None, CheckMemory()
            return
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._memory = seen, read_memory(self._path)


def light_late_seconds(checks: Checks) -> float:
    """After so many seconds of waking without a light check, several were missed."""
    return _MISSED * checks.light_seconds


def _without(last: Run | None, run: Run, up_seconds: float) -> float:
    """Waking seconds without a check, as far back as this daemon and this start of the machine go."""
    return up_seconds if last is None else min(up_seconds, awake_seconds_since(last, run))


def _problem(what: str, seconds: float, run: Run) -> Problem:
    return Problem(
        code="checker-late",
        message=f"{what} for {spell(seconds)}",
        hint="nbguard service install puts its timers right; nbguard check runs one now",
        since=before(run.at, seconds),
        subject="checks",
    )
