"""The first versions: notebooks nobody has seen yet go straight into the archive, the newest first.

What cannot go that way (too large to hold, not complete, changing) is kept as any other save is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbguard.capture.first import FirstVersions
from nbguard.capture.keep import LAST_ATTEMPT, Keeper, Refused, Retry
from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Draft, NoticeKind, Trigger, Version
from nbguard.ports import ImportDrafts, Progress
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
        self, *, heads: Heads, first: FirstVersions, keeper: Keeper, import_drafts: ImportDrafts, clock: Clock
    ) -> None:
        self._heads = heads
        self._first = first
        self._keeper = keeper
        self._import_drafts = import_drafts
        self._clock = clock

    def run(self, scopes: list[Scope], progress: Progress = lambda done, total: None) -> ImportReport:
        """Walk, import, report; ``progress`` counts notebooks."""
        report = ImportReport()
        unseen = self._unseen(scopes, report)
        done = 0

        def protected(group: list[tuple[Draft, Version]]) -> None:
            nonlocal done
            self._first.protected(draft for draft, _ in group)
            done += sum(draft.tip for draft, _ in group)
            report.versions += len(group)
            progress(done, len(unseen))

        progress(0, len(unseen))
        self._import_drafts(self._first.drafts(unseen), protected)
        for path, _ in unseen:
            if self._heads.get(path) is None:
                self._keep(path, report)
        return report

    def is_done(self, scopes: list[Scope]) -> bool:
        """Whether every notebook has a version by now; also when a sweep kept what an import could not."""
        return not self._unseen(scopes, ImportReport())

    def _unseen(self, scopes: list[Scope], report: ImportReport) -> list[tuple[str, str]]:
        """(path, root) of every notebook without a head, newest first."""
        unseen: dict[str, tuple[int, str]] = {}
        for scope in scopes:
            sweeper = Sweeper(scope, self._heads, self._clock)
            for found in sweeper.sweep(full=True).found:
                if found.kind is NoticeKind.SWEPT and self._heads.get(found.path) is None:
                    unseen[found.path] = (found.modified_ns, scope.root)
            report.notebooks += sweeper.notebooks
        return [(path, unseen[path][1]) for path in sorted(unseen, key=lambda path: unseen[path], reverse=True)]

    def _keep(self, path: str, report: ImportReport) -> None:
        outcome = self._keeper.keep(path, Trigger.SWEEP, attempt=LAST_ATTEMPT)
        if isinstance(outcome, Refused | Retry):
            report.failed.append((path, outcome.reason))
        else:
            report.versions += 1
