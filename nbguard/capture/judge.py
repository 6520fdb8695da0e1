"""What a version is worth, from how full it is and how full the notebook has been."""

from __future__ import annotations

from nbguard.model import Measure, Status


def judge(measure: Measure | None, fullest: Measure | None) -> Status:
    """The status of a version with that measure; None is bytes that are not a readable notebook.

    ``fullest`` is the fullest ``ok`` version of the last 30 days (None: there was none). EMPTIED is under half its
    cells *and* under half its source characters, or no source at all where it had some. As long as the fullest
    stays the same, so does the verdict: the small autosaves that follow an emptied notebook are EMPTIED too.
    """
    if measure is None:
        return Status.DAMAGED
    if fullest is None:
        return Status.OK
    if measure.source_chars == 0 and fullest.source_chars > 0:
        return Status.EMPTIED
    if measure.cells * 2 < fullest.cells and measure.source_chars * 2 < fullest.source_chars:
        return Status.EMPTIED
    return Status.OK


def fuller(one: Measure | None, other: Measure | None) -> Measure | None:
    """The fuller of two, by source characters and then by cells."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda measure: (measure.source_chars, measure.cells))
