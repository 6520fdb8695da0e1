"""How much of a session's code stands in a notebook: by lines, the rarer a line the more it says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nbguard.executed import Confidence
from nbguard.rescue.comparing import sources_of

_ENOUGH = 0.62
_MARGIN = 0.15
_ALIKE = 0.5
_COPY_MARGIN = 0.35
_LEAST_SHARED = 2
_LEAST_CHARS = 4


class Likeness:
    """Notebooks by the lines in them, to compare sessions with."""

    def __init__(self, notebooks: Mapping[str, frozenset[str]]) -> None:
        self._notebooks = notebooks
        self._frequency = Counter(line for lines in notebooks.values() for line in lines)

    def of(self, sources: Sequence[str]) -> tuple[str | None, Confidence]:
        """The notebook that a session's code stands in: ``probable`` when most of its weight does and no other comes
        near, ``ambiguous`` when another does, or is a copy of it, (None, unknown) otherwise."""
        lines = lines_of(sources)
        weight = sum(map(self._weight, lines))
        if not weight:
            return None, Confidence.UNKNOWN
        scores = sorted(
            (
                (sum(map(self._weight, shared)) / weight, len(shared), path)
                for path, there in self._notebooks.items()
                if (shared := lines & there)
            ),
            reverse=True,
        )
        if not scores or scores[0][0] < _ENOUGH or scores[0][1] < min(_LEAST_SHARED, len(lines)):
            return None, Confidence.UNKNOWN
        best, _, path = scores[0]
        near = any(
            best - score < _MARGIN or (best - score < _COPY_MARGIN and self._alike(path, other))
            for score, _, other in scores[1:]
        )
        return path, Confidence.AMBIGUOUS if near else Confidence.PROBABLE

    def _alike(self, one: str, other: str) -> bool:
        """Whether the smaller of two notebooks lies, for the most part, in the other: between such, a session's lines
        decide nothing."""
        small, large = sorted((self._notebooks[one], self._notebooks[other]), key=len)
        shared = sum(self._weight(line) for line in small & large)
        return shared >= _ALIKE * sum(map(self._weight, small))

    def _weight(self, line: str) -> float:
        """A line that stands nowhere says nothing of which notebook it was: it weighs no more than one that is rare."""
        return math.log((len(self._notebooks) + 1) / (max(self._frequency[line], 1) + 0.5)) + 1.0


def likeness(texts: Mapping[str, Sequence[str]]) -> Likeness:
    """Ready to compare with these notebooks: path to sources."""
    return Likeness({path: lines_of(sources) for path, sources in texts.items()})


def looks_like(sources: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a notebook's bytes share most of their code, or of ours, with these sources."""
    ours = lines_of(sources)

    def is_likely(data: bytes) -> bool:
        theirs = lines_of(sources_of(data))
        shared = len(ours & theirs)
        return shared >= _LEAST_SHARED and 2 * shared >= min(len(ours), len(theirs))

    return is_likely


def lines_of(sources: Sequence[str]) -> frozenset[str]:
    """The lines that say something, without the white space in them."""
    lines = ("".join(line.split()) for source in sources for line in source.splitlines())
    return frozenset(line for line in lines if len(line) >= _LEAST_CHARS and not line.startswith("#"))
