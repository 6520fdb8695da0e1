"""Which of the files that were found a rebuild begins with, and which others it looks into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbguard.executed import Confidence
from nbguard.rescue.findings import File, Finding, FoundRun, Session, SourceName

_SURE = frozenset({Confidence.EXACT, Confidence.PROBABLE})


def best_of(files: Sequence[Finding]) -> Finding | None:
    """The newest whole notebook that holds at least half of the cells of the fullest; None when none is whole."""
    whole = [each for each in files if isinstance(each.content, File) and each.cells]
    most = max((each.cells or 0 for each in whole), default=0)
    full = [each for each in whole if 2 * (each.cells or 0) >= most]
    return max(full, key=lambda each: (each.time.timestamp() if each.time else 0.0, each.cells or 0), default=None)


def merged_files(found: Sequence[Finding]) -> list[Finding]:
    """One file for each source and kind (its note), the best of them: older states bring back what was taken out."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        if isinstance(finding.content, File) and finding.confidence in _SURE and not finding.content.is_damaged:
            kinds.setdefault((finding.source, finding.note), []).append(finding)
    best = [best_of(group) for group in kinds.values()]
    return [finding for finding in best if finding is not None]


def merged_sessions(found: Sequence[Finding]) -> list[Finding]:
    """The sessions that are the notebook's, surely or probably, the oldest first.

    One session can be found in several places; of two that tell the same, the fuller one counts, with the outputs
    that were recorded of a part of it.
    """
    linked = [each for each in found if isinstance(each.content, Session) and each.confidence in _SURE]
    told: list[tuple[Finding, frozenset[tuple[int | None, str]]]] = []
    for finding in sorted(linked, key=_fullness, reverse=True):
        assert isinstance(finding.content, Session)
        cells = finding.content.numbered()
        fuller = next((number for number, (_, all_of_it) in enumerate(told) if cells <= all_of_it), None)
        if fuller is None:
            told.append((finding, cells))
        else:
            told[fuller] = _with_runs(told[fuller][0], finding.content.runs), told[fuller][1]
    return sorted((each for each, _ in told), key=lambda each: each.time.timestamp() if each.time else 0.0)


def _with_runs(finding: Finding, runs: tuple[FoundRun, ...]) -> Finding:
    """The session with these runs of it, if it has only cells, or runs of other cells."""
    session = finding.content
    assert isinstance(session, Session)
    if not runs or not session.cells:
        return finding
    return replace(finding, content=replace(session, runs=(*session.runs, *runs)))


def _fullness(finding: Finding) -> tuple[int, bool, bool]:
    """Of two that tell the same: with outputs before without, from memory before from a database."""
    assert isinstance(finding.content, Session)
    return len(finding.content.sources), bool(finding.content.runs), finding.source is SourceName.KERNEL
