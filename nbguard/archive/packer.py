"""The packer: drafts become commits, are read back, and only then leave the spool.

One at a time (flock; the child that moves the ref inherits it). Blobs first, sorted by notebook, so that successive
versions become deltas; then one commit per version in the order of observation. A crash at any point repeats work and
loses nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from nbguard.archive.catalog import Catalog
from nbguard.archive.catalog_file import CatalogBroken
from nbguard.archive.committing import Committing
from nbguard.archive.draft_header import OpenDraft, bytes_unchecked
from nbguard.archive.folding import Folder, check_descent, decision_of
from nbguard.archive.readback import unreadable, verify
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve, Spool, SpooledDraft
from nbguard.archive.trailers import Decision
from nbguard.durable import FileLock, free_space
from nbguard.errors import ArchiveTrouble, Busy, ReadBackFailed, StorageTrouble, storage_trouble
from nbguard.model import Draft, DraftKind, Version

_MOST_AGAIN = 2
_STREAM_OVER = 8_000_000


@dataclass(frozen=True, slots=True)
class Packed:
    """What one run did. ``tip`` is the new commit; None when there was nothing to do."""

    versions: int
    bytes: int
    tip: str | None


@dataclass(frozen=True, slots=True)
class _Item:
    """One draft on its way, and what the catalog says it is (None: it records nothing new, see Folder.add).

    ``copies`` are further files of the same draft; ``is_again`` means main has it, but it did not read back.
    """

    spooled: SpooledDraft
    draft: Draft
    record: Version | Decision | None
    copies: list[SpooledDraft]
    is_again: bool = False


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
        self._again: Counter[str] = Counter()
        self._troubles: list[ArchiveTrouble] = []

    def pack(self) -> Packed:
        """Pack all that is spooled. Raises Busy, NoArchive, ArchiveTrouble, StorageTrouble; drafts then stay.

        Drafts that are not sound are set aside, the others packed, and ArchiveTrouble (``draft-damaged``) is raised.
        """
        versions = size = 0
        tip: str | None = None
        self._troubles = []
        while True:
            done = self.pack_batch()
            if done.tip is None:
                break
            versions, size, tip = versions + done.versions, size + done.bytes, done.tip
        if self._troubles:
            first = self._troubles[0]
            raise ArchiveTrouble(
                f"{len(self._troubles)} drafts are not packed; the first: {first.message}",
                hint="the others are; they lie in `aside` in the spool and are tried again at the next start",
                code="draft-damaged",
            )
        return Packed(versions, size, tip)

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
        recorded = [item for item in batch if item.record is not None]
        commits: list[tuple[Version | Decision, str]] = []
        if recorded:
            with Committing(self._archive, tip) as committing:
                unsound = self._add_blobs(committing, recorded)
                if unsound:  # then nothing is let go that was held to be an echo of these
                    batch = [item for item in recorded if item.spooled.id not in unsound]
                for item in batch:
                    if item.record is not None:
                        commit = committing.commit([item.record], item.draft.observed_at, once=item.is_again)
                        commits.append((item.record, commit))
                if commits:
                    tip = committing.finish(lock_fd=lock_fd)
        if commits and tip is not None:
            verify(self._archive, [(one, commit) for one, commit in commits if isinstance(one, Version)])
            self._archive.note_verified(tip)
        self._note(commits, [item.draft.id for item in batch if item.record is None], tip)
        self._spool.unlink(spooled for item in batch for spooled in (item.spooled, *item.copies))
        return Packed(len(commits), total, tip or "")

    def _add_blobs(self, committing: Committing, items: list[_Item]) -> set[str]:
        """Store the bytes of every version; returns the ids of drafts that are not what was kept."""
        unsound = set()
        for item in sorted(items, key=_by_notebook):
            try:
                _add_blob(committing, item)
            except ArchiveTrouble as trouble:
                unsound.add(item.spooled.id)
                self._set_aside(item.spooled, trouble)
        return unsound

    def _batch(self, waiting: list[SpooledDraft], versions: dict[str, Version]) -> list[_Item]:
        batch: dict[str, _Item] = {}
        nothing = self._catalog.nothing_ids()
        size = 0
        for spooled in waiting:
            if spooled.id in batch:
                batch[spooled.id].copies.append(spooled)
                continue
            if batch and size + spooled.size > self._batch_bytes:
                break
            try:
                with OpenDraft(spooled.path) as opened:
                    draft = opened.draft
            except FileNotFoundError:
                continue
            except ArchiveTrouble as trouble:
                self._set_aside(spooled, trouble)
                continue
            record = _record(draft, versions)
            if record is None and spooled.id not in nothing:
                continue  # the catalog has not understood it yet: it stays
            batch[spooled.id] = _Item(spooled, draft, record, [], self._again[spooled.id] > 0)
            size += spooled.size
        return list(batch.values())

    def _set_aside(self, spooled: SpooledDraft, trouble: ArchiveTrouble) -> None:
        self._troubles.append(trouble)
        self._spool.set_aside(spooled)

    def _unlink_packed(self, drafts: list[SpooledDraft], versions: dict[str, Version]) -> list[SpooledDraft]:
        """Drafts already in main (a crash came between) are read back now, then unlinked; returns the others.

        What does not read back is committed once more, from its draft, into a new pack.
        """
        packed: dict[str, tuple[Version, str] | None] = {}
        for spooled in drafts:
            if spooled.id not in versions and (commit := self._catalog.commit_of(spooled.id)) is not None:
                version = self._catalog.version(spooled.id)
                packed[spooled.id] = (version, commit) if version is not None else None
        if not packed:
            return drafts
        tip = self._archive.tip()
        if tip is not None and tip != self._archive.verified_tip():
            self._archive.settle(tip)
        lost = unreadable(self._archive, [pair for pair in packed.values() if pair is not None])
        for version in lost:
            self._again[version.id] += 1
            if self._again[version.id] > _MOST_AGAIN:
                raise ReadBackFailed(
                    f"version {version.id[:10]} of {version.path} does not read back, however often it is packed",
                    hint="its draft stays in the spool; check the disk, then see `nbguard doctor`",
                )
            versions[version.id] = replace(version, commit=None)
            del packed[version.id]
        if tip is not None and not lost:
            self._archive.note_verified(tip)
        self._spool.unlink(spooled for spooled in drafts if spooled.id in packed)
        return [spooled for spooled in drafts if spooled.id not in packed]

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

    def _note(self, commits: list[tuple[Version | Decision, str]], nothing: list[str], tip: str | None) -> None:
        try:
            self._catalog.begin()
            self._catalog.forget_nothing(nothing)
            if commits and tip is not None:
                self._note_commits(commits, tip)
            self._catalog.commit()
        except (Busy, StorageTrouble, CatalogBroken):
            self._catalog.rollback()
            # The archive knows; the next catch-up reads it from there. The drafts may go.

    def _note_commits(self, commits: list[tuple[Version | Decision, str]], tip: str) -> None:
        known = {version.id: version for version in self._catalog.spooled()}
        changed = False
        for record, commit in commits:
            if isinstance(record, Version) and known.get(record.id) != record:
                changed |= self._catalog.add(replace(record, commit=commit))  # folded anew since the batch was read
        self._catalog.packed([(record.id, commit) for record, commit in commits], tip)
        oldest = self._catalog.oldest_spooled()
        if oldest is not None and (changed or oldest < max(record.moment for record, _ in commits)):
            self._folder.fold_spool_anew()


def _record(draft: Draft, versions: dict[str, Version]) -> Version | Decision | None:
    if draft.kind in (DraftKind.ACCEPT, DraftKind.PIN):
        return decision_of(draft)
    return versions.get(draft.id)


def _by_notebook(item: _Item) -> tuple[str, str]:
    return (item.record.notebook if isinstance(item.record, Version) else ""), item.spooled.name


def _add_blob(committing: Committing, item: _Item) -> None:
    """Raises ArchiveTrouble when the draft is not what was kept, OSError when the archive's disk refuses."""
    version = item.record
    if not isinstance(version, Version) or version.sha256 is None:
        return
    if version.size > _STREAM_OVER:
        with OpenDraft(item.spooled.path) as opened:
            committing.blob_stream(version, opened.chunks())
    else:
        offset = item.spooled.size - version.size  # the header was read, and checked to be all that stands before
        committing.blob(version, bytes_unchecked(item.spooled.path, item.draft, offset))
