"""What every source is to those who ask it."""

from __future__ import annotations

from typing import Protocol

from nbguard.rescue.findings import Look, SourceName, Wanted


class Source(Protocol):
    """One place, or kind of place, where a notebook can still be. Looking changes nothing there."""

    @property
    def name(self) -> SourceName:
        """What it is called in the answer."""

    def look(self, wanted: Wanted) -> Look:
        """What there is of ``wanted``, and what could not be read, with the reason. Raises nothing it can foresee."""
