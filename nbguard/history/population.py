"""Which kernels live, kept up to date at little cost: runtime folders are looked at often, all processes seldom."""

from __future__ import annotations

import os

from nbguard.clock import Clock
from nbguard.history import process_table
from nbguard.history.kernels import KernelFinder, LiveKernel

SCAN_SECONDS = 60.0
_RESTLESS_SECONDS = 10.0


class Population:
    """One worker refreshes it; ``kernels`` may be read from any thread."""

    def __init__(self, finder: KernelFinder, clock: Clock) -> None:
        self._finder = finder
        self._clock = clock
        self._scan_due = float("-inf")
        self._restless_until = float("-inf")
        self._stamps: dict[str, int] = {}
        self.kernels: tuple[LiveKernel, ...] = ()

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Folders in which connection files may appear."""
        return tuple(self._finder.runtimes)

    @property
    def is_settled(self) -> bool:
        """Whether nobody lives and nothing has changed lately: only a change, or the next scan, could bring news."""
        return not self.kernels and self._clock.monotonic() >= self._restless_until

    def refresh(self) -> None:
        """Look again where something may have changed: a file came, a process ended, a minute has passed."""
        now = self._clock.monotonic()
        is_due = now >= self._scan_due
        if self._has_changed():
            self._restless_until = now + _RESTLESS_SECONDS
        if is_due or now < self._restless_until:
            self.kernels = tuple(self._finder.look(whole=is_due))
        if is_due:
            self._scan_due = now + SCAN_SECONDS
            self._stamps = self._stamps_now()

    def scan_soon(self) -> None:
        """Look at every process at the next refresh."""
        self._scan_due = float("-inf")

    def _has_changed(self) -> bool:
        stamps = self._stamps_now()
        is_same = stamps == self._stamps
        self._stamps = stamps
        return not is_same or not all(process_table.is_there(kernel.pid) for kernel in self.kernels)

    def _stamps_now(self) -> dict[str, int]:
        return {folder: _stamp(folder) for folder in self._finder.runtimes}


def _stamp(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0
