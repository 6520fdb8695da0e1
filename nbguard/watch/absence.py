"""When a notebook that is not there is believed to be deleted. Facts in, verdict out; no clock, no disk.

A deletion is believed only when the folder it was in is there, can be read and lies on the file system it lay on.
Everything else (an unmounted disk, a renamed root, lost permission) looks the same to a path, and is no deletion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

MASS_COUNT = 50
MASS_SHARE = 5  # one in five
TOGETHER_SECONDS = 600.0


class Verdict(Enum):
    """What is thought of one missing notebook."""

    BACK = "back"
    DELETED = "deleted"
    HELD = "held"
    UNREACHABLE = "unreachable"
    ROOT_LOST = "root lost"


@dataclass(frozen=True, slots=True)
class Witness:
    """What can be seen around a missing notebook.

    ``parent_there``: its folder is a folder that can be listed. ``ancestor``: the nearest folder above it, inside
    the root, that exists; ``ancestor_readable`` and ``device`` are of that (or of the parent, when it is there).
    """

    present: bool
    root_sound: bool
    parent_there: bool
    ancestor: str
    ancestor_readable: bool
    device: int | None


def judge_absence(
    witness: Witness, *, device: int | None, missing_seconds: float, mass: bool, hold_seconds: float
) -> Verdict:
    """The verdict on one notebook whose folder lay on ``device`` and that was missed ``missing_seconds`` ago."""
    if witness.present:
        return Verdict.BACK
    if not witness.root_sound:
        return Verdict.ROOT_LOST
    if not witness.ancestor_readable or device is None or witness.device != device:
        return Verdict.UNREACHABLE
    if missing_seconds >= hold_seconds:
        return Verdict.DELETED
    if mass:  # on the file system they lay on, with their folders (rm -rf) or without
        return Verdict.HELD
    return Verdict.DELETED if witness.parent_there else Verdict.UNREACHABLE


def is_mass_deletion(missing: int, notebooks: int) -> bool:
    """Whether ``missing`` of the ``notebooks`` a root had are too many at once to be believed."""
    return missing > MASS_COUNT and missing * MASS_SHARE > notebooks


def recent(times: Iterable[float], now: float) -> int:
    """How many of these times (monotonic seconds) count as "at once" with now."""
    return sum(1 for time in times if now - time < TOGETHER_SECONDS)
