"""From drafts and commits to catalog rows: the one place where a draft becomes a Version.

The same fold runs when a save was just kept, when another process left a draft, and when the catalog is rebuilt; so
the answers are the same after its deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nbguard.archive.catalog import RESERVED, Catalog
from nbguard.archive.catalog_file import CatalogBroken
from nbguard.archive.draft_header import OpenDraft
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Spool, SpooledDraft
from nbguard.archive.trailers import Decision
from nbguard.errors import ArchiveMoved, ArchiveTrouble
from nbguard.model import Draft, DraftKind, Head, Measure, Moment, Status, Trigger, Version
from nbguard.ports import Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be learnt of a draft's bytes: ``measure`` (None: not a notebook), or nothing (``known`` False)."""

    measure: Measure | None
    known: bool = True


_ROUNDS = 4

Measuring = Callable[[str, int, int], Reading]
"""Measure the notebook of ``size`` bytes that begins at ``offset`` in the file ``path``."""
Judging = Callable[[Measure | None, Measure | None], Status]
"""Status of (this measure, the fullest one)."""


class Folder:
    """Keeps one catalog in step with archive and spool.

    The catalog is what comes of the archive's records, in their order, and then of the spooled drafts in the order of
    observation. A draft that turns up late is therefore not appended: what is spooled is folded anew.
    """

    def __init__(
        self, *, catalog: Catalog, archive: Archive, spool: Spool, measuring: Measuring, judge: Judging
    ) -> None:
        self.catalog = catalog
        self._archive = archive
        self._spool = spool
        self._measuring = measuring
        self._judge = judge
        self.unreadable: dict[str, ArchiveTrouble] = {}
        """Spooled files that are no whole drafts of ours, by their names; seen at the last catching up."""

    def catch_up(self, progress: Progress | None = None) -> None:
        """Read what the archive and the spool hold and the catalog lacks. Raises ArchiveTrouble, StorageTrouble."""
        for attempt in range(_ROUNDS):
            try:
                if self._catch_up_once(progress):
                    return
            except CatalogBroken:
                if attempt == _ROUNDS - 1:
                    raise

    def add(self, draft: Draft, reading: Reading) -> Version | Decision | None:
        """Fold one draft inside a transaction; None when it records nothing new.

        That is a tombstone of a path that holds nothing, and the echo of a version that another process kept first.
        """
        if draft.kind in (DraftKind.ACCEPT, DraftKind.PIN):
            decision = decision_of(draft)
            self.catalog.decide(decision)
            return decision
        version = self._fold(draft, reading)
        if version is None:
            self.catalog.add_nothing(draft.id, draft.moment)
        elif not self.catalog.add(version):
            return self.catalog.version(version.id)
        return version

    def add_all(self, drafts: list[tuple[Draft, Reading]]) -> None:
        """Fold several in one transaction; all of them are in the spool."""
        with _transaction(self.catalog):
            fresh = [pair for pair in drafts if not self.catalog.knows_draft(pair[0].id)]
            if not fresh:
                return
            fresh.sort(key=lambda pair: (pair[0].moment, pair[0].id))
            newest = self.catalog.newest_spooled()
            if newest is not None and fresh[0][0].moment < newest:
                self._fold_spool_anew({draft.id: reading for draft, reading in fresh})
                return
            for draft, reading in fresh:
                self.add(draft, reading)

    def fold_spool_anew(self) -> None:
        """Inside a transaction: the archive has changed under what is spooled."""
        self._fold_spool_anew({})

    def _catch_up_once(self, progress: Progress | None) -> bool:
        """False when something changed meanwhile: look again."""
        if not self.catalog.is_current():
            self.catalog.reopen()
        before = self.catalog.spooled_ids()
        # The listing comes first: a draft is unlinked only after main holds it.
        present = {name.rpartition("-")[2]: name for name in self._spool.names()}
        tip = self._archive.readable_tip(self.catalog.tip)
        disturbed = tip is not None and tip != self.catalog.tip and self._read_archive(tip, progress)
        known = self.catalog.spooled_ids()
        gone = (before & known) - present.keys()
        if disturbed or gone:
            with _transaction(self.catalog):
                self._fold_spool_anew({}, progress)
        elif missing := present.keys() - known:
            self._read_spool({present[identity] for identity in missing}, progress)
        self.unreadable = {name: why for name, why in self.unreadable.items() if name in present.values()}
        return tip == self._archive.readable_tip(tip)

    def _fold(self, draft: Draft, reading: Reading) -> Version | None:
        head = self.catalog.head(draft.path)
        left = self.catalog.moved_away(draft.path, draft.moment) if head is None else None
        late = left is not None or (head is not None and head.moment > draft.moment)
        prior = self._prior(draft, head, late=late)
        was_there = prior is not None and (late or (head is not None and head.moment != RESERVED))
        if draft.kind is DraftKind.TOMBSTONE and not was_there:
            return None
        if prior is not None and _is_echo(draft, prior):
            return None
        source = self._source(draft) if not late else None
        origin = source or prior
        notebook = (
            origin.notebook
            if origin is not None
            else left
            if left is not None
            else head.notebook
            if head is not None
            else draft.id
        )
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
            previous=origin.version if origin is not None else None,
            renamed_from=draft.renamed_from if source else None,
            signature=draft.signature,
        )

    def _prior(self, draft: Draft, head: Head | None, *, late: bool) -> _Origin | None:
        """What was at the path when the draft was read."""
        if not late:
            return _Origin(head.notebook, head.version, head.sha256) if head is not None else None
        found = self.catalog.prior(draft.path, draft.moment)
        return _Origin(found.notebook, found.id, found.sha256) if found is not None else None

    def _source(self, draft: Draft) -> _Origin | None:
        """Where it was moved from; None when something newer is there already: then it is a copy."""
        if draft.renamed_from is None or draft.renamed_from == draft.path:
            return None
        head = self.catalog.head(draft.renamed_from)
        if head is None or head.moment > draft.moment or head.moment == RESERVED:
            return None
        return _Origin(head.notebook, head.version, head.sha256)

    def _status(self, draft: Draft, reading: Reading, notebook: str) -> Status:
        if draft.kind is DraftKind.TOMBSTONE:
            return Status.DELETED
        if not reading.known:  # the child that reads big notebooks failed; the bytes looked complete when taken
            return Status.OK
        return self._judge(reading.measure, self.catalog.fullest(notebook, draft.moment))

    def _read_archive(self, tip: str, progress: Progress | None) -> bool:
        """True when what is spooled must be folded anew: records appeared that were not folded before it."""
        known = self.catalog.tip
        after = known if known is not None and self._archive.contains(known, tip) else None
        total = self._archive.count(tip) if progress is not None else 0
        newest: Moment | None = None
        changed = False
        with _transaction(self.catalog):
            if after is None:
                self.catalog.clear()
            for number, record in enumerate(self._archive.records(tip, after=after), 1):
                changed |= self.catalog.add(record) if isinstance(record, Version) else self.catalog.decide(record)
                newest = max(newest, record.moment) if newest is not None else record.moment
                if progress is not None and number % 1000 == 0:
                    progress(number, max(number, total))
            self.catalog.set_tip(tip)
            oldest = self.catalog.oldest_spooled()
        return oldest is not None and newest is not None and (changed or oldest < newest)

    def _read_spool(self, names: set[str], progress: Progress | None) -> None:
        found: list[tuple[Draft, Reading]] = []
        for number, spooled in enumerate(self._spool.drafts(), 1):
            if spooled.name not in names or self.catalog.commit_of(spooled.id) is not None:
                continue
            pair = self._open(spooled)
            if pair is not None:
                found.append(pair)
            if progress is not None and number % 100 == 0:
                progress(number, len(names))
        self.add_all(found)

    def _fold_spool_anew(self, readings: dict[str, Reading], progress: Progress | None = None) -> None:
        for identity, (measure, known) in self.catalog.measures().items():
            readings.setdefault(identity, Reading(measure, known))
        self.catalog.forget_spooled()
        spooled_drafts = self._spool.drafts()
        for number, spooled in enumerate(spooled_drafts, 1):
            if self.catalog.knows_draft(spooled.id):
                continue
            pair = self._open(spooled, readings.get(spooled.id))
            if pair is not None:
                self.add(*pair)
            if progress is not None and number % 100 == 0:
                progress(number, len(spooled_drafts))

    def _open(self, spooled: SpooledDraft, reading: Reading | None = None) -> tuple[Draft, Reading] | None:
        """None when it was packed meanwhile (its commit is read the next time), or is not a draft of ours."""
        try:
            with OpenDraft(spooled.path) as opened:
                if opened.draft.kind is not DraftKind.VERSION:
                    reading = Reading(None)
                found = opened.draft, reading or self._measuring(spooled.path, opened.offset, opened.draft.size)
        except FileNotFoundError:
            return None
        except (ArchiveTrouble, OSError) as error:
            self.unreadable[spooled.name] = (
                error if isinstance(error, ArchiveTrouble) else ArchiveTrouble(f"{spooled.path}: {error.strerror}")
            )
            return None
        self.unreadable.pop(spooled.name, None)
        return found


