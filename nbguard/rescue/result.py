"""What was written, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """``places`` is the file of each finding by its number; ``notebook`` and ``log`` are the rebuilt ones, if any.

    ``failing`` are the cells (counted from 1) that failed when the rebuilt notebook was executed, each with its error
    in one line; None: it was not executed.
    ``lost`` names findings that were there a moment ago and could not be read any more. ``notes`` are for people.
    """

    places: Mapping[int, str] = field(default_factory=dict)
    notebook: str | None = None
    log: str | None = None
    failing: tuple[tuple[int, str], ...] | None = None
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
