"""What nbguard itself has kept: the archive and the spool, also when only one of the two can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nbguard.errors import NbguardError, said
from nbguard.executed import Confidence
from nbguard.model import Draft, Status, Version
from nbguard.ports import Library
from nbguard.rescue.findings import File, Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.matching import fit
from nbguard.rescue.reading import bytes_finding

Drafts = Callable[[], Iterable[tuple[Draft, Callable[[], bytes]]]]
"""The drafts of the spool with their bytes, read without archive and catalog. Raises OSError, NbguardError."""


@dataclass(frozen=True, slots=True)
class Kept:
    """``library`` opens everything kept (None: nothing ever was); ``drafts`` is asked where that fails."""

    library: Callable[[], Library | None]
    drafts: Drafts
    name: SourceName = SourceName.ARCHIVE

    def look(self, wanted: Wanted) -> Look:
        """All versions of the notebook, across renames; of every notebook the latest, when nothing is named."""
        try:
            library = self.library()
            return Look(tuple(self._versions(library, wanted))) if library is not None else Look()
        except (NbguardError, OSError, sqlite3.Error) as error:
            trouble = Unavailable(self.name, said(error))
        try:
            return Look(tuple(self._spooled(wanted)), (trouble,))
        except (NbguardError, OSError) as error:
            return Look((), (trouble, Unavailable(SourceName.SPOOL, said(error))))

    def _versions(self, library: Library, wanted: Wanted) -> Iterator[Finding]:
        if wanted.is_everything:
            for entry in [*library.entries(deleted=False), *library.entries(deleted=True)]:
                fullest = next((each for each in library.log(entry.notebook) if each.sha256 is not None), None)
                if fullest is not None:
                    yield self._finding(library, fullest, fullest.path, Confidence.EXACT)
            return
        lineages = {
            notebook: (at, Confidence.EXACT) for path in reversed(wanted.paths) for at, notebook in library.named(path)
        }
        if not lineages and wanted.tail:
            lineages = {notebook: (at, Confidence.PROBABLE) for at, notebook in library.ending(wanted.tail)}
        for notebook, (at, confidence) in lineages.items():
            for version in library.log(notebook):
                if version.sha256 is not None:
                    yield self._finding(library, version, at, confidence)

    def _spooled(self, wanted: Wanted) -> Iterator[Finding]:
        for draft, read in self.drafts():
            confidence = fit(wanted, draft.path)
            if confidence is not None and draft.sha256 is not None:
                yield bytes_finding(
                    SourceName.SPOOL,
                    draft.path,
                    draft.path,
                    confidence,
                    data=read(),
                    time=draft.observed_at,
                    id=draft.id,
                )

    def _finding(self, library: Library, version: Version, notebook: str, confidence: Confidence) -> Finding:
        return Finding(
            source=SourceName.SPOOL if version.commit is None else self.name,
            path=version.path,
            time=version.saved_at,
            size=version.size,
            cells=version.cells,
            notebook=notebook,
            confidence=confidence,
            content=File(lambda: library.read(version), is_damaged=version.status is Status.DAMAGED),
            id=version.id,
            note="" if version.status is Status.OK else str(version.status),
        )
