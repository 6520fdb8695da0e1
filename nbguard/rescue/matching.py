"""Whether something that was found is of the notebook that is wanted, and what comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from nbguard.executed import Confidence
from nbguard.rescue.findings import File, Finding, SourceName, Wanted

_RANK = {Confidence.EXACT: 0, Confidence.PROBABLE: 1, Confidence.AMBIGUOUS: 2, Confidence.UNKNOWN: 3}


def fit(wanted: Wanted, notebook: str) -> Confidence | None:
    """How well a notebook's path (absolute, or a bare name where the source knows no more) fits; None: not at all.

    ``exact`` is the very path; ``probable`` ends as what was typed, or is a bare name and the right one.
    """
    if wanted.is_everything:
        return Confidence.EXACT
    if not wanted.paths:
        return None
    if notebook in wanted.paths:
        return Confidence.EXACT
    if not notebook.startswith("/"):
        return Confidence.PROBABLE if _ends_with(wanted.paths[0], notebook) else None
    return Confidence.PROBABLE if wanted.tail and _ends_with(notebook, wanted.tail) else None


def fits_name(wanted: Wanted, name: str) -> bool:
    """Whether a file of this name can be of the notebook at all; cheap, and asked before anything is read."""
    return wanted.is_everything or any(path.rpartition("/")[2] == name for path in wanted.paths)


def settle(found: Sequence[Finding], wanted: Wanted) -> list[Finding]:
    """Other notebooks whose paths merely end alike are ``ambiguous``: beside the very one, or among each other."""
    files = [each for each in found if isinstance(each.content, File) and (each.notebook or "").startswith("/")]
    if wanted.is_everything or not wanted.paths:
        return list(found)
    exact = any(each.confidence is Confidence.EXACT for each in files)
    others = {each.notebook for each in files if each.confidence is Confidence.PROBABLE}
    if not others or (not exact and len(others) == 1):
        return list(found)
    return [
        replace(each, confidence=Confidence.AMBIGUOUS)
        if each.notebook in others and each.confidence is Confidence.PROBABLE
        else each
        for each in found
    ]


def candidates(found: Iterable[Finding]) -> list[str]:
    """The notebooks that what was typed can mean, when it is not one: for a message."""
    exact = [each for each in found if each.confidence in (Confidence.EXACT, Confidence.PROBABLE)]
    if any(isinstance(each.content, File) for each in exact):
        return []
    unsure = [each.notebook or "" for each in found if each.confidence is Confidence.AMBIGUOUS]
    return sorted({path for path in unsure if path.startswith("/")})


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """The surest first, then the newest, then the fullest; what has no time comes last."""

    def place(finding: Finding) -> tuple[int, float, int, int, str]:
        return (
            1 if finding.confidence in (Confidence.AMBIGUOUS, Confidence.UNKNOWN) else 0,
            -_seconds(finding.time),
            -(finding.cells or 0),
            -finding.size,
            finding.path,
        )

    return sorted(found, key=place)


def without_copies(found: Iterable[Finding]) -> list[Finding]:
    """Each thing once, also when two sources came upon the same file; the one that knows more of it stays."""
    best: dict[tuple[SourceName | None, str, str], Finding] = {}
    for finding in found:
        key = (finding.source if finding.id else None, finding.path, finding.id)
        known = best.get(key)
        if known is None or _RANK[finding.confidence] < _RANK[known.confidence]:
            best[key] = finding
    return list(best.values())


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time is not None else float("-inf")


def _ends_with(path: str, tail: str) -> bool:
    return path == tail or path.endswith("/" + tail)
