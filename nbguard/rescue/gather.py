"""Asking every source, and putting what they answer in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbguard.rescue.findings import Finding, Unavailable, Wanted
from nbguard.rescue.matching import in_order, settle, without_copies
from nbguard.rescue.source import Source

Attribution = Callable[[Sequence[Finding]], Sequence[Finding]]
"""Which sessions are of the notebook: the same findings, with notebooks and confidences for those that were without."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything found, in order, and what could not be read."""

    found: tuple[Finding, ...]
    unavailable: tuple[Unavailable, ...]


def gather(
    sources: Sequence[Source], wanted: Wanted, attribute: Attribution, progress: Callable[[int, int], None]
) -> Gathered:
    """Ask each source in turn. Raises nothing that a source can foresee."""
    found: list[Finding] = []
    unavailable: list[Unavailable] = []
    for count, source in enumerate(sources):
        progress(count, len(sources))
        look = source.look(wanted)
        found += look.found
        unavailable += look.unavailable
    progress(len(sources), len(sources))
    settled = attribute(settle(without_copies(found), wanted))
    return Gathered(tuple(in_order(settled)), tuple(dict.fromkeys(unavailable)))
