"""The composition root's page for sheltering: what the daemon writes has a place outside HOME, and goes there when HOME
is wiped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbguard.app_refuge import refuge_of
from nbguard.clock import Clock
from nbguard.durable import FileLock, make_private_folder
from nbguard.errors import NbguardError
from nbguard.logs import move_log
from nbguard.places import find_places
from nbguard.problems import ProblemBoard

if TYPE_CHECKING:
    from nbguard.archive.outputs import RecordedOutputs
    from nbguard.archive.record_log import RecordSegments
    from nbguard.archive.spool import Spool
    from nbguard.cli.context import Context

_log = logging.getLogger(__name__)
_REFUGE_SECONDS = 5.0


class Sheltering:
    """The refuge, and what moves there with it. ``heartbeat`` is the path where life signs go now."""

    def __init__(
        self,
        context: Context,
        roots: Sequence[str],
        *,
        spool: Spool,
        record_log: RecordSegments,
        outputs: RecordedOutputs,
        clock: Clock,
        board: ProblemBoard,
        woken: threading.Event,
    ) -> None:
        self.heartbeat = context.places.heartbeat
        self._state = context.places.state
        self._spool = spool
        self._record_log = record_log
        self._outputs = outputs
        self._clock = clock
        self._woken = woken
        self._next = clock.monotonic()
        self._refuge = refuge_of(
            context, roots, clock=clock, board=board, make_anew=self._make_anew, move_to=self._move_to
        )

    @property
    def is_wiped(self) -> bool:
        """Whether HOME is gone, and the emergency place is where things go."""
        return self._refuge.is_wiped

    def begin(self) -> None:
        """Make the place outside, and let everything that is written have it."""
        self._refuge.begin()
        self._spool.outside = self._record_log.outside = self._outputs.outside = self._refuge

    def step(self) -> None:
        """One look of the refuge, then wait."""
        if not self.is_wiped:
            self._spool.tend()
        self._refuge.step()
        if not self.is_wiped:
            self._record_log.tend()
        self._woken.wait(_REFUGE_SECONDS)

    def meanwhile(self) -> None:
        """A first import takes minutes, before there are workers: what it has kept is held all the same."""
        if self._spool.outside is None or self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + _REFUGE_SECONDS
        try:
            self._refuge.step()
        except (NbguardError, OSError) as error:
            _log.error("refuge: %s", error)  # the worker tells it once it runs

    def end(self) -> None:
        """What is held outside is no longer needed, or is left complete."""
        self._refuge.end()

    def _make_anew(self) -> None:
        """Folders of ours that were removed while all around them stayed."""
        make_private_folder(self._state)
        self._spool.make()
        self._record_log.make()
        self._outputs.make()

    def _move_to(self, emergency: str) -> None:
        """HOME was wiped: whatever is written goes there, and nothing is made anew where it was."""
        there = find_places(home=emergency)
        make_private_folder(there.state)
        for each in (self._spool, self._record_log, self._outputs):
            each.spill_to(emergency)
        self.heartbeat = there.heartbeat
        move_log(there.log_file)
        self._lock_there = FileLock(there.daemon_lock)
        self._lock_there.acquire()
