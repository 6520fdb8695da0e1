"""Kernels that lose their history, told to whoever looks at `status`, and once to whoever can ask the kernel."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from nbguard.clock import Clock
from nbguard.errors import Busy, NbguardError
from nbguard.history import process_table
from nbguard.history.kernels import LiveKernel, is_history
from nbguard.history.reading import reading
from nbguard.history.silent import HeldFile, KernelSeen, Loss, Why, losses
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
LOST = "kernel-history-lost"


class Losing:
    """Notes each kernel that loses its history as a problem, and takes it back when it is well again or has ended.

    ``lost`` is told once of each that may have; ``last_line`` says how far such a kernel, asked since, remembers (0:
    not asked). Without it, what a kernel holds open is all the evidence there is.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        board: ProblemBoard,
        lost: Callable[[LiveKernel], None],
        last_line: Callable[[LiveKernel], int] | None = None,
    ) -> None:
        self._clock = clock
        self._board = board
        self._lost = lost
        self._last_line = last_line
        self._suspected: set[int] = set()
        self._losses: dict[int, Loss] = {}

    def judge(self, kernels: Sequence[LiveKernel]) -> None:
        """``kernels`` are those that live now, each with all databases that it holds open."""
        if not process_table.has_proc():
            return  # elsewhere it cannot be told how often a file is open
        by_pid = {kernel.pid: kernel for kernel in kernels if kernel.is_ipython}
        now = self._clock.now().timestamp()
        suspected = {loss.pid: loss for loss in losses(_seen(kernel, now) for kernel in by_pid.values())}
        for pid in suspected.keys() - self._suspected:
            self._lost(by_pid[pid])
        self._suspected = set(suspected)
        found = {
            pid: loss
            for pid, loss in suspected.items()
            if loss.why is not Why.THREAD_DIED or self._remembers_more(by_pid[pid])
        }
        for pid in self._losses.keys() - found.keys():
            self._board.clear(_subject(pid))
        for pid, loss in found.items():
            self._board.note(LOST, loss.message, loss.hint, subject=_subject(pid))
            if pid not in self._losses:
                _log.warning("%s", loss.message)
        self._losses = found

    def _remembers_more(self, kernel: LiveKernel) -> bool:
        """Whether a kernel that holds its database open only once has run what that lacks.

        IPython 9 ends its saving thread before each fork (every `!command`) and starts it anew with the next cell: then
        nothing is lost. Only the kernel itself can tell the two apart.
        """
        if self._last_line is None:
            return True
        remembered = self._last_line(kernel)
        if remembered == 0 or kernel.session is None or kernel.database is None:
            return False
        try:
            with reading(kernel.database.path) as database:
                return database.last_line(kernel.session) < remembered
        except (NbguardError, OSError):
            return kernel.pid in self._losses  # not now: what was said stands


def with_databases(kernel: LiveKernel) -> LiveKernel:
    """A kernel with the databases that it holds open now, also where it gave them names of its own (hist_file)."""
    files = process_table.open_files(kernel.pid)
    found = [file for file in files if is_history(file.path)]
    if not found and kernel.is_ipython and not kernel.keeps_nothing:
        found = [file for file in files if file.deleted or _is_history(file.path)]
    return replace(kernel, databases=tuple(found))


def _is_history(path: str) -> bool:
    try:
        with reading(path):
            return True
    except Busy:
        return True
    except (NbguardError, OSError):
        return False


def _seen(kernel: LiveKernel, now: float) -> KernelSeen:
    times = Counter((file.path, file.device, file.inode) for file in kernel.databases)
    first = {(file.path, file.device, file.inode): file for file in kernel.databases}
    held = tuple(
        HeldFile(path=key[0], times=count, is_gone=not os.path.exists(key[0]), is_elsewhere=first[key].deleted)
        for key, count in times.items()
    )
    what = f"the kernel of {kernel.path}" if kernel.path else f"the IPython in process {kernel.pid}"
    return KernelSeen(
        pid=kernel.pid,
        name=what,
        age_seconds=now - kernel.started_at,
        keeps_nothing=kernel.keeps_nothing,
        held=held,
    )


def _subject(pid: int) -> str:
    return f"kernel {pid}"
