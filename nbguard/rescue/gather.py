"""Asking every source, and putting what they answer in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nbguard.rescue.findings import Finding, Look, Unavailable, Wanted
from nbguard.rescue.matching import in_order, settle, without_copies
from nbguard.rescue.source import Source


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything found, in order, and what could not be read."""

    found: tuple[Finding, ...]
    unavailable: tuple[Unavailable, ...]


def ask(sources: Iterable[Source], wanted: Wanted, progress: Callable[[int, int], None]) -> Look:
    """Ask each source in turn; each file once, and other notebooks of that name told apart."""
    found: list[Finding] = []
    unavailable: list[Unavailable] = []
    for count, source in enumerate(sources, 1):
        look = source.look(wanted)
        found += look.found
        unavailable += look.unavailable
        progress(count, 0)
    return Look(tuple(settle(without_copies(found), wanted)), tuple(unavailable))


def together(found: Sequence[Finding], unavailable: Iterable[Unavailable]) -> Gathered:
    """Everything in the order in which people look at it."""
    return Gathered(tuple(in_order(found)), tuple(dict.fromkeys(unavailable)))
