"""The way of one notice: read the notebook, and make it durable if it is not what was kept last.

moment → stable read → equal to the latest state? → cheap gate → where does it come from? → spool → remember → tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from nbguard.capture.origin import find_origin
from nbguard.capture.reading import (
    Missing,
    NotAFile,
    Reading,
    Same,
    TooLarge,
    Trouble,
    Unreadable,
    read_stably,
    reopened,
    written_at,
)
from nbguard.clock import Clock
from nbguard.errors import ChangedMeanwhile
from nbguard.heads import Heads
from nbguard.model import Draft, DraftKind, Head, Moment, Signature, Status, Trigger
from nbguard.names import checkpoint_of, leftovers_of
from nbguard.notebook import looks_complete
from nbguard.ports import DraftStore
from nbguard.settings import Limits

RETRY_SECONDS = (0.5, 2.0, 10.0)
LAST_ATTEMPT = len(RETRY_SECONDS)
_FRESH_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Kept:
    """A new version is durable. ``is_whole`` is False for bytes that failed the gate to the end."""

    draft: Draft
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Unchanged:
    """These bytes are the latest state already."""

    head: Head


@dataclass(frozen=True, slots=True)
class Retry:
    """Not a state worth keeping yet: look again after so many seconds."""

    after_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A notebook that was kept is not at its path. Whether it was deleted is for others to judge."""

    head: Head


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to keep: there is no notebook, and none was known."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """There is a notebook and it cannot be kept. ``code`` is a problem code."""

    code: str
    reason: str


Outcome = Kept | Unchanged | Retry | Gone | Skipped | Refused


class Keeper:
    """Keeps notebooks. One thread at a time.

    ``kept`` is told of every durable draft (with its bytes, unless it was streamed) and must be quick.
    ``knows(path, sha256)`` says whether a notebook has a version with these bytes.
    """

    def __init__(
        self,
        *,
        store: DraftStore,
        heads: Heads,
        clock: Clock,
        limits: Limits,
        root_of: Callable[[str], str | None],
        kept: Callable[[Draft, bytes | None], None] = lambda draft, data: None,
        knows: Callable[[str, str], bool] = lambda path, sha256: False,
    ) -> None:
        self._store = store
        self._heads = heads
        self._clock = clock
        self._limits = limits
        self._root_of = root_of
        self._kept = kept
        self._knows = knows

    def moment(self) -> Moment:
        """A moment now, in the order of observation."""
        return self._store.moment()

    def keep(
        self,
        path: str,
        trigger: Trigger,
        *,
        attempt: int = 0,
        renamed_from: str | None = None,
        moment: Moment | None = None,
    ) -> Outcome:
        """Keep the present state of ``path`` if it is new. Durable when this returns Kept. Raises StorageTrouble.

        ``attempt`` counts the tries before this one; from LAST_ATTEMPT on, bytes that fail the gate are kept too.
        ``renamed_from`` is a hint, believed when that path is really gone. ``moment`` is from before we wrote the file
        ourselves: then we are the first to know of these bytes, whoever else saw them too.
        """
        moment = moment or self._store.moment()
        head = self._heads.get(path)
        reading = self._read(path, head)
        if isinstance(reading, Same) and head is not None:
            return Unchanged(head)
        if not isinstance(reading, Reading):
            return _without_bytes(reading, head, attempt)
        if head is not None and head.sha256 == reading.sha256:
            return Unchanged(self._refresh(head, reading))
        whole = is_whole(reading)
        if not whole and attempt < LAST_ATTEMPT:
            return Retry(RETRY_SECONDS[attempt], "not a complete notebook yet")
        if attempt < LAST_ATTEMPT and awaits_newline(reading, self._clock.now()):
            return Retry(RETRY_SECONDS[0], "its last newline may still come")
        origin = find_origin(self._heads, path, reading, hint=renamed_from, by_sweep=trigger is Trigger.SWEEP)
        lineage = origin.notebook if origin is not None else head.notebook if head is not None else None
        if lineage is None:
            lineage = self._import_checkpoint(path, reading.sha256)
            moment = self._store.moment() if lineage is not None else moment
        draft = self._put(path, reading, moment, trigger, renamed_from=origin.path if origin is not None else None)
        if draft is None:
            return Retry(RETRY_SECONDS[min(attempt, LAST_ATTEMPT - 1)], "it changed while it was kept")
        self._remember(draft, lineage or draft.id, reading, whole=whole, origin=origin)
        self._kept(draft, reading.data)
        return Kept(draft, whole)

    def keep_tombstone(self, path: str) -> Draft | None:
        """Record that a notebook was deleted; None when it is there after all, or already recorded.

        Raises StorageTrouble.
        """
        head = self._heads.get(path)
        if head is None or head.is_deleted:
            return None
        moment = self._store.moment()
        if not isinstance(self._read(path, None), Missing | NotAFile):
            return None
        draft = self._store.draft(
            kind=DraftKind.TOMBSTONE, path=path, moment=moment, trigger=Trigger.WATCH, root=self._root(path)
        )
        draft = self._store.keep(draft, b"")
        self._heads.put(
            replace(head, version=draft.id, sha256=None, signature=None, moment=moment, status=Status.DELETED)
        )
        self._kept(draft, None)
        return draft

    def rescue(self, path: str) -> tuple[Draft, ...]:
        """Keep what lies beside a notebook and holds what none of its versions does. Raises StorageTrouble."""
        head = self._heads.get(path)
        drafts = []
        seen = {head.sha256} if head is not None else set()
        found = [(leftover, self._read(leftover, None)) for leftover in (*leftovers_of(path), checkpoint_of(path))]
        beside = [(leftover, reading) for leftover, reading in found if isinstance(reading, Reading)]
        # In the order they were written, so that the newest of them is the newest in the log.
        for leftover, reading in sorted(beside, key=lambda item: item[1].signature.mtime_ns):
            if reading.sha256 in seen or not is_whole(reading):
                continue
            seen.add(reading.sha256)
            if not self._knows(path, reading.sha256):
                drafts += self._put_beside(path, leftover, reading, self._store.moment(), Trigger.RESCUE)
        return tuple(drafts)

    def _import_checkpoint(self, path: str, sha256: str) -> str | None:
        """At first sight of a notebook, keep its checkpoint as an older version; gives the lineage it founds."""
        moment = self._store.moment()
        checkpoint = checkpoint_of(path)
        reading = self._read(checkpoint, None)
        if not isinstance(reading, Reading) or reading.sha256 == sha256 or not is_whole(reading):
            return None
        if self._knows(path, reading.sha256):
            return None
        drafts = self._put_beside(path, checkpoint, reading, moment, Trigger.IMPORT)
        return drafts[0].id if drafts else None

    def _put_beside(self, path: str, source: str, reading: Reading, moment: Moment, trigger: Trigger) -> list[Draft]:
        """Keep bytes found at ``source`` as a version of ``path`` that never was its latest state."""
        now = self._clock.now()
        draft = self._put(
            path, reading, moment, trigger, source=source, tip=False, observed_at=min(written_at(reading), now)
        )
        if draft is None:
            return []
        self._kept(draft, reading.data)
        return [draft]

    def _read(self, path: str, head: Head | None) -> Reading | Same | Trouble:
        return read_stably(
            path,
            stream_over=self._limits.stream_over_bytes,
            refuse_over=self._limits.refuse_over_bytes,
            now_ns=int(self._clock.now().timestamp() * 1_000_000_000),
            known=head.signature if head is not None else None,
        )

    def _put(
        self,
        path: str,
        reading: Reading,
        moment: Moment,
        trigger: Trigger,
        *,
        source: str | None = None,
        tip: bool = True,
        renamed_from: str | None = None,
        observed_at: datetime | None = None,
    ) -> Draft | None:
        """Make what was read durable; None when a streamed file changed under our hands. Raises StorageTrouble."""
        draft = self._store.draft(
            kind=DraftKind.VERSION,
            path=path,
            moment=moment,
            trigger=trigger,
            root=self._root(path),
            size=reading.signature.size,
            sha256=reading.sha256,
            signature=reading.signature,
            tip=tip,
            renamed_from=renamed_from,
            observed_at=observed_at,
        )
        if reading.data is not None:
            return self._store.keep(draft, reading.data)
        try:
            with reopened(source or path, reading.signature) as fd:
                if fd is None:
                    return None
                kept = self._store.keep_stream(draft, fd)
                return kept if kept.sha256 == reading.sha256 else None
        except (ChangedMeanwhile, FileNotFoundError):
            return None

    def _remember(self, draft: Draft, lineage: str, reading: Reading, *, whole: bool, origin: Head | None) -> None:
        if origin is not None:
            self._heads.drop(origin.path)
        self._heads.put(
            Head(
                path=draft.path,
                notebook=lineage,
                version=draft.id,
                sha256=reading.sha256,
                signature=_remembered(reading),
                moment=draft.moment,
                status=Status.OK if whole else Status.DAMAGED,
                parent_device=reading.signature.device,
            )
        )

    def _refresh(self, head: Head, reading: Reading) -> Head:
        signature = _remembered(reading)
        if head.signature != signature or head.parent_device != reading.signature.device:
            head = replace(head, signature=signature, parent_device=reading.signature.device)
            self._heads.put(head)
        return head

    def _root(self, path: str) -> str:
        return self._root_of(path) or os.path.dirname(path)


def is_whole(reading: Reading) -> bool:
    """The cheap gate: not empty, not cut."""
    return looks_complete(reading.data if reading.data is not None else reading.ends)


def awaits_newline(reading: Reading, now: datetime) -> bool:
    """Whether a writer may be between the notebook and the newline that ends it: it was written just now, and has none.

    nbformat writes the text, then a newline: two writes, and a busy machine may let us read between them.
    """
    tail = (reading.data if reading.data is not None else reading.ends)[-1:]
    return tail not in (b"\n", b"\r") and abs(now.timestamp() - reading.signature.ctime_ns / 1e9) < _FRESH_SECONDS


def _remembered(reading: Reading) -> Signature:
    """The signature to compare with; one that a later write could share gets an mtime that no file has."""
    return reading.signature if reading.is_certain else replace(reading.signature, mtime_ns=-1)


def _without_bytes(trouble: Same | Trouble, head: Head | None, attempt: int) -> Outcome:
    """What to make of a path that gave no bytes."""
    known = head is not None and not head.is_deleted
    if isinstance(trouble, Missing | NotAFile):
        if head is not None and known:
            return Gone(head)
        return Skipped("nothing is there" if isinstance(trouble, Missing) else "it is not a file")
    if isinstance(trouble, TooLarge):
        return Refused("too-large", f"{trouble.size:,} bytes")
    if isinstance(trouble, Unreadable) and attempt >= LAST_ATTEMPT:
        return Refused("not-kept", trouble.reason)
    # A file that never holds still is tried for ever; one that cannot be read, until the ladder is used up.
    reason = trouble.reason if isinstance(trouble, Unreadable) else "it is being written"
    return Retry(RETRY_SECONDS[min(attempt, LAST_ATTEMPT - 1)], reason)
