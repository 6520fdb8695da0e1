"""Cells that were executed before the last version was saved: those that left no trace in it."""

from __future__ import annotations

from collections.abc import Sequence

from nbguard.recover.found import FoundCell
from nbguard.recover.likeness import TokenIndex, likeness
from nbguard.recover.scratch import looks_on
from nbguard.recover.sound_cells import normal
from nbguard.recover.union import United

_ALIKE = 0.6


def not_in_it(united: United, before: Sequence[FoundCell], since: Sequence[FoundCell]) -> list[FoundCell]:
    """The last run of each text that is like no cell of the notebook, and like nothing that ran later.

    Mere looks at values are left to the log, which holds them all.
    """
    known = [cell.text for cell in (*united.cells, *united.older) if cell.kind == "code"]
    known += [normal(cell.source) for cell in since]
    exact, index, texts = set(known), TokenIndex(), dict(enumerate(known))
    for number, text in texts.items():
        index.add(number, text)
    kept: list[FoundCell] = []
    for cell in reversed(before):
        text = normal(cell.source)
        if not text or text in exact or looks_on(text):
            continue
        if any(likeness(texts[number], text, _ALIKE) for number in index.likeliest(text)):
            continue
        kept.append(cell)
        exact.add(text)
        number = len(texts)
        texts[number] = text
        index.add(number, text)
    return kept[::-1]
