"""An installation of nbguard as the daemon wires it, worked by hand: the same parts, the same decisions, one thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nbguard import app
from nbguard.app_daemon import Assembly
from nbguard.archive.recorder import GATHER_SECONDS
from nbguard.capture.keep import Keeper
from nbguard.cli.context import Context
from nbguard.clock import SystemClock
from nbguard.model import Draft, NoticeKind, SaveNotice
from nbguard.settings_writing import minimal_configuration


class ShiftedClock:
    """The machine's clocks, moved on by as much as was asked."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.shift = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.shift)

    def boottime_ns(self) -> int:
        return self._clock.boottime_ns() + int(self.shift * 1e9)

    def monotonic(self) -> float:
        return time.monotonic() + self.shift


class Installation:
    """Everything under ``home``, watching ``desk``."""

    def __init__(self, home: str, desk: str) -> None:
        os.makedirs(desk, exist_ok=True)
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "config.toml"), "wb") as file:
            file.write(minimal_configuration((desk,)))
        self.home = home
        self.desk = desk
        self.clock = ShiftedClock()
        self.context = Context(home=home, config=None)
        app.ensure_archive(self.context)
        self.assembly = Assembly(self.context, (desk,), self.clock)
        self._record_at = 0.0

    @property
    def archive(self) -> str:
        return self.context.places.archive

    def keeper(self, kept: Callable[[Draft, bytes | None], None] | None = None) -> Keeper:
        """The daemon's keeper, to be called without the settling before it; the recorder hears of it, or ``kept``."""
        parts = self.assembly
        return Keeper(
            store=parts.spool,
            heads=parts.heads,
            clock=self.clock,
            limits=parts.settings.limits,
            root_of=parts.watcher.root_of,
            kept=kept or parts.recorder.put,
            knows=parts.recording.catalog.knows,
        )

    def saved(self, name: str) -> None:
        """What the daemon does of a save, from the event on: settle, keep, record, pack and maintain when due."""
        path = os.path.join(self.desk, name)
        self.assembly.saves.put(SaveNotice(path, NoticeKind.CLOSED, self.clock.monotonic() - 1.0))
        self.assembly.saves.step(0.0)
        # The daemon's recorder waits so long for what comes together, and its packer looks every few seconds.
        is_due = self.assembly.policy.is_due(self.assembly.recorder.waiting())
        if is_due or self.clock.monotonic() >= self._record_at:
            self.assembly.recorder.step(0.0)
            self._record_at = self.clock.monotonic() + GATHER_SECONDS
        self.assembly.pack_due()

    def wait(self, seconds: float, look_every: float = 60.0) -> None:
        """Let time pass on the shifted clock; the packer looks whether it is due."""
        while seconds > 0:
            step = min(seconds, look_every)
            self.clock.shift += step
            seconds -= step
            self.assembly.recorder.step(0.0)
            self.assembly.pack_due()

    def settle(self) -> None:
        """Let so much time pass that everything is packed."""
        self.wait(self.assembly.settings.intervals.pack_seconds + 1.0)
        left = self.assembly.packing.archive, self.assembly.recorder.waiting().drafts
        if left[1]:
            raise RuntimeError(f"{left[1]} drafts were not packed")

    @property
    def kept(self) -> int:
        return self.assembly.saves.kept


def write(desk: str, name: str, content: bytes) -> None:
    """An editor's save, in place."""
    path = os.path.join(desk, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
