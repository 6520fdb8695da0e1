"""Databases without a name: deleted or replaced, and still held open by a kernel, which is the only way to them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nbguard.clock import Clock
from nbguard.errors import Busy, ChangedMeanwhile, StorageTrouble
from nbguard.history.copies import UNKNOWN, DatabaseCopies
from nbguard.history.copying import parts_held_by, stamps_of
from nbguard.history.generations import FileIdentity
from nbguard.history.kernels import LiveKernel
from nbguard.history.tail import Source, Tail
from nbguard.history.trouble import NeedsCopy, Unreadable
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 5.0
# Which descriptors lead to the parts; listing them costs more than looking at them.
_LIST_SECONDS = 10.0
# A row is to be kept within a second; each look costs a wake-up.
POLL_SECONDS = 0.6
BUSY_SECONDS = 0.1


@dataclass(slots=True)
class _Orphan:
    """One such file. ``kept`` is the copy of it as it was at ``stamps``."""

    pid: int
    file: FileIdentity
    path: str
    parts: dict[str, str] = field(default_factory=dict)
    listed_at: float = float("-inf")
    stamps: tuple[tuple[int, ...], ...] = ()
    kept: str | None = None
    due: float = float("-inf")
    is_behind: bool = False


class HeldOpen:
    """Copies their bytes at once and reads the copies; again while a kernel holds them: a deleted log still grows."""

    def __init__(self, *, tail: Tail, copies: DatabaseCopies, clock: Clock, board: ProblemBoard) -> None:
        self._tail = tail
        self._copies = copies
        self._clock = clock
        self._board = board
        self._orphans: dict[FileIdentity, _Orphan] = {}

    def update(self, kernels: Sequence[LiveKernel], in_place: Collection[FileIdentity | None]) -> None:
        """Which there are now; ``in_place`` are the files that are watched by their names."""
        held = {
            FileIdentity(file.device, file.inode): (kernel.pid, file.path)
            for kernel in kernels
            for file in kernel.databases
            if file.deleted
        }
        for identity, (pid, path) in held.items():
            known = self._orphans.get(identity)
            if known is not None:
                known.pid = pid
            elif identity not in in_place:
                _log.warning("%s is gone, and process %d holds it open", path, pid)
                self._orphans[identity] = _Orphan(pid, identity, path)
        for identity in [identity for identity in self._orphans if identity not in held]:
            self._board.clear(self._orphans.pop(identity).path)

    def look(self) -> float:
        """Copy and read what changed; seconds after which to look again. Raises StorageTrouble from the record log."""
        return min((self._look(orphan) for orphan in list(self._orphans.values())), default=_LIST_SECONDS)

    def _look(self, orphan: _Orphan) -> float:
        now = self._clock.monotonic()
        if now < orphan.due:
            return POLL_SECONDS
        orphan.due = now + POLL_SECONDS / 2
        if now >= orphan.listed_at + _LIST_SECONDS or not orphan.parts:
            orphan.parts = parts_held_by(orphan.pid, orphan.file.device, orphan.file.inode)
            orphan.listed_at = now
        parts = orphan.parts
        if not parts:
            return POLL_SECONDS  # the kernel ended: the next scan forgets it
        try:
            stamps = stamps_of(parts)
            if stamps[0][:2] != (orphan.file.device, orphan.file.inode):
                raise FileNotFoundError(orphan.path)  # the number of the descriptor leads elsewhere now
            if stamps != orphan.stamps:
                orphan.kept = self._copies.take(parts, self._tail.newest_generation(orphan.file) or UNKNOWN)
                orphan.stamps, orphan.is_behind = stamps, True
                self._board.clear(orphan.path)
        except (Busy, OSError):
            orphan.parts = {}
            return BUSY_SECONDS
        except StorageTrouble as trouble:
            self._board.note_error(trouble, subject=orphan.path)
            orphan.due = now + _AGAIN_SECONDS
        return self._read(orphan)

    def _read(self, orphan: _Orphan) -> float:
        try:
            while orphan.is_behind and orphan.kept is not None:
                source = Source(path=orphan.path, file=orphan.file, name=orphan.path, copy=orphan.kept)
                orphan.is_behind = self._tail.look(source)
        except (Busy, ChangedMeanwhile):
            return BUSY_SECONDS
        except (Unreadable, NeedsCopy, FileNotFoundError) as error:
            _log.warning("%s, held open by process %d: %s", orphan.path, orphan.pid, error)
            orphan.is_behind = False
        return POLL_SECONDS
