"""The first versions of notebooks that were never kept, read for an import in bulk.

What does not fit a bulk (too big for memory, not complete, changing, known by now, or perhaps a notebook that was
renamed while nobody watched) is left out: it is unknown still, and takes the ordinary way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from nbguard.capture.keep import is_whole
from nbguard.capture.reading import Reading, read_stably, written_at
from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Draft, DraftKind, Head, Moment, Status, Trigger
from nbguard.names import checkpoint_of
from nbguard.ports import DraftStore
from nbguard.settings import Limits


class FirstVersions:
    """Mints drafts that no spool holds yet; ``protected`` makes them heads once they are durable elsewhere."""

    def __init__(self, *, store: DraftStore, heads: Heads, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._heads = heads
        self._clock = clock
        self._limits = limits
        self._bytes_gone: set[str | None] = set()
        self._files_gone: set[tuple[int, int]] = set()

    def drafts(self, paths: Iterable[tuple[str, str]]) -> Iterator[tuple[Draft, bytes]]:
        """For each (path, its root): its checkpoint as an older version if that differs, then its present bytes."""
        gone = [head for head in self._heads.alive() if not os.path.lexists(head.path)]
        self._bytes_gone = {head.sha256 for head in gone}
        self._files_gone = {
            (head.signature.device, head.signature.inode) for head in gone if head.signature is not None
        }
        for path, root in paths:
            if self._heads.get(path) is None:
                yield from self._of_one(path, root)

    def protected(self, drafts: Iterable[Draft]) -> None:
        """These are durable: they are what the next save is compared with, unless a later one was kept meanwhile."""
        lineages: dict[str, str] = {}
        for draft in drafts:
            lineage = lineages.setdefault(draft.path, draft.id)
            known = self._heads.get(draft.path)
            if draft.tip and (known is None or known.moment < draft.moment):
                self._heads.put(
                    Head(
                        path=draft.path,
                        notebook=lineage,
                        version=draft.id,
                        sha256=draft.sha256,
                        signature=draft.signature,
                        moment=draft.moment,
                        status=Status.OK,
                        parent_device=draft.signature.device if draft.signature is not None else None,
                    )
                )

    def _of_one(self, path: str, root: str) -> Iterator[tuple[Draft, bytes]]:
        before, moment = self._store.moment(), self._store.moment()
        present = self._read(path)
        if present is None or not present.is_certain or self._may_be_renamed(present):
            return
        older = self._read(checkpoint_of(path))
        if older is not None and older.sha256 != present.sha256:
            yield self._draft(path, root, older, before, is_checkpoint=True)
        yield self._draft(path, root, present, moment)

    def _may_be_renamed(self, present: Reading) -> bool:
        """Whether it has the bytes, or is the file, of a notebook that is not where it was."""
        file = (present.signature.device, present.signature.inode)
        return present.sha256 in self._bytes_gone or file in self._files_gone

    def _draft(
        self, path: str, root: str, reading: Reading, moment: Moment, *, is_checkpoint: bool = False
    ) -> tuple[Draft, bytes]:
        now = self._clock.now()
        draft = self._store.draft(
            kind=DraftKind.VERSION,
            path=path,
            moment=moment,
            trigger=Trigger.IMPORT,
            root=root,
            size=reading.signature.size,
            sha256=reading.sha256,
            signature=reading.signature,
            tip=not is_checkpoint,
            observed_at=min(written_at(reading), now) if is_checkpoint else now,
        )
        return draft, reading.data or b""

    def _read(self, path: str) -> Reading | None:
        reading = read_stably(
            path,
            stream_over=self._limits.stream_over_bytes,
            refuse_over=self._limits.stream_over_bytes,
            now_ns=int(self._clock.now().timestamp() * 1_000_000_000),
        )
        return reading if isinstance(reading, Reading) and is_whole(reading) else None
