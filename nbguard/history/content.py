"""Which notebook a dead session belongs to, by what was executed in it. Decided from texts alone; never a certainty.

Lines are compared, without blanks at their ends: a line that few notebooks have says more than one that many have
(inverse document frequency). Copies of a notebook, and notebooks that grew out of one another, share most of their
lines; between those a session's lines decide nothing, and all of them are named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nbguard.executed import Confidence, Frontend, HistorySession, Link

_BLANKS: Final = re.compile(r"\s+")
CONTENT: Final = "content"
_MOST_LINES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Chosen on one set of notebooks and reported on another (docs/benchmarks-linking.md).

    ``score`` and ``margin`` are shares of a session's weight: found in the best notebook, and less in the next.
    ``evidence`` is the least weight that must be found: that of about so many lines that are in no other notebook,
    in an archive of a hundred. ``alike`` is the share of weight from which two notebooks count as copies, and
    ``copy_margin`` the lead one of those would need.
    """

    score: float = 0.55
    margin: float = 0.15
    evidence: float = 12.0
    alike: float = 0.5
    copy_margin: float = 0.35


@dataclass(frozen=True, slots=True)
class Likeness:
    """One notebook, and the share of a session's weight that is found in it (0 to 1)."""

    notebook: str
    score: float


@dataclass(frozen=True, slots=True)
class Guess:
    """PROBABLE names one notebook, AMBIGUOUS several, UNKNOWN none; the likeliest first."""

    confidence: Confidence
    notebooks: tuple[Likeness, ...] = ()


def lines_of(sources: Iterable[str]) -> frozenset[str]:
    """The lines of some sources that can tell something: without blanks around them, comments and brackets alone."""
    found: set[str] = set()
    for source in sources:
        for line in source.splitlines():
            text = _BLANKS.sub(" ", line).strip()
            if len(text) > 3 and not text.startswith("# ") and len(found) < _MOST_LINES:
                found.add(text)
    return frozenset(found)


class Notebooks:
    """The notebooks that a session is compared with: by a name (lineage or path) the lines of its versions."""

    def __init__(self, lines: Mapping[str, frozenset[str]], thresholds: Thresholds | None = None) -> None:
        self._lines = {name: found for name, found in lines.items() if found}
        self._thresholds = thresholds or Thresholds()
        self._holders: dict[str, list[str]] = {}
        for name in sorted(self._lines):
            for line in self._lines[name]:
                self._holders.setdefault(line, []).append(name)
        # One line of one notebook weighs log(1 + N); never less than in an archive of ten, so that a single
        # notebook's lines are not all taken for common ones.
        self._count = max(len(self._lines), 10)

    def guess(self, sources: Sequence[str]) -> Guess:
        """Which notebook a session of these sources belongs to."""
        limits = self._thresholds
        lines = lines_of(sources)
        total = sum(self._weight(line) for line in lines)
        if not total:
            return Guess(Confidence.UNKNOWN)
        found: dict[str, float] = {}
        for line in lines:
            for name in self._holders.get(line, ()):
                found[name] = found.get(name, 0.0) + self._weight(line)
        ranked = sorted(((weight / total, name) for name, weight in found.items()), key=lambda one: (-one[0], one[1]))
        if not ranked or ranked[0][0] < limits.score or found[ranked[0][1]] < limits.evidence:
            return Guess(Confidence.UNKNOWN)
        score, best = ranked[0]
        near = [
            Likeness(name, other)
            for other, name in ranked[1:]
            if other > score - limits.margin or (other > score - limits.copy_margin and self._alike(best, name))
        ]
        chosen = (Likeness(best, score), *near)
        return Guess(Confidence.AMBIGUOUS if near else Confidence.PROBABLE, chosen)

    def _weight(self, line: str) -> float:
        """More for a rarer line; a line that no notebook has weighs as one that a single notebook has."""
        return math.log(1 + self._count / max(len(self._holders.get(line, ())), 1))

    def _alike(self, one: str, other: str) -> bool:
        """Whether the smaller of two notebooks lies, for the most part, in the other."""
        small, large = sorted((self._lines[one], self._lines[other]), key=len)
        weight = sum(self._weight(line) for line in small)
        shared = sum(self._weight(line) for line in small if line in large)
        return shared >= self._thresholds.alike * weight


def guessed_links(session: HistorySession, guess: Guess, paths: Mapping[str, str], now: datetime) -> list[Link]:
    """A guess as links, for a session without any: one for each notebook that is named, and none when it is unknown."""
    return [
        Link(
            generation=session.generation,
            session=session.session,
            path=paths[one.notebook],
            frontend=Frontend.OTHER,
            confidence=guess.confidence,
            evidence=(CONTENT,),
            seen_at=now,
            since=session.started_at,
            until=session.ended_at,
        )
        for one in guess.notebooks
        if one.notebook in paths
    ]
