"""The composition root's page for the daemon's packing: when, of what, what follows it, and memory given back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbguard.app import Store, reserve_of
from nbguard.app_history import record_packer_of
from nbguard.archive.maintenance import Maintenance, count_packs, is_due
from nbguard.archive.packer import Packer
from nbguard.archive.recorder import PackPolicy, Recorder
from nbguard.clock import Clock
from nbguard.errors import Busy
from nbguard.problems import ProblemBoard
from nbguard.processes import give_back_memory
from nbguard.settings import Settings

if TYPE_CHECKING:
    from nbguard.archive.outputs import RecordedOutputs
    from nbguard.archive.record_log import RecordSegments
    from nbguard.archive.spool import Spool
    from nbguard.cli.context import Context

_log = logging.getLogger(__name__)

_POLL_SECONDS = 3.0
_GATHER_SECONDS = 1.0
# Commands keep versions too, and nobody tells the daemon: the spool is counted so often while nothing else waits.
_COUNT_SECONDS = 60.0
_QUIET_SECONDS = 6.0
_LOCKED_OUT_SECONDS = 50.0


class Packing:
    """Drafts and executed cells into the archive, from one thread. ``kept`` counts the saves that were kept so far,
    ``packed`` is told when the archive has something new, ``woken`` ends every wait."""

    def __init__(
        self,
        context: Context,
        store: Store,
        *,
        spool: Spool,
        recorder: Recorder,
        record_log: RecordSegments,
        outputs: RecordedOutputs,
        kept: Callable[[], int],
        packed: Callable[[], None],
        clock: Clock,
        board: ProblemBoard,
        woken: threading.Event,
    ) -> None:
        settings = context.settings or Settings()
        self.packer = Packer(
            archive=store.archive,
            spool=spool,
            catalog=store.catalog,
            folder=store.folder,
            batch_bytes=settings.packing.bytes,
            reserve=reserve_of(settings),
        )
        self.record_packer = record_packer_of(context)
        self.policy = PackPolicy(
            drafts=settings.packing.drafts, bytes=settings.packing.bytes, seconds=settings.intervals.pack_seconds
        )
        self._archive = store.archive
        self._maintenance = Maintenance(store.archive)
        self._recorder = recorder
        self._record_log = record_log
        self._outputs = outputs
        self._kept = kept
        self._packed = packed
        self._clock = clock
        self._board = board
        self._woken = woken
        self._pack_seconds = settings.intervals.pack_seconds
        self._next_count = self._next_records = self._packed_at = clock.monotonic()
        self._kept_before = self._kept_when_given_back = 0
        self._quiet_since = clock.monotonic()
        self._locked_out_since: float | None = None
        self._maintain_now, self._soon = threading.Event(), threading.Event()

    def look(self) -> None:
        """More was kept: it may be worth packing now."""
        if not self._soon.is_set() and self.policy.is_due(self._recorder.waiting()):
            self._soon.set()

    def wait(self) -> None:
        """Until there may be something to do; what comes together is packed together."""
        if self._soon.wait(self._until_due()):
            self._soon.clear()
            since = self._clock.monotonic() - self._packed_at
            self._woken.wait(max(_GATHER_SECONDS, _POLL_SECONDS - since))

    def rest(self) -> None:
        """A look is over: the next one is not right now."""
        self._packed_at = self._clock.monotonic()

    def pack_due(self) -> None:
        """Pack when it is worth it, then see to maintenance."""
        self._count_others()
        try:
            self._pack_versions()
        finally:
            self._pack_records()
        if self._maintain_now.is_set():
            self._maintain_now.clear()
            self._outputs.prune()
            self._maintain()
        self._give_back_memory()

    def maintain_soon(self) -> None:
        """See to maintenance with the next look."""
        self._maintain_now.set()
        self._soon.set()

    def wake(self) -> None:
        """End the wait; ``woken`` is set already."""
        self._soon.set()

    def _until_due(self) -> float:
        """Seconds until there is something to do, unless more is kept meanwhile."""
        waiting, most = self._recorder.waiting(), self._pack_seconds
        is_owed = self._kept() - self._kept_when_given_back >= self.policy.drafts  # memory, once it is quiet
        if is_owed or self._maintain_now.is_set() or self.policy.is_due(waiting):
            return _POLL_SECONDS
        seconds = min(_COUNT_SECONDS, most - waiting.oldest_seconds if waiting.drafts else most)
        return max(_POLL_SECONDS, seconds)

    def _pack_versions(self) -> None:
        if self.policy.is_due(self._recorder.waiting()):
            try:
                done = self.packer.pack()
            except Busy:
                self._note_locked_out()
                raise
            finally:
                self._recorder.count_spool()
            self._locked_out_since = None
            self._board.clear("lock")
            if done.tip is not None:
                _log.info("packed %d versions, %d bytes", done.versions, done.bytes)
                self._packed()
                self._maintain()

    def _note_locked_out(self) -> None:
        """Others that write refs are done in seconds; whoever holds the lock for minutes may do so for ever."""
        now = self._clock.monotonic()
        since = self._locked_out_since = now if self._locked_out_since is None else self._locked_out_since
        if now - since >= min(_LOCKED_OUT_SECONDS, self._pack_seconds / 18):
            self._board.note(
                "packer-behind",
                f"versions wait to be packed, and another process has held the archive's lock for {now - since:.0f} s",
                f"they are durable meanwhile; `fuser {self._archive.lock_path}` says which process it is",
                subject="lock",
            )

    def _pack_records(self) -> None:
        self._record_log.tend()
        now = self._clock.monotonic()
        if now < self._next_records:
            return
        self._next_records = now + min(_COUNT_SECONDS, self._pack_seconds)
        if self.record_packer.is_due():
            done = self.record_packer.pack()
            _log.info("packed %d segments of executed cells, %d bytes", done.segments, done.bytes)
            self._maintain()

    def _give_back_memory(self) -> None:
        """Once many saves were kept and it is quiet: a burst, and packing it, leave tens of megabytes behind."""
        kept, now = self._kept(), self._clock.monotonic()
        if kept != self._kept_before:
            self._kept_before, self._quiet_since = kept, now
        elif kept - self._kept_when_given_back >= self.policy.drafts and now - self._quiet_since >= _QUIET_SECONDS:
            self._kept_when_given_back = kept
            give_back_memory()

    def _count_others(self) -> None:
        """Learn of drafts that other processes put there; with one of ours waiting, theirs are packed with it."""
        now = self._clock.monotonic()
        if now >= self._next_count and self._recorder.waiting().drafts == 0:
            self._next_count = now + min(_COUNT_SECONDS, self._pack_seconds)
            self._recorder.count_spool()

    def _maintain(self) -> None:
        if is_due(count_packs(self._archive)):
            try:
                self._maintenance.run()
            except Busy:
                self._maintain_now.set()
