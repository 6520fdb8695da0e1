"""Keeping what only a live kernel remembers: its database is gone, or it never had one.

Such a kernel is asked again each time after it worked, so its cells outlive it. An idle one is left in peace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nbguard.clock import Clock
from nbguard.executed import CellOrigin, ExecutedCell, Record
from nbguard.history import process_table
from nbguard.history.asking import KernelSilent, Remembered, ask_cells
from nbguard.history.kernels import LiveKernel, databases_of
from nbguard.history.process_table import Life

_log = logging.getLogger(__name__)
# An idle kernel wakes twice a second, and writes eight bytes each time; a cell wakes more threads than that.
_IDLE_BYTES_PER_SECOND: Final = 20.0
_A_WAKING_BYTES: Final = 40.0
_SETTLED_SECONDS: Final = 0.7
_FIRST_WAIT_SECONDS: Final = 3.0
_LONGEST_WAIT_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Memory:
    """One kernel whose memory is all there is. ``lines`` are kept; ``last`` is the source of the last of them."""

    written: int
    looked_at: float
    worked_at: float | None
    not_before: float = 0.0
    wait_seconds: float = _FIRST_WAIT_SECONDS
    lines: int = 0
    last: str = ""


class Remembering:
    """Use it from the thread that steps the links. ``also`` names kernels that have stopped writing for another
    reason, by life."""

    def __init__(self, clock: Clock, also: Callable[[], Iterable[Life]] = tuple) -> None:
        self._clock = clock
        self._also = also
        self._memories: dict[Life, _Memory] = {}

    def last_line(self, life: Life) -> int:
        """The last line that a kernel gave when it was asked; 0 when it was not. From any thread."""
        memory = self._memories.get(life)
        return memory.lines if memory is not None else 0

    def step(self, kernels: Sequence[LiveKernel], is_idle: Callable[[LiveKernel], bool]) -> list[Record]:
        """The cells that are to be kept now, of kernels whose session is known.

        ``is_idle`` is asked only of kernels that worked; one at work is asked once it is done.
        """
        now = self._clock.monotonic()
        also = set(self._also())
        records: list[Record] = []
        living = set()
        for kernel in kernels:
            if kernel.connection is None or kernel.generation is None or kernel.session is None:
                continue
            if kernel.life in living:
                continue  # one kernel for two notebooks
            living.add(kernel.life)
            if kernel.life not in also and kernel.life not in self._memories and not _keeps_to_itself(kernel):
                continue
            memory = self._memories.get(kernel.life)
            if memory is None:
                written = process_table.written_bytes(kernel.pid)
                memory = self._memories[kernel.life] = _Memory(written=written, looked_at=now, worked_at=0.0)
            if not self._is_due(memory, kernel, now):
                continue
            if is_idle(kernel):
                records += self._ask(memory, kernel, now)
            else:
                memory.not_before = now + _FIRST_WAIT_SECONDS
        self._memories = {life: memory for life, memory in self._memories.items() if life in living}
        return records

    def _is_due(self, memory: _Memory, kernel: LiveKernel, now: float) -> bool:
        written = process_table.written_bytes(kernel.pid)
        idle = _IDLE_BYTES_PER_SECOND * (now - memory.looked_at) + _A_WAKING_BYTES
        if written - memory.written > idle:
            memory.worked_at = now
        memory.written, memory.looked_at = written, now
        worked_at = memory.worked_at
        return worked_at is not None and now - worked_at >= _SETTLED_SECONDS and now >= memory.not_before

    def _ask(self, memory: _Memory, kernel: LiveKernel, now: float) -> list[Record]:
        try:
            cells = ask_cells(kernel, since=max(memory.lines, 1))
            if memory.lines and (not cells or cells[0].source != memory.last):
                cells = ask_cells(kernel)  # it has forgotten (`%reset`) and counts anew
        except KernelSilent as error:
            _log.info("kernel %s: %s", kernel.kernel, error.message)
            memory.not_before = now + memory.wait_seconds
            memory.wait_seconds = min(2 * memory.wait_seconds, _LONGEST_WAIT_SECONDS)
            return []
        new = [cell for cell in cells if cell.line != memory.lines or cell.source != memory.last]
        # Nothing new: what it does is no cell. It is asked less and less, for each question counts as activity.
        memory.wait_seconds = _FIRST_WAIT_SECONDS if new else min(2 * memory.wait_seconds, _LONGEST_WAIT_SECONDS)
        memory.not_before = now + (0.0 if new else memory.wait_seconds)
        memory.worked_at = None
        memory.written = process_table.written_bytes(kernel.pid)
        memory.looked_at = self._clock.monotonic()
        if cells:
            memory.lines, memory.last = cells[-1].line, cells[-1].source
        return [self._kept(kernel, cell) for cell in new]

    def _kept(self, kernel: LiveKernel, cell: Remembered) -> Record:
        assert kernel.generation is not None
        assert kernel.session is not None
        return ExecutedCell(
            generation=kernel.generation,
            session=kernel.session,
            line=cell.line,
            source=cell.source,
            seen_at=self._clock.now(),
            origin=CellOrigin.KERNEL,
            output=cell.output,
        )


def _keeps_to_itself(kernel: LiveKernel) -> bool:
    """Whether every database it had is deleted or replaced, or it never had one (and not by its own wish)."""
    files = kernel.databases
    if not files or any(_may_be_gone(file.path, file.inode) for file in files):
        files = databases_of(kernel.pid)
    return not kernel.keeps_nothing and all(file.deleted for file in files)


def _may_be_gone(path: str, inode: int) -> bool:
    import os

    try:
        return os.stat(path).st_ino != inode
    except OSError:
        return True
