"""The recorder: what was just kept is measured, judged and entered into the catalog, behind the capturing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nbguard.archive.folding import Folder, Reading
from nbguard.archive.spool import Spool
from nbguard.clock import Clock
from nbguard.model import Draft, DraftKind, Measure

_MOST_HELD_BYTES = 24_000_000
GATHER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in the spool to be packed."""

    drafts: int
    bytes: int
    notebooks: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PackPolicy:
    """When a batch is worth packing. Deltas need several versions of a notebook side by side, so many notebooks wait
    for more drafts; nothing waits longer than ``seconds``."""

    drafts: int = 64
    bytes: int = 256_000_000
    seconds: float = 900.0
    per_notebook: int = 8
    most: int = 2048

    def is_due(self, waiting: Waiting) -> bool:
        if waiting.drafts == 0:
            return False
        enough = min(self.most, max(self.drafts, self.per_notebook * waiting.notebooks))
        return waiting.drafts >= enough or waiting.bytes >= self.bytes or waiting.oldest_seconds >= self.seconds


class Recorder:
    """Put from any thread; step from one."""

    def __init__(
        self, *, folder: Folder, spool: Spool, measure: Callable[[str, bytes], Measure | None], clock: Clock
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._measure = measure
        self._clock = clock
        self._condition = threading.Condition()
        self._queue: deque[tuple[Draft, bytes | None]] = deque()
        self._held = 0
        self._behind = True
        self._drafts = 0
        self._bytes = 0
        self._paths: set[str] = set()
        self._oldest: float | None = None

    def put(self, draft: Draft, data: bytes | None) -> None:
        """Hand over a durable draft; its bytes are let go when too many wait (they are in the spool)."""
        with self._condition:
            if data is not None and self._held + len(data) > _MOST_HELD_BYTES:
                data = None
            self._held += len(data) if data is not None else 0
            self._queue.append((draft, data))
            self._drafts += 1
            self._bytes += draft.size
            self._paths.add(draft.path)
            if self._oldest is None:
                self._oldest = self._clock.monotonic()
            self._condition.notify()

    def waiting(self) -> Waiting:
        """What waits to be packed, as far as this process knows."""
        with self._condition:
            oldest = 0.0 if self._oldest is None else self._clock.monotonic() - self._oldest
            return Waiting(self._drafts, self._bytes, len(self._paths), oldest)

    def count_spool(self) -> None:
        """Count anew from the spool itself: at start, and after each packing. Raises StorageTrouble."""
        summary = self._spool.summary()
        with self._condition:
            self._drafts, self._bytes = summary.drafts, summary.bytes
            self._paths = set()
            if summary.oldest_at is None:
                self._oldest = None
            else:
                age = max(0.0, self._clock.now().timestamp() - summary.oldest_at)
                self._oldest = self._clock.monotonic() - age

    def step(self, timeout_seconds: float) -> bool:
        """Enter what waits into the catalog; False when nothing came. Raises sqlite3.Error, NbguardError; repeat it."""
        with self._condition:
            if not self._queue:
                self._condition.wait(timeout_seconds)
            if not self._queue and not self._behind:
                return False
            if timeout_seconds and len(self._queue) == 1:
                self._condition.wait(GATHER_SECONDS)  # a burst becomes one transaction
            batch = list(self._queue)
            self._queue.clear()
            self._held = 0
        try:
            self._enter(batch)
        except BaseException:
            self._behind = True  # nothing is lost: the next step finds these drafts in the spool
            raise
        return bool(batch)

    def wake(self) -> None:
        """End a wait in step()."""
        with self._condition:
            self._condition.notify_all()

    def drain(self) -> None:
        """Enter all that waits."""
        while self.step(0.0):
            pass

    def _enter(self, batch: list[tuple[Draft, bytes | None]]) -> None:
        if self._behind or not self._folder.catalog.is_current() or any(not _at_hand(item) for item in batch):
            self._folder.catch_up()
            self._behind = False
            return
        self._folder.add_all(
            [(draft, Reading(None if data is None else self._measure(draft.path, data))) for draft, data in batch]
        )


def _at_hand(item: tuple[Draft, bytes | None]) -> bool:
    draft, data = item
    return data is not None or draft.kind is not DraftKind.VERSION
