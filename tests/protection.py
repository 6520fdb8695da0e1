"""The daemon's way of a save, whole but for the archive: real watcher and real files, versions kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

from nbguard.clock import Clock, SystemClock
from nbguard.heads import Heads
from nbguard.saves import Saves, wire
from nbguard.settings import Intervals, Limits
from nbguard.watch.scope import Scope
from nbguard.watch.watcher import Watcher
from tests.helpers import poll
from tests.memory import MemoryStore


@dataclass
class Protection:
    """One running watcher with what it feeds; stepped by the test, not by threads."""

    watcher: Watcher
    saves: Saves
    store: MemoryStore
    heads: Heads
    clock: Clock

    def step(self, seconds: float = 0.05) -> None:
        """One round of both workers; waits at most so long for something to be due."""
        self.watcher.step(self.clock.monotonic())
        self.saves.step(seconds)

    def settle(self) -> None:
        """Sweep everything in full and look at all that is pending."""
        self.watcher.sweep_now()
        self.saves.drain()

    def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Step until ``condition`` is true; AssertionError when it does not become so."""

        def holds() -> object:
            self.step(0.02)
            return condition()

        poll(holds, seconds, every=0.0)

    def codes(self) -> set[str]:
        """The problem codes shown now."""
        return {problem.code for problem in (*self.watcher.problems(), *self.saves.problems())}


@contextmanager
def protecting(
    *roots: object,
    heads: Heads | None = None,
    store: MemoryStore | None = None,
    intervals: Intervals | None = None,
    limits: Limits | None = None,
    ignore: Iterable[str] = (),
    clock: Clock | None = None,
) -> Generator[Protection]:
    """Watch ``roots`` until the block ends."""
    clock = clock or SystemClock()
    heads = heads or Heads()
    store = store or MemoryStore()
    limits, intervals = limits or Limits(), intervals or Intervals()
    watcher, saves = wire(
        [Scope(str(root), ignore=ignore) for root in roots],
        store=store,
        heads=heads,
        clock=clock,
        limits=limits,
        intervals=intervals,
        kept=lambda draft, data: None,
        knows=store.knows,
    )
    watcher.start()
    try:
        yield Protection(watcher, saves, store, heads, clock)
    finally:
        watcher.stop()
