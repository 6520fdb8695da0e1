"""What nbguard kept of executions: cells of sessions with their links, and recorded runs with their outputs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from nbguard.errors import NbguardError, said
from nbguard.executed import Confidence, Run, session_id
from nbguard.ports import ExecutedLibrary, OutputStore
from nbguard.rescue.findings import Finding, FoundRun, Look, Session, SourceName, Unavailable, Wanted
from nbguard.rescue.history import NamedSession, is_wanted, session_finding
from nbguard.rescue.matching import fit


@dataclass(frozen=True, slots=True)
class KeptSessions:
    """Executed cells that nbguard has seen; ``place`` is where they lie."""

    library: Callable[[], ExecutedLibrary | None]
    place: str
    name: SourceName = SourceName.ARCHIVE

    def look(self, wanted: Wanted) -> Look:
        """Every session; which notebook each belongs to is decided later, by the links."""
        try:
            library = self.library()
            return Look(tuple(self._sessions(library, wanted))) if library is not None else Look()
        except (NbguardError, OSError, sqlite3.Error) as error:
            return Look((), (Unavailable(self.name, f"executed cells: {said(error)}"),))

    def _sessions(self, library: ExecutedLibrary, wanted: Wanted) -> Iterator[Finding]:
        for session in library.sessions():
            cells = library.cells(session.generation, session.session)
            named = NamedSession(session.session, session.generation, session.started_at, session.ended_at)
            lines = [(cell.line, cell.source, cell.output) for cell in cells]
            finding = session_finding(self.name, self.place, named, lines, session.seen_at)
            if cells and is_wanted(wanted, finding):
                last = max(cell.seen_at for cell in cells)
                yield replace(finding, time=last, content=Session(session.id, tuple(cells)))


@dataclass(frozen=True, slots=True)
class Recorder:
    """Runs that were recorded as they happened, with their outputs as long as these are kept.

    ``kernel_id`` is what people type for a kernel without a history session; ``sessions`` tells which have one.
    """

    library: Callable[[], ExecutedLibrary | None]
    outputs: Callable[[], OutputStore]
    place: str
    kernel_id: Callable[[str], str]
    sessions: Callable[[], Mapping[str, str]] = dict

    @property
    def name(self) -> SourceName:
        return SourceName.RECORDER

    def look(self, wanted: Wanted) -> Look:
        """Runs of the notebook, and of kernels of which nobody knows whose they were."""
        try:
            library = self.library()
            if library is None:
                return Look()
            runs = library.runs()
            return Look(tuple(self._lives(runs, self.sessions(), self.outputs(), wanted))) if runs else Look()
        except (NbguardError, OSError, sqlite3.Error) as error:
            return Look((), (Unavailable(self.name, said(error)),))

    def _lives(
        self, runs: list[Run], sessions: Mapping[str, str], outputs: OutputStore, wanted: Wanted
    ) -> Iterator[Finding]:
        lives: dict[tuple[str, str | None, int | None, str | None], list[Run]] = {}
        for run in runs:
            lives.setdefault((run.kernel, run.generation, run.session, run.path), []).append(run)
        for (kernel, generation, session, path), group in lives.items():
            confidence = Confidence.UNKNOWN if path is None else fit(wanted, path)
            identity = sessions.get(kernel) or self.kernel_id(kernel)
            if generation is not None and session is not None:
                identity = session_id(generation, session)
            if wanted.session and identity.startswith(wanted.session):
                confidence = Confidence.EXACT
            if confidence is None:
                continue
            found = tuple(
                FoundRun(
                    run.source,
                    run.execution_count,
                    run.started_at,
                    outputs.get(run.id, run.started_at),
                    run.status == "error",
                )
                for run in group
            )
            size = sum(len(run.source.encode("utf-8", "surrogatepass")) + run.output_bytes for run in group)
            finding = Finding(
                source=self.name,
                path=self.place,
                time=_latest(group),
                size=size,
                cells=len(group),
                notebook=path,
                confidence=confidence,
                content=Session(identity, runs=found),
                id=identity,
            )
            if is_wanted(wanted, finding):
                yield finding


def _latest(runs: list[Run]) -> datetime:
    return max(run.ended_at or run.started_at for run in runs)
