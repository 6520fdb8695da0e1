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
from nbguard.history.silent import HeldFile, KernelSeen, Loss, losses
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
LOST = "kernel-history-lost"


class Losing:
    """Notes each kernel that loses its history as a problem, and takes it back when it is well again or has ended."""

    def __init__(self, *, clock: Clock, board: ProblemBoard, lost: Callable[[LiveKernel], None]) -> None:
        self._clock = clock
        self._board = board
        self._lost = lost
        self._losses: dict[int, Loss] = {}

    def judge(self, kernels: Sequence[LiveKernel]) -> None:
        """``kernels`` are those that live now, each with all databases that it holds open."""
        if not process_table.has_proc():
            return  # elsewhere it cannot be told how often a file is open
        by_pid = {kernel.pid: kernel for kernel in kernels if kernel.is_ipython}
        now = self._clock.now().timestamp()
        found = {loss.pid: loss for loss in losses(_seen(kernel, now) for kernel in by_pid.values())}
        for pid in self._losses:
            if pid not in found:
                self._board.clear(_subject(pid))
        for pid, loss in found.items():
            self._board.note(LOST, loss.message, loss.hint, subject=_subject(pid))
            if pid not in self._losses:
                _log.warning("%s", loss.message)
                self._lost(by_pid[pid])
        self._losses = found


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
