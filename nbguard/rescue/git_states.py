"""git repositories around the notebook: every state of it on any branch, in stashes, in reflogs and in the index; and
contents that have lost their last name.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from nbguard.errors import ArchiveTrouble, BadConfiguration, said
from nbguard.executed import Confidence
from nbguard.notebook import measure
from nbguard.rescue.findings import File, Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.git_repository import Repository, State, repository_at
from nbguard.rescue.matching import fit
from nbguard.rescue.reading import MOST_BYTES, at_seconds

_MOST_STATES = 1_000
_MOST_NAMELESS = 2_000
_MOST_NAMELESS_BYTES = 32_000_000
_FSCK_SECONDS = 20.0

Likely = Callable[[bytes], bool]
"""Whether nameless bytes are a state of the wanted notebook."""


@dataclass(frozen=True, slots=True)
class GitStates:
    """``found`` are paths of `.git` (folders or files) and bare repositories; only those of ``user`` are asked."""

    found: tuple[str, ...]
    user: int

    @property
    def name(self) -> SourceName:
        return SourceName.GIT

    def look(self, wanted: Wanted) -> Look:
        """Every state of the notebook that has a name."""
        return _each(self.found, self.user, partial(_named, wanted))


@dataclass(frozen=True, slots=True)
class GitNameless:
    """What was added and never committed, or dropped with a stash: known again by what it says."""

    found: tuple[str, ...]
    user: int
    is_likely: Likely

    @property
    def name(self) -> SourceName:
        return SourceName.GIT

    def look(self, wanted: Wanted) -> Look:
        """States that are probably the notebook's; of a named one only."""
        if not wanted.paths:
            return Look()
        # What could not be read was named when the names were asked for.
        return Look(_each(self.found, self.user, self._nameless(wanted)).found)

    def _nameless(self, wanted: Wanted) -> Callable[[Repository], Iterator[Finding]]:
        def look(repository: Repository) -> Iterator[Finding]:
            blobs = repository.dangling(_FSCK_SECONDS)[:_MOST_NAMELESS]
            small = {blob for blob, size in repository.sizes(blobs).items() if 0 < size <= _MOST_NAMELESS_BYTES}
            states = [State(blob, "", "", None, "without a name, by its content") for blob in blobs if blob in small]
            for state, data in _read(repository, states):
                if self.is_likely(data):
                    yield _finding(repository, state, data, wanted.paths[0], Confidence.PROBABLE)

        return look


def _each(found: Sequence[str], user: int, states: Callable[[Repository], Iterator[Finding]]) -> Look:
    findings: list[Finding] = []
    unavailable: list[Unavailable] = []
    seen: set[str] = set()
    for path in found:
        try:
            repository = repository_at(path)
            if repository is None or repository.folder in seen:
                continue
            seen.add(repository.folder)
            if os.stat(repository.folder).st_uid != user:
                unavailable.append(Unavailable(SourceName.GIT, f"{repository.top}: it belongs to somebody else"))
                continue
            findings += states(repository)
        except (OSError, ArchiveTrouble, BadConfiguration, subprocess.SubprocessError, ValueError) as error:
            unavailable.append(Unavailable(SourceName.GIT, f"{path}: {said(error)}"))
    return Look(tuple(findings), tuple(unavailable))


def _named(wanted: Wanted, repository: Repository) -> Iterator[Finding]:
    fitting: dict[tuple[str, str], tuple[State, Confidence]] = {}
    committed = sorted(repository.committed(wanted), key=lambda state: bool(state.note))  # what a branch names first
    for state in (*committed, *repository.staged(wanted)):
        confidence = fit(wanted, os.path.join(repository.top, state.path))
        if confidence is not None and len(fitting) < _MOST_STATES:
            fitting.setdefault((state.blob, state.path), (state, confidence))
    chosen = list(fitting.values())
    sizes = repository.sizes([state.blob for state, _ in chosen])
    chosen = [each for each in chosen if 0 < sizes.get(each[0].blob, 0) <= MOST_BYTES]
    for (state, data), (_, confidence) in zip(_read(repository, [state for state, _ in chosen]), chosen, strict=True):
        yield _finding(repository, state, data, os.path.join(repository.top, state.path), confidence)


def _read(repository: Repository, states: Sequence[State]) -> Iterator[tuple[State, bytes]]:
    if states:
        with repository.reader() as reader:
            for state in states:
                yield state, reader.read(state.blob.encode("ascii"))


def _finding(repository: Repository, state: State, data: bytes, notebook: str, confidence: Confidence) -> Finding:
    measured = measure(data)
    return Finding(
        source=SourceName.GIT,
        path=os.path.join(repository.top, state.path) if state.path else repository.folder,
        time=at_seconds(float(state.seconds)) if state.seconds is not None else None,
        size=len(data),
        cells=measured.cells if measured else None,
        notebook=notebook,
        confidence=confidence,
        content=File(partial(repository.read, state.blob), is_damaged=measured is None),
        id=f"{state.commit[:10]}:{state.blob[:10]}" if state.commit else state.blob[:10],
        note=state.note or ("" if measured else "not a whole notebook"),
    )
