"""No new text may take the only binding of a name that another cell needs: such a cell becomes two."""

from __future__ import annotations

from collections.abc import Sequence

from nbguard.recover.bindings import names_of
from nbguard.recover.slots import Slot

_MOST_ROUNDS = 4


def guarded(slots: Sequence[Slot]) -> list[Slot]:
    """The slots, renumbered; where a needed name is bound only by a text that was replaced, that text is back, in a
    cell of its own before the newer one. Names of a language that is not Python are not known, and nothing changes."""
    current = list(slots)
    for _ in range(_MOST_ROUNDS):
        missing = _needed(current) - _bound(current)
        if not missing:
            break
        split = [part for slot in current for part in _split(slot, missing)]
        if len(split) == len(current):
            break
        current = split
    for place, slot in enumerate(current):
        slot.at = place
    return current


def _split(slot: Slot, missing: set[str]) -> list[Slot]:
    """The slot, or the two it becomes; a name that is brought back is missing no longer."""
    if not slot.is_code:
        return [slot]
    for number in range(len(slot.steps) - 2, -1, -1):
        found = names_of(slot.steps[number].text).bound & missing
        if found:
            missing -= found
            return list(_parted(slot, number + 1))
    return [slot]


def _parted(slot: Slot, number: int) -> tuple[Slot, Slot]:
    """The first ``number`` texts as one slot, the others as another; each has the runs that showed its texts."""
    start = slot.steps[number].run
    first = start if start is not None else 0
    older, newer = slot.steps[:number], slot.steps[number:]
    before = [run for run in slot.runs if run < first]
    after = [run for run in slot.runs if run >= first]
    is_base = any(step.run is None for step in older)
    return (
        Slot(base=slot.base if is_base else None, steps=older, is_code=True, runs=before, at=slot.at),
        Slot(base=None if is_base else slot.base, steps=newer, is_code=True, runs=after, at=slot.at),
    )


def _needed(slots: Sequence[Slot]) -> set[str]:
    return {name for slot in slots if slot.is_code for name in names_of(slot.text).used}


def _bound(slots: Sequence[Slot]) -> set[str]:
    return {name for slot in slots if slot.is_code for name in names_of(slot.text).bound}
