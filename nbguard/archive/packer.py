"""The packer: drafts become commits, are read back, and only then leave the spool.

One at a time (flock; the child that moves the ref inherits it). Blobs first, sorted by notebook, so that successive
versions become deltas; then one commit per version in the order of observation. A crash at any point repeats work and
loses nothing.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from nbguard.archive.catalog import Catalog
from nbguard.archive.committing import Committing
from nbguard.archive.draft_header import OpenDraft
from nbguard.archive.folding import Folder, check_descent
from nbguard.archive.readback import verify
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve, Spool, SpooledDraft
from nbguard.archive.trailers import Decision
from nbguard.durable import FileLock, free_space
from nbguard.errors import StorageTrouble, storage_trouble
from nbguard.model import Draft, DraftKind, Version

_CHUNK = 1 << 20
_STREAM_OVER = 8_000_000


@dataclass(frozen=True, slots=True)
class Packed:
    """What one run did. ``tip`` is the new commit; None when there was nothing to do."""

    versions: int
    bytes: int
    tip: str | None


@dataclass(frozen=True, slots=True)
class _Item:
    """One draft on its way, and what the catalog says it is (None: it records nothing new, see Folder.add)."""

    spooled: SpooledDraft
    draft: Draft
    record: Version | Decision | None


class Packer:
    """Packs one spool into one archive. Use it from one thread."""

    def __init__(
        self,
        *,
        archive: Archive,
        spool: Spool,
        catalog: Catalog,
        folder: Folder,
        batch_bytes: int = 256_000_000,
        reserve: Reserve | None = None,
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._catalog = catalog
        self._folder = folder
        self._batch_bytes = batch_bytes
        self._reserve = reserve or Reserve()

    def pack(self) -> Packed:
        """Pack all that is spooled. Raises Busy, NoArchive, ArchiveTrouble, StorageTrouble; drafts then stay."""
        versions = size = 0
        tip: str | None = None
        while True:
            done = self.pack_batch()
            if done.tip is None:
                return Packed(versions, size, tip)
            versions, size, tip = versions + done.versions, size + done.bytes, done.tip

    def pack_batch(self) -> Packed:
        """Pack one batch: at most ``batch_bytes``, but at least one draft."""
        self._archive.require()
        try:
            with FileLock(self._archive.lock_path) as lock:
                return self._pack_batch(lock.fd)
        except OSError as error:
            raise storage_trouble(error, "cannot pack", free_inodes=self._free_inodes()) from error

    def _pack_batch(self, lock_fd: int) -> Packed:
        self._archive.remove_stale_locks()
        tip = self._archive.tip()
        check_descent(self._archive, self._catalog.tip, tip)
        check_descent(self._archive, self._archive.verified_tip(), tip)
        drafts = self._spool.drafts()
        self._folder.catch_up()  # after the listing: it knows all of it
        spooled = {version.id: version for version in self._catalog.spooled()}
        waiting = self._unlink_packed(drafts, spooled)
        batch = self._batch(waiting, spooled)
        if not batch:
            return Packed(0, 0, None)
        total = sum(item.spooled.size for item in batch)
        self._check_room(total)
        commits: list[tuple[Version | Decision, str]] = []
        recorded = [item for item in batch if item.record is not None]
        if recorded:
            with Committing(self._archive, tip) as committing:
                for item in sorted(recorded, key=_by_notebook):
                    _add_blob(committing, item)
                for item in recorded:
                    assert item.record is not None
                    commits.append((item.record, committing.commit([item.record], item.draft.observed_at)))
                tip = committing.finish(lock_fd=lock_fd)
            verify(self._archive, [(one, commit) for one, commit in commits if isinstance(one, Version)])
            self._note([(record.id, commit) for record, commit in commits], tip)
        self._spool.unlink(item.spooled for item in batch)
        return Packed(len(recorded), total, tip)

    def _batch(self, waiting: list[SpooledDraft], versions: dict[str, Version]) -> list[_Item]:
        batch: list[_Item] = []
        size = 0
        for spooled in waiting:
            if batch and size + spooled.size > self._batch_bytes:
                break
            try:
                with OpenDraft(spooled.path) as opened:
                    batch.append(_Item(spooled, opened.draft, self._record(opened.draft, versions)))
            except FileNotFoundError:
                continue
            size += spooled.size
        return batch

    @staticmethod
    def _record(draft: Draft, versions: dict[str, Version]) -> Version | Decision | None:
        if draft.kind in (DraftKind.ACCEPT, DraftKind.PIN):
            return Decision(
                id=draft.id,
                kind=draft.kind,
                about=draft.about or "",
                moment=draft.moment,
                decided_at=draft.observed_at,
            )
        return versions.get(draft.id)

    def _unlink_packed(self, drafts: list[SpooledDraft], versions: dict[str, Version]) -> list[SpooledDraft]:
        """Drafts already in main (a crash came between) are read back now, then unlinked; returns the others."""
        waiting = []
        for spooled in drafts:
            commit = None if spooled.id in versions else self._catalog.commit_of(spooled.id)
            if commit is None:
                waiting.append(spooled)
                continue
            version = self._catalog.version(spooled.id)
            if version is not None:
                verify(self._archive, [(version, commit)])
            self._spool.unlink([spooled])
        return waiting

    def _check_room(self, size: int) -> None:
        """Packing never fills the user's disk: what a batch may need at most must be free above the reserve."""
        free, total, inodes = free_space(self._archive.folder)
        if free < size + self._reserve.of(total) or inodes < 8:
            raise StorageTrouble(
                f"no room to pack {size} bytes into {self._archive.folder}: {free} bytes and {inodes} inodes are free",
                hint="free some space; the versions are safe in the spool and packed as soon as there is room",
                code="no-space" if inodes >= 8 else "no-inodes",
            )

    def _free_inodes(self) -> int | None:
        try:
            return free_space(self._archive.folder)[2]
        except OSError:
            return None

    def _note(self, commits: list[tuple[str, str]], tip: str) -> None:
        try:
            self._catalog.begin()
            self._catalog.packed(commits, tip)
            self._catalog.commit()
        except sqlite3.Error:
            self._catalog.rollback()
            # The archive knows; the next catch-up reads it from there. The drafts may go.


def _by_notebook(item: _Item) -> tuple[str, str]:
    return (item.record.notebook if isinstance(item.record, Version) else ""), item.spooled.name


def _add_blob(committing: Committing, item: _Item) -> None:
    version = item.record
    if not isinstance(version, Version) or version.sha256 is None:
        return
    with open(item.spooled.path, "rb") as file:
        file.readline()
        if version.size > _STREAM_OVER:
            committing.blob_stream(version, iter(lambda: file.read(_CHUNK), b""))
        else:
            committing.blob(version, file.read())
