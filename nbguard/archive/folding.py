"""From drafts and commits to catalog rows: the one place where a draft becomes a Version.

The same fold runs when a save was just kept, when another process left a draft, and when the catalog is rebuilt; so
the answers are the same after its deletion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nbguard.archive.catalog import Catalog
from nbguard.archive.draft_header import OpenDraft
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Spool
from nbguard.archive.trailers import Decision
from nbguard.errors import ArchiveMoved
from nbguard.model import Draft, DraftKind, Head, Measure, Status, Trigger, Version
from nbguard.ports import Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be learnt of a draft's bytes: ``measure`` (None: not a notebook), or nothing (``known`` False)."""

    measure: Measure | None
    known: bool = True


Measuring = Callable[[str, int, int], Reading]
"""Measure the notebook of ``size`` bytes that begins at ``offset`` in the file ``path``."""
Judging = Callable[[Measure | None, Measure | None], Status]
"""Status of (this measure, the fullest one)."""


class Folder:
    """Keeps one catalog in step with archive and spool."""

    def __init__(
        self, *, catalog: Catalog, archive: Archive, spool: Spool, measuring: Measuring, judge: Judging
    ) -> None:
        self.catalog = catalog
        self._archive = archive
        self._spool = spool
        self._measuring = measuring
        self._judge = judge

    def catch_up(self, progress: Progress | None = None) -> None:
        """Read what the archive and the spool hold and the catalog lacks. Raises ArchiveTrouble, StorageTrouble."""
        if not self.catalog.is_current():
            self.catalog.reopen()
        tip = self._archive.tip()
        if tip is not None and tip != self.catalog.tip:
            self._read_archive(tip, progress)
        known = self.catalog.spooled_ids()
        missing = [name for name in self._spool.names() if name.rpartition("-")[2] not in known]
        if missing:
            self._read_spool(set(missing), progress)

    def add(self, draft: Draft, reading: Reading) -> Version | Decision | None:
        """Fold one draft inside a transaction; None when it records nothing new.

        That is a tombstone of a path that holds nothing, and the echo of a version that another process kept first.
        """
        if draft.kind in (DraftKind.ACCEPT, DraftKind.PIN):
            decision = Decision(
                id=draft.id,
                kind=draft.kind,
                about=draft.about or "",
                moment=draft.moment,
                decided_at=draft.observed_at,
            )
            self.catalog.decide(decision)
            return decision
        version = self._fold(draft, reading)
        if version is not None and not self.catalog.add(version):
            return self.catalog.version(version.id)
        return version

    def add_all(self, drafts: list[tuple[Draft, Reading]]) -> None:
        """Fold several in one transaction."""
        self.catalog.begin()
        try:
            for draft, reading in drafts:
                self.add(draft, reading)
            self.catalog.commit()
        except BaseException:
            self.catalog.rollback()
            raise

    def _fold(self, draft: Draft, reading: Reading) -> Version | None:
        head = self.catalog.head(draft.path)
        source = self.catalog.head(draft.renamed_from) if draft.renamed_from is not None else None
        if draft.kind is DraftKind.TOMBSTONE and head is None:
            return None
        origin = source or head
        notebook = origin.notebook if origin else draft.id
        late = head is not None and head.moment > draft.moment
        if head is not None and not late and _is_echo(draft, head):
            return None
        return Version(
            id=draft.id,
            notebook=notebook,
            path=draft.path,
            moment=draft.moment,
            saved_at=draft.observed_at,
            size=draft.size,
            sha256=draft.sha256,
            cells=reading.measure.cells if reading.measure else None,
            source_chars=reading.measure.source_chars if reading.measure else None,
            status=self._status(draft, reading, notebook),
            trigger=draft.trigger,
            tip=draft.tip and not late,
            root=draft.root,
            install=draft.install,
            boot=draft.boot,
            previous=self._previous(origin, draft),
            renamed_from=draft.renamed_from if source else None,
            signature=draft.signature,
        )

    def _previous(self, origin: Head | None, draft: Draft) -> str | None:
        """The version before this one in its lineage: nearly always the head's, which is at hand."""
        if origin is None:
            return None
        if origin.moment < draft.moment:
            return origin.version
        before = self.catalog.before(origin.notebook, draft.moment)
        return before.id if before is not None else None

    def _status(self, draft: Draft, reading: Reading, notebook: str) -> Status:
        if draft.kind is DraftKind.TOMBSTONE:
            return Status.DELETED
        if not reading.known:  # the child that reads big notebooks failed; the bytes looked complete when taken
            return Status.OK
        return self._judge(reading.measure, self.catalog.fullest(notebook, draft.moment))

    def _read_archive(self, tip: str, progress: Progress | None) -> None:
        known = self.catalog.tip
        after = known if known is not None and self._archive.contains(known, tip) else None
        total = self._archive.count(tip) if progress is not None else 0
        self.catalog.begin()
        try:
            if after is None:
                self.catalog.clear()
            for number, record in enumerate(self._archive.records(tip, after=after), 1):
                if isinstance(record, Version):
                    self.catalog.add(record)
                else:
                    self.catalog.decide(record)
                if progress is not None and number % 1000 == 0:
                    progress(number, max(number, total))
            self.catalog.set_tip(tip)
            self.catalog.commit()
        except BaseException:
            self.catalog.rollback()
            raise

    def _read_spool(self, names: set[str], progress: Progress | None) -> None:
        found: list[tuple[Draft, Reading]] = []
        for number, spooled in enumerate(self._spool.drafts(), 1):
            if spooled.name not in names or self.catalog.commit_of(spooled.id) is not None:
                continue
            try:
                with OpenDraft(spooled.path) as opened:
                    found.append((opened.draft, self._measured(opened, spooled.path)))
            except FileNotFoundError:
                continue  # packed since; its commit is read the next time
            if progress is not None and number % 100 == 0:
                progress(number, len(names))
        self.add_all(found)

    def _measured(self, opened: OpenDraft, path: str) -> Reading:
        if opened.draft.kind is not DraftKind.VERSION:
            return Reading(None)
        return self._measuring(path, opened.offset, opened.draft.size)


def _is_echo(draft: Draft, head: Head) -> bool:
    """Whether the daemon saw bytes that are the latest state already: a snapshot or a restore was there first.

    Only the daemon's own drafts: nobody was told their ids.
    """
    return (
        draft.kind is DraftKind.VERSION
        and draft.trigger in (Trigger.WATCH, Trigger.SWEEP)
        and draft.tip
        and draft.renamed_from is None
        and draft.sha256 == head.sha256
    )


def check_descent(archive: Archive, known: str | None, tip: str | None) -> None:
    """Raises ArchiveMoved when what we packed last is no longer part of main."""
    if known is None or known == tip:
        return
    if tip is None or not archive.contains(known, tip):
        raise ArchiveMoved(
            f"main was moved by someone else: {known[:12]}, which nbguard wrote, is not in {(tip or 'nothing')[:12]}",
            hint=f"bring it back: git -C {archive.folder} update-ref refs/heads/main {known}",
        )
