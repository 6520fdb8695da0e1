"""Background maintenance: bytes and file counts stay bounded from the first day, memory too.

Packs are merged so that each is at least twice the next smaller one (as `git repack --geometric=2` does). The merging
itself is left to `git pack-objects`; which packs, and when the old ones may go, is decided here: never before the new
pack is durable and seen to hold every object of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.archive.pack_file import DEEPEST_CHAIN, drop_pack
from nbguard.archive.pack_index import PackIndex
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve
from nbguard.durable import FileLock, free_space, fsync_file, fsync_folder
from nbguard.errors import ArchiveTrouble, storage_trouble

_FEW_OBJECTS = 200
_MANY_SMALL_PACKS = 8
_MANY_PACKS = 32
_FACTOR = 2
# Notebooks above this are never deltified (the packer streams them), and no more of a pack is mapped at once.
_FRUGAL = {
    "core.bigFileThreshold": "8m",
    "core.packedGitWindowSize": "8m",
    "core.packedGitLimit": "32m",
    "pack.windowMemory": "32m",
    "pack.deltaCacheSize": "8m",
    "pack.threads": "1",
    "pack.writeReverseIndex": "false",
}


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack: its path, how many objects it holds, and its bytes."""

    path: str
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PackCount:
    """What lies in objects/pack: how many packs, how many of them hold few objects, and the bytes of all."""

    packs: int
    small: int
    bytes: int


def list_packs(archive: Archive) -> list[Pack]:
    """Every pack with an index, the smallest first. Raises OSError."""
    folder = os.path.join(archive.folder, "objects", "pack")
    names = set(os.listdir(folder))
    found = []
    for name in names:
        if not name.endswith(".pack") or name.removesuffix(".pack") + ".idx" not in names:
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            found.append(Pack(path, int.from_bytes(file.read(12)[8:], "big"), os.fstat(file.fileno()).st_size))
    return sorted(found, key=lambda pack: (pack.objects, pack.path))


def count_packs(archive: Archive) -> PackCount:
    """Cheap: one folder listing and a dozen bytes of each pack. Raises OSError."""
    packs = list_packs(archive)
    return PackCount(len(packs), sum(pack.objects < _FEW_OBJECTS for pack in packs), sum(pack.bytes for pack in packs))


def is_due(now: PackCount) -> bool:
    """Whether merging pays: small packs hold first states that could be deltas of each other."""
    return now.small >= _MANY_SMALL_PACKS or now.packs >= _MANY_PACKS


def choose(packs: Sequence[Pack]) -> list[Pack]:
    """Which of the packs (smallest first) to merge, so that each is at least twice the next smaller one."""
    end = 0
    for at in range(len(packs) - 1, 0, -1):
        if packs[at].objects < _FACTOR * packs[at - 1].objects:
            end = at + 1
            break
    total = sum(pack.objects for pack in packs[:end])
    while 0 < end < len(packs) and packs[end].objects < _FACTOR * total:
        total += packs[end].objects
        end += 1
    return list(packs[:end])


class Maintenance:
    """Merges packs, under the lock of everybody who writes refs."""

    def __init__(self, archive: Archive, *, reserve: Reserve | None = None) -> None:
        self._archive = archive
        self._reserve = reserve or Reserve()
        self._folder = os.path.join(archive.folder, "objects", "pack")

    def run(self, *, full: bool = False) -> PackCount:
        """Merge small packs, or with ``full`` all of them, looking for all deltas anew. Nothing is ever dropped.

        Raises Busy, ArchiveTrouble, StorageTrouble. Does nothing where there is no room.
        """
        self._archive.require()
        try:
            with FileLock(self._archive.lock_path) as lock:
                self._archive.remove_stale_locks()
                self._index_orphans()
                packs = list_packs(self._archive)
                chosen = packs if full else choose(packs)
                if len(chosen) > 1 and self._has_room(chosen):
                    self._merge(chosen, lock.fd, full=full)
                return count_packs(self._archive)
        except OSError as error:
            raise storage_trouble(error, "maintenance of the archive") from error

    def _has_room(self, packs: list[Pack]) -> bool:
        free, total, inodes = free_space(self._archive.folder)
        # At worst nothing is a delta of anything new, and every index is written once more.
        needed = sum(pack.bytes + 64 * pack.objects for pack in packs)
        return inodes >= 8 and free > needed + self._reserve.of(total)

    def _merge(self, packs: list[Pack], lock_fd: int, *, full: bool) -> None:
        effort = (
            ("--window=50", "--depth=50", "--no-reuse-delta") if full else ("--window=5", f"--depth={DEEPEST_CHAIN}")
        )
        said = self._archive.git.work(
            ("pack-objects", "--stdin-packs", "-q", "--delta-base-offset", *effort, os.path.join(self._folder, "pack")),
            data="".join(f"{os.path.basename(pack.path)}\n" for pack in packs).encode("ascii"),
            settings=_FRUGAL,
            inherit=[lock_fd],
        )
        base = os.path.join(self._folder, f"pack-{said.decode('ascii').strip()}")
        fsync_file(f"{base}.pack")
        fsync_file(f"{base}.idx")
        fsync_folder(self._folder)
        old = [pack.path for pack in packs if pack.path != f"{base}.pack"]
        with PackIndex(f"{base}.idx") as merged:
            for path in old:
                with PackIndex(path.removesuffix(".pack") + ".idx") as index:
                    if not all(oid in merged for oid in index):
                        raise ArchiveTrouble(
                            f"a merged pack lacks objects of {path}", hint="nothing was removed; see `nbguard doctor`"
                        )
        for path in old:
            if not os.path.exists(path.removesuffix(".pack") + ".keep"):
                drop_pack(path)

    def _index_orphans(self) -> None:
        """A crash between two renames leaves a pack without its index: with one, it is merged like any other."""
        names = set(os.listdir(self._folder))
        for name in sorted(names):
            base, suffix = os.path.splitext(name)
            if suffix == ".pack" and f"{base}.idx" not in names:
                try:
                    self._archive.git.ask("index-pack", os.path.join(self._folder, name))
                except ArchiveTrouble:
                    continue  # not a whole pack; nothing refers to it, and nothing of ours is ever removed unread
