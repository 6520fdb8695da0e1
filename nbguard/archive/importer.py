"""The first versions of many notebooks at once: straight into the archive, one commit and one fsync for hundreds.

Each group is protected (durable, committed, read back, in the catalog) when its callback runs; the newest notebooks
come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nbguard.archive.catalog import Catalog
from nbguard.archive.committing import Committing
from nbguard.archive.folding import Folder, Reading, check_descent
from nbguard.archive.readback import verify
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve
from nbguard.durable import FileLock, free_space
from nbguard.errors import StorageTrouble, storage_trouble
from nbguard.model import Draft, Measure, Version

_FIRST_GROUP = 50
_GROUP = 1000
_GROUP_BYTES = 48_000_000

MeasureBytes = Callable[[bytes], Measure | None]


class Importer:
    """Imports drafts with their bytes into one archive. Use it from one thread."""

    def __init__(
        self,
        *,
        archive: Archive,
        catalog: Catalog,
        folder: Folder,
        measure: MeasureBytes,
        reserve: Reserve | None = None,
    ) -> None:
        self._archive = archive
        self._catalog = catalog
        self._folder = folder
        self._measure = measure
        self._reserve = reserve or Reserve()

    def import_all(
        self, drafts: Iterable[tuple[Draft, bytes]], protected: Callable[[list[tuple[Draft, Version]]], None]
    ) -> int:
        """Import in groups, in the order given; calls ``protected`` after each. Returns how many versions.

        Raises Busy, NoArchive, ArchiveTrouble, StorageTrouble; groups that were called back stay protected.
        """
        count = size = 0
        group: list[tuple[Draft, bytes]] = []
        limit = _FIRST_GROUP
        for draft, data in drafts:
            group.append((draft, data))
            size += len(data)
            if len(group) >= limit or size >= _GROUP_BYTES:
                protected(self._import_group(group))
                count, size, limit, group = count + len(group), 0, _GROUP, []
        if group:
            protected(self._import_group(group))
        return count + len(group)

    def _import_group(self, group: list[tuple[Draft, bytes]]) -> list[tuple[Draft, Version]]:
        self._archive.require()
        try:
            with FileLock(self._archive.lock_path) as lock:
                self._archive.remove_stale_locks()
                check_descent(self._archive, self._archive.verified_tip(), self._archive.tip())
                self._folder.catch_up()
                self._check_room(sum(len(data) for _, data in group))
                return self._commit_group(group, lock.fd) if group else []
        except OSError as error:
            raise storage_trouble(error, "cannot import") from error

    def _commit_group(self, group: list[tuple[Draft, bytes]], lock_fd: int) -> list[tuple[Draft, Version]]:
        """The catalog's rows and the commit appear together: the rows wait in a transaction for the read-back."""
        self._catalog.begin()
        try:
            done: list[tuple[Draft, Version]] = []
            commits: list[tuple[Version, str]] = []
            with Committing(self._archive, self._archive.tip()) as committing:
                for draft, data in group:
                    version = self._folder.add(draft, Reading(self._measure(data)))
                    if isinstance(version, Version):
                        committing.blob(version, data)
                        done.append((draft, version))
                for part in _parts([version for _, version in done]):
                    subject = f"Import {len(part)} version{'' if len(part) == 1 else 's'}"
                    commit = committing.commit(part, group[-1][0].observed_at, subject)
                    commits += [(version, commit) for version in part]
                if commits:
                    tip = committing.finish(lock_fd=lock_fd)
            if commits:
                verify(self._archive, commits)
                self._archive.note_verified(tip)
                self._catalog.packed([(version.id, commit) for version, commit in commits], tip)
                if self._catalog.newest_spooled() is not None:
                    self._folder.fold_spool_anew()  # the archive has changed under what is spooled
            self._catalog.commit()
        except BaseException:
            self._catalog.rollback()
            raise
        return done

    def _check_room(self, size: int) -> None:
        free, total, inodes = free_space(self._archive.folder)
        if free < size + self._reserve.of(total) or inodes < 8:
            raise StorageTrouble(
                f"no room to import {size} bytes into {self._archive.folder}: {free} bytes are free",
                hint="free some space; the import goes on by itself",
                code="no-space" if inodes >= 8 else "no-inodes",
            )


def _parts(versions: list[Version]) -> Iterator[list[Version]]:
    """One commit each: a path stands in a commit's tree once, and is no folder of another; older states go first."""
    for latest in (False, True):
        pending = [version for version in versions if version.tip is latest]
        while pending:
            part, later = [], []
            taken: set[str] = set()
            folders: set[str] = set()
            for version in pending:
                above = _folders_above(version.path)
                if version.path in taken or version.path in folders or not taken.isdisjoint(above):
                    later.append(version)
                    continue
                taken.add(version.path)
                folders.update(above)
                part.append(version)
            yield part
            pending = later


def _folders_above(path: str) -> list[str]:
    found = []
    while len(path) > 1:
        path = path.rpartition("/")[0]
        found.append(path)
    return found
