"""Background maintenance: bytes and file counts stay bounded from the first day, memory too."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nbguard.archive.repository import Archive
from nbguard.durable import FileLock, free_space, fsync_file, fsync_folder
from nbguard.errors import storage_trouble

_MANY_PACKS = 32


@dataclass(frozen=True, slots=True)
class PackCount:
    """What lies in objects/pack: how many packs, and their bytes."""

    packs: int
    bytes: int


def count_packs(archive: Archive) -> PackCount:
    """Cheap: one folder listing. Raises OSError."""
    packs = size = 0
    with os.scandir(os.path.join(archive.folder, "objects", "pack")) as entries:
        for entry in entries:
            if entry.name.endswith(".pack"):
                packs += 1
                size += entry.stat().st_size
    return PackCount(packs, size)


def is_due(now: PackCount) -> bool:
    """Whether there are so many packs that merging them pays."""
    return now.packs >= _MANY_PACKS


class Maintenance:
    """Merges packs, under the lock of everybody who writes refs."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def run(self, *, full: bool = False) -> PackCount:
        """Merge small packs (geometric), or with ``full`` look for all deltas anew. Raises Busy, ArchiveTrouble.

        Nothing is ever dropped: no pruning, and packs are fsynced before the old ones go (core.fsync=all).
        """
        self._archive.require()
        try:
            with FileLock(self._archive.lock_path):
                self._archive.remove_stale_locks()
                before = count_packs(self._archive)
                free, _, _ = free_space(self._archive.folder)
                if free < before.bytes * 1.2 or before.packs < 2:
                    return before
                if full:
                    self._archive.git.run("repack", "-a", "-d", "-f", "-q", "--window=50", "--depth=50")
                else:
                    self._archive.git.run("repack", "--geometric=2", "-d", "-q")
                self._make_durable()
                return count_packs(self._archive)
        except OSError as error:
            raise storage_trouble(error, "maintenance of the archive") from error

    def _make_durable(self) -> None:
        folder = os.path.join(self._archive.folder, "objects", "pack")
        for name in os.listdir(folder):
            if name.endswith((".pack", ".idx")):
                fsync_file(os.path.join(folder, name))
        fsync_folder(folder)
