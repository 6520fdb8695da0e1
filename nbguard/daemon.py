"""The daemon: named workers, supervised by a plain monotonic main loop that writes the heartbeat.

Cast: ``watcher`` (guard and sweeps), ``saves`` (notices settle and are kept), ``recorder`` (judged, into the catalog),
``packer`` (spool to archive, maintenance). APScheduler only keeps the cadence of calendar work.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import FrameType

from nbguard import __version__
from nbguard.cadence import Calendar, CalendarJob
from nbguard.clock import Clock
from nbguard.model import Heartbeat, Problem, RootReport
from nbguard.ports import Progress
from nbguard.problems import ProblemBoard
from nbguard.workers import Worker, Workers

_log = logging.getLogger(__name__)
_LONGEST_TICK_SECONDS = 10.0
_PINGS_IN_TIME = 3  # so many in the time that the service manager waits for one
_JUMP_SECONDS = 30.0
_JUMP_TOLD_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everything the daemon is made of; app.py builds it."""

    workers: Sequence[Worker]
    jobs: Sequence[CalendarJob]
    start: Callable[[], None]
    wake: Callable[[], None]
    stop: Callable[[], None]
    doubt: Callable[[], None]
    roots: Callable[[], tuple[RootReport, ...]]
    problems: Callable[[], Iterable[Problem]]
    kept: Callable[[], int]
    missed_events: Callable[[], int]
    beat: Callable[[Heartbeat], None]


class Daemon:
    """Runs a cast until it is told to stop."""

    def __init__(
        self,
        cast: Cast,
        *,
        clock: Clock,
        board: ProblemBoard,
        boot: str,
        pid: int,
        heartbeat_seconds: float,
        watchdog_seconds: float | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._cast = cast
        self._clock = clock
        self._board = board
        self._boot = boot
        self._pid = pid
        self._heartbeat_seconds = heartbeat_seconds
        self._tick_seconds = min(_LONGEST_TICK_SECONDS, heartbeat_seconds)
        if watchdog_seconds is not None:
            self._tick_seconds = min(self._tick_seconds, watchdog_seconds / _PINGS_IN_TIME)
        self._tell = tell
        self._since = clock.now()
        self._stopping = threading.Event()
        self._workers = Workers(cast.workers, clock=clock, board=board, stopping=self._stopping)
        self._calendar: Calendar
        self._is_interruptible = False
        self._skew = self._skew_now()
        self._jump_told_until = clock.monotonic()

    def stop(self, *_: int | FrameType | None) -> None:
        """End soon; safe in a signal handler and from any thread."""
        self._stopping.set()
        if self._is_interruptible and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    def run(self, *, before: Callable[[], None] = lambda: None) -> None:
        """Until :meth:`stop`; ``before`` is done after the first heartbeat and before the workers begin."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self._beat(stopped=False)
        self._cast.start()  # events are gathered from here on, so that nothing falls between
        self._beat(stopped=False)
        self._tell("READY=1")
        self._before(before)
        self._workers.start()
        self._calendar = Calendar(self._cast.jobs)
        try:
            self._loop()
        finally:
            self._tell("STOPPING=1")
            self._stopping.set()
            self._calendar.stop()
            self._cast.wake()
            self._workers.join(20.0)
            self._cast.stop()
            self._beat(stopped=True)

    def _before(self, work: Callable[[], None]) -> None:
        """A first import may take minutes; a signal ends it between two groups, and what it protected stays."""
        self._is_interruptible = True
        try:
            work()
        except KeyboardInterrupt:
            self._stopping.set()
        finally:
            self._is_interruptible = False

    def _loop(self) -> None:
        due = self._clock.monotonic()
        while not self._stopping.wait(self._tick_seconds):
            self._watch_clocks()
            self._workers.look()
            if not self._calendar.is_alive():
                self._calendar = Calendar(self._cast.jobs)
                self._workers.tell_ended("scheduler")
            if not self._workers.hung():
                self._tell("WATCHDOG=1")
            if self._clock.monotonic() >= due:
                due = self._clock.monotonic() + self._heartbeat_seconds
                self._beat(stopped=False)

    def moving(self, progress: Progress) -> Progress:
        """``progress``, which is proof besides that what is done before the workers begin goes on."""

        def moved(done: int, total: int) -> None:
            self._tell("WATCHDOG=1")
            progress(done, total)

        return moved

    def _watch_clocks(self) -> None:
        """When wall and boot clock part, jobs are set anew (APScheduler trusts the wall) and the disk is swept."""
        skew = self._skew_now()
        if abs(skew - self._skew) > _JUMP_SECONDS:
            jumped = skew - self._skew
            self._board.note(
                "clock-jumped",
                f"the clock was set {'forward' if jumped > 0 else 'back'} by {abs(jumped):.0f} s",
                "nothing is lost: versions are ordered by observation; times shown around now may be odd",
                subject="clock",
            )
            self._jump_told_until = self._clock.monotonic() + _JUMP_TOLD_SECONDS
            self._calendar.reset()
            self._cast.doubt()
        elif self._clock.monotonic() >= self._jump_told_until:
            self._board.clear("clock")
        self._skew = skew

    def _skew_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.boottime_ns() / 1e9

    def _beat(self, *, stopped: bool) -> None:
        now: datetime = self._clock.now()
        heartbeat = Heartbeat(
            pid=self._pid,
            boot=self._boot,
            since=self._since,
            beat_at=now,
            beat_boottime_ns=self._clock.boottime_ns(),
            version=__version__,
            roots=self._cast.roots(),
            problems=tuple(self._cast.problems()),
            stopped=stopped,
            kept=self._cast.kept(),
            missed_events=self._cast.missed_events(),
            beat_monotonic=self._clock.monotonic(),
        )
        try:
            self._cast.beat(heartbeat)
        except OSError as error:
            _log.error("the heartbeat could not be written: %s", error)
