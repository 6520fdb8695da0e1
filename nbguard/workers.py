"""Workers: named threads that repeat a step, told of when one fails, hangs or ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbguard.clock import Clock
from nbguard.errors import Busy, NbguardError
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
_LONGEST_BACKOFF_SECONDS = 30.0
_TOLD_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One named thread: ``step`` blocks for some seconds at most, less once the cast is woken, and may be repeated
    after any exception. One whose step takes longer than ``patience_seconds`` is taken for hung."""

    name: str
    step: Callable[[], None]
    patience_seconds: float = 300.0


class Workers:
    """The threads of a cast. ``look`` is called by the main loop, every few seconds."""

    def __init__(
        self, workers: Sequence[Worker], *, clock: Clock, board: ProblemBoard, stopping: threading.Event
    ) -> None:
        self._workers = tuple(workers)
        self._clock = clock
        self._board = board
        self._stopping = stopping
        self._moved_at: dict[str, float] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._told_until: dict[str, float] = {}

    def start(self) -> None:
        """Every worker begins."""
        for worker in self._workers:
            self._start(worker)

    def look(self) -> None:
        """A thread that ended, whatever ended it, is started again; that is told for an hour. One that hangs is told of
        as long as it does: only a new process helps it."""
        for worker in self._workers:
            if not self._threads[worker.name].is_alive() and not self._stopping.is_set():
                self._start(worker)
                self.tell_ended(worker.name)
        now = self._clock.monotonic()
        hung = self.hung()
        for worker in self._workers:
            if worker.name in hung:
                self._tell(f"{worker.name} hangs", f"{worker.name} has not moved for a long time", now)
        for subject, until in list(self._told_until.items()):
            if now >= until or (subject.endswith(" hangs") and subject.removesuffix(" hangs") not in hung):
                del self._told_until[subject]
                self._board.clear(subject)

    def tell_ended(self, name: str) -> None:
        """Say for an hour that a thread ended by itself and was started again."""
        _log.error("%s ended by itself; it was started again", name)
        self._tell(f"{name} ended", f"{name} ended by itself; it was started again", self._clock.monotonic())

    def hung(self) -> list[str]:
        """Names of workers that have not ended a step within their patience."""
        now = self._clock.monotonic()
        return [each.name for each in self._workers if now - self._moved_at.get(each.name, now) > each.patience_seconds]

    def join(self, seconds: float) -> None:
        """Wait for each to end, so long at most."""
        for thread in self._threads.values():
            thread.join(timeout=seconds)

    def _start(self, worker: Worker) -> None:
        self._moved_at[worker.name] = self._clock.monotonic()
        thread = threading.Thread(target=self._work, args=(worker,), name=worker.name, daemon=True)
        self._threads[worker.name] = thread
        thread.start()

    def _tell(self, subject: str, message: str, now: float) -> None:
        self._told_until[subject] = now + _TOLD_SECONDS
        self._board.note("worker-failed", message, "see the log (nbguard service logs)", subject=subject)

    def _work(self, worker: Worker) -> None:
        backoff = 1.0
        while not self._stopping.is_set():
            self._moved_at[worker.name] = self._clock.monotonic()
            try:
                worker.step()
            except Busy:
                self._stopping.wait(1.0)
            except NbguardError as error:
                _log.error("%s: %s", worker.name, error.message)
                self._board.note_error(error, subject=worker.name)
                self._stopping.wait(min(backoff, _LONGEST_BACKOFF_SECONDS))
                backoff *= 2
            except Exception as error:  # noqa: BLE001 - a worker's outer loop: the work is kept, the alarm raised
                _log.exception("%s failed", worker.name)
                self._board.note(
                    "worker-failed",
                    f"{worker.name} failed: {error!r}",
                    "see the log; it is tried again by itself",
                    subject=worker.name,
                )
                self._stopping.wait(min(backoff, _LONGEST_BACKOFF_SECONDS))
                backoff *= 2
            else:
                if backoff > 1.0:
                    self._board.clear(worker.name)
                backoff = 1.0
