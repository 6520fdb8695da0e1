"""The composition root's page for what is executed: kernels and their notebooks, histories, what cells print."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbguard.app_flight import flight_recorder_of
from nbguard.app_history import histories_of, linking_of
from nbguard.bell import Bell
from nbguard.clock import Clock
from nbguard.history.generations import FileIdentity
from nbguard.history.linking import TICK_SECONDS
from nbguard.model import Problem
from nbguard.problems import ProblemBoard
from nbguard.watch.mounts import read_mounts, remote_kind

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.history.kernels import LiveKernel
    from nbguard.history.process_table import Life

_IDLE_SECONDS = 30.0
_COPY_HISTORIES_SECONDS = 60.0
_LOOK_FOR_KERNELS_SECONDS = 10.0


class Following:
    """Four workers of the daemon. ``woken`` ends every wait."""

    def __init__(
        self, context: Context, roots: Sequence[str], *, clock: Clock, board: ProblemBoard, woken: threading.Event
    ) -> None:
        self._woken = woken
        self._lost: set[Life] = set()
        self.histories = histories_of(
            context,
            environment=os.environ,
            clock=clock,
            board=board,
            kernels=self._kernels,
            lost=lambda kernel: self._lost.add(kernel.life),
            last_line=lambda kernel: self.linking.last_line(kernel.life),
        )
        self.linking = linking_of(
            context,
            environment=os.environ,
            clock=clock,
            generation_of=lambda device, inode, session: self.histories.tail.generation_of(
                FileIdentity(device, inode), session
            ),
            stopped_writing=lambda: tuple(self._lost),
            is_sound=lambda device, inode: (
                self.histories.tail.newest_generation(FileIdentity(device, inode)) is not None
            ),
        )
        self._flight = flight_recorder_of(context, roots, clock, self.linking.kernels)
        self._history_bell, self._kernel_bell = Bell(clock, tells_all), Bell(clock, tells_all)

    def _kernels(self) -> tuple[LiveKernel, ...]:
        return self.linking.kernels()

    def once(self) -> None:
        """Tie sessions to notebooks, and keep everything that was executed."""
        self.linking.step()
        self.histories.catch_up()

    def read_histories(self) -> None:
        """Keep what was executed since the last look, then wait a little, or until there may be more."""
        seconds = self.histories.step()
        if rest_seconds := self.histories.rest_seconds():
            self._history_bell.rest(self.histories.folders(), rest_seconds, otherwise_seconds=seconds)
        else:
            self._history_bell.wait(seconds)

    def copy_histories(self) -> None:
        """Copy history databases that changed, once a day; looked at now and then."""
        self._woken.wait(_COPY_HISTORIES_SECONDS)
        if not self._woken.is_set():
            self.histories.copy_due()

    def link(self) -> None:
        """Tie sessions to notebooks, then wait a little, or until a kernel may have come."""
        before = self.linking.kernels()
        self.linking.step()
        if self._flight is not None and self.linking.kernels() is not before:
            self._flight.look_now()
        if self.linking.is_resting:
            self._kernel_bell.rest(self.linking.runtimes, _LOOK_FOR_KERNELS_SECONDS, otherwise_seconds=TICK_SECONDS)
        else:
            self._kernel_bell.wait(TICK_SECONDS)

    def record_flight(self) -> None:
        """Hear the kernels for a while, or wait, where nothing is to be recorded."""
        if self._flight is None:
            self._woken.wait(_IDLE_SECONDS)
        else:
            self._flight.step(_IDLE_SECONDS)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with recording."""
        return self._flight.problems() if self._flight is not None else ()

    def wake(self) -> None:
        """End every wait; ``woken`` is set already."""
        self._history_bell.stop()
        self._kernel_bell.stop()
        if self._flight is not None:
            self._flight.wake()

    def stop_recording(self) -> None:
        """Kernels are heard no longer."""
        if self._flight is not None:
            self._flight.stop()

    def end(self) -> None:
        """Keep what was executed last."""
        self.histories.end()


def tells_all(folder: str) -> bool:
    """Whether every change in a folder is told of by events: not on file systems that others write as well."""
    return remote_kind(os.path.realpath(folder), read_mounts()) is None
