"""The daemon's way of a save, whole but for the archive: real watcher and real files, versions kept in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

from nbguard.capture.keep import Keeper
from nbguard.clock import Clock, SystemClock
from nbguard.heads import Heads
from nbguard.saves import Saves
from nbguard.settings import Intervals, Limits
from nbguard.watch.missing import Missing
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

    def until(self, condition: object, seconds: float = 10.0) -> None:
        """Step until ``condition`` (a callable) is true; AssertionError when it does not become so."""

        def holds() -> object:
            self.step(0.02)
            return condition() if callable(condition) else condition

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
    put: list[Saves] = []
    watcher = Watcher(
        [Scope(str(root), ignore=ignore) for root in roots],
        heads=heads,
        clock=clock,
        intervals=intervals,
        put=lambda notice: put[0].put(notice),
        leftover=lambda path: put[0].put_leftover(path),
    )
    keeper = Keeper(store=store, heads=heads, clock=clock, limits=limits, root_of=watcher.root_of, knows=store.knows)
    missing = Missing(
        heads=heads,
        clock=clock,
        hold_seconds=intervals.mass_deletion_hold_seconds,
        root_of=watcher.root_of,
        root_is_sound=watcher.root_is_sound,
        follow_device=watcher.follow_device,
    )
    saves = Saves(keeper=keeper, missing=missing, clock=clock, limits=limits)
    put.append(saves)
    watcher.start()
    try:
        yield Protection(watcher, saves, store, heads, clock)
    finally:
        watcher.stop()
