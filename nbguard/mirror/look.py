"""A moment on this machine's own clocks, for what is judged by watching whether something goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import from_iso, iso


@dataclass(frozen=True, slots=True)
class Look:
    """A moment on this machine's own clocks: the wall (UTC), and seconds since this boot began, asleep or not."""

    at: datetime
    boot: str
    boot_seconds: float

    def seconds_since(self, earlier: Look) -> float:
        """How long ago that was: within one boot by the clock that nobody can set, else by the wall."""
        if earlier.boot == self.boot:
            return max(0.0, self.boot_seconds - earlier.boot_seconds)
        return max(0.0, (self.at - earlier.at).total_seconds())

    def table(self) -> dict[str, str | float]:
        """For JSON."""
        return {"at": iso(self.at), "boot": self.boot, "boot_seconds": self.boot_seconds}

    @staticmethod
    def of(table: object) -> Look:
        """The reverse. Raises ValueError, KeyError, TypeError."""
        if not isinstance(table, dict):
            raise ValueError("no look")
        return Look(from_iso(str(table["at"])), str(table["boot"]), float(table["boot_seconds"]))