@contextmanager
def _transaction(catalog: Catalog) -> Iterator[None]:
    catalog.begin()
    try:
        yield
        catalog.commit()
    except BaseException:
        catalog.rollback()
        raise


@dataclass(frozen=True, slots=True)
class _Origin:
    """The state a draft follows."""

    notebook: str
    version: str
    sha256: str | None


def decision_of(draft: Draft) -> Decision:
    """The human's word that a draft carries."""
    return Decision(
        id=draft.id, kind=draft.kind, about=draft.about or "", moment=draft.moment, decided_at=draft.observed_at
    )


def _is_echo(draft: Draft, prior: _Origin) -> bool:
    """Whether the daemon saw bytes that were the latest state already: a snapshot or a restore was there first.

    Only the daemon's own drafts: nobody was told their ids.
    """
    return (
        draft.kind is DraftKind.VERSION
        and draft.trigger in (Trigger.WATCH, Trigger.SWEEP)
        and draft.tip
        and draft.renamed_from is None
        and draft.sha256 == prior.sha256
    )


def check_descent(archive: Archive, known: str | None, tip: str | None, branch: str = "main") -> None:
    """Raises ArchiveMoved when what we packed last is no longer part of that branch."""
    if known is None or known == tip:
        return
    if tip is None or not archive.contains(known, tip):
        raise ArchiveMoved(
            f"{branch} was moved by someone else: {known[:12]}, which nbguard wrote, is not in "
            f"{(tip or 'nothing')[:12]}",
            hint=f"bring it back: git -C {archive.folder} update-ref refs/heads/{branch} {known}",
        )
