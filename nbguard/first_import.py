"""The first versions: notebooks nobody has seen yet go straight into the archive, the newest first.

What cannot go that way (too large to hold, not complete, changing) is kept as any other save is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nbguard.capture.keep import LAST_ATTEMPT, Keeper, Refused, Retry
from nbguard.capture.reading import Reading, read_stably
from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Draft, DraftKind, Head, NoticeKind, Trigger, Version
from nbguard.names import checkpoint_of
from nbguard.notebook import looks_complete
from nbguard.ports import DraftStore, ImportDrafts, Progress
from nbguard.settings import Limits
from nbguard.watch.scope import Scope
from nbguard.watch.sweep import Sweeper


@dataclass(slots=True)
class ImportReport:
    """What was done: new versions, notebooks seen in all, and what was not kept with the reason."""

    versions: int = 0
    notebooks: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


class FirstImport:
    """Imports every notebook under some roots that has no version yet. Raises what ``import_drafts`` raises."""

    def __init__(
        self,
        *,
        store: DraftStore,
        heads: Heads,
        keeper: Keeper,
        import_drafts: ImportDrafts,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._heads = heads
        self._keeper = keeper
        self._import_drafts = import_drafts
        self._clock = clock
        self._limits = limits

    def run(self, scopes: list[Scope], progress: Progress = lambda done, total: None) -> ImportReport:
        """Walk, import, report; ``progress`` counts notebooks."""
        report = ImportReport()
        unseen: list[tuple[int, str, str]] = []
        for scope in scopes:
            sweeper = Sweeper(scope, self._heads, self._clock)
            swept = sweeper.sweep(full=True)
            report.notebooks += sweeper.notebooks
            unseen += [
                (found.modified_ns, found.path, scope.root)
                for found in swept.found
                if found.kind is NoticeKind.SWEPT and self._heads.get(found.path) is None
            ]
        unseen.sort(reverse=True)
        left: list[str] = []
        done = 0

        def protected(group: list[tuple[Draft, Version]]) -> None:
            nonlocal done
            for draft, version in group:
                if draft.tip:
                    self._heads.put(_head(draft, version))
                    done += 1
            report.versions += len(group)
            progress(done, len(unseen))

        progress(0, len(unseen))
        self._import_drafts(self._drafts(unseen, left), protected)
        for path in left:
            self._keep(path, report)
        return report

    def _drafts(self, unseen: list[tuple[int, str, str]], left: list[str]) -> Iterator[tuple[Draft, bytes]]:
        """Drafts with their bytes, read one at a time; what cannot be imported is appended to ``left``."""
        for _, path, root in unseen:
            reading = self._read(path)
            if reading is None or reading.data is None or not looks_complete(reading.data):
                left.append(path)
                continue
            older = self._read(checkpoint_of(path))
            if (
                older is not None
                and older.data is not None
                and older.sha256 != reading.sha256
                and looks_complete(older.data)
            ):
                yield self._draft(path, root, older, tip=False), older.data
            yield self._draft(path, root, reading, tip=True), reading.data

    def _read(self, path: str) -> Reading | None:
        found = read_stably(
            path,
            stream_over=self._limits.stream_over_bytes,
            refuse_over=self._limits.refuse_over_bytes,
            now_ns=int(self._clock.now().timestamp() * 1e9),
        )
        return found if isinstance(found, Reading) else None

    def _draft(self, path: str, root: str, reading: Reading, *, tip: bool) -> Draft:
        now = self._clock.now()
        written_at = datetime.fromtimestamp(reading.signature.mtime_ns / 1e9, UTC)
        return self._store.draft(
            kind=DraftKind.VERSION,
            path=path,
            moment=self._store.moment(),
            trigger=Trigger.IMPORT,
            root=root,
            size=reading.signature.size,
            sha256=reading.sha256,
            signature=reading.signature,
            tip=tip,
            observed_at=now if tip else min(written_at, now),
        )

    def _keep(self, path: str, report: ImportReport) -> None:
        outcome = self._keeper.keep(path, Trigger.IMPORT, attempt=LAST_ATTEMPT)
        if isinstance(outcome, Refused | Retry):
            report.failed.append((path, outcome.reason))
        else:
            report.versions += 1


def _head(draft: Draft, version: Version) -> Head:
    return Head(
        path=draft.path,
        notebook=version.notebook,
        version=draft.id,
        sha256=draft.sha256,
        signature=draft.signature,
        moment=draft.moment,
        status=version.status,
        parent_device=draft.signature.device if draft.signature is not None else None,
    )
