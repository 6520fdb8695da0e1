"""The composition root's page for the daemon's worker that mirrors: without a mirror, nothing of them is loaded."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from nbguard.errors import BadConfiguration, storage_trouble
from nbguard.places import find_places

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.mirror.worker import Rounds

# Tips, routes, disks and the configuration are looked at so often; a pack wakes the worker at once.
_LOOK_SECONDS = 30.0
_LEFTOVER_SECONDS = 86_400.0


class Mirroring:
    """Tries mirrors that are due, and waits. A mirror that comes into the configuration, or leaves it, is noticed."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._context = context
        self._clock = clock
        self._path = find_places(home=context.home, config=context.config).config
        self._stop, self._soon = threading.Event(), threading.Event()
        self._seen = self._signature()
        self._rounds: Rounds | None = None
        self._begun = False

    def step(self) -> None:
        """One round, then wait a little. Raises StorageTrouble of our own disk."""
        self._soon.clear()
        self._look_at_configuration()
        wait = _LOOK_SECONDS
        if self._rounds is not None and not self._stop.is_set():
            try:
                wait = min(wait, self._rounds.step())
            except OSError as error:
                raise storage_trouble(error, "cannot remember how mirrors stand") from error
        if not self._stop.is_set():
            self._soon.wait(wait)

    def soon(self) -> None:
        """Something new is in the archive."""
        self._soon.set()

    def stop(self) -> None:
        """End whatever goes on, for good."""
        self._stop.set()
        self._soon.set()

    def _look_at_configuration(self) -> None:
        found = self._signature()
        if self._begun and found == self._seen:
            return
        context = self._context
        if self._begun:  # one that cannot be used changes nothing; others say what is wrong with it
            context = type(context)(home=context.home, config=context.config)
            try:
                _ = context.settings
            except BadConfiguration:
                return
        self._seen, self._begun, self._context = found, True, context
        self._rounds = self._made(context)

    def _made(self, context: Context) -> Rounds | None:
        if context.settings is None or not context.settings.mirrors:
            return None
        from nbguard.app_mirror import rounds_of
        from nbguard.mirror.remote import remove_leftovers

        remove_leftovers(context.places.state, self._clock.now().timestamp() - _LEFTOVER_SECONDS)
        return rounds_of(context, clock=self._clock, stop=self._stop)

    def _signature(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
