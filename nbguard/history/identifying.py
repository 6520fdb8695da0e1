"""Which session a living kernel is in: noticed when it has worked, asked when it is idle, once in its life."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from nbguard.clock import Clock
from nbguard.executed import Generation, Link
from nbguard.history import process_table
from nbguard.history.asking import KernelSilent, ask_now
from nbguard.history.kernels import LiveKernel, databases_of
from nbguard.history.links import Place, Willingness, may_ask
from nbguard.history.served import UNHEARD, Told

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.5
# A history row is written in pages. Where no row is written, a cell still wakes threads, a few bytes each time; an idle
# kernel does so twice a second.
_A_ROW_BYTES: Final = 4096
_IDLE_BYTES_PER_SECOND: Final = 20.0
_A_WAKING_BYTES: Final = 40.0
_STILL_SECONDS: Final = 3.0
_PATIENCE_SECONDS: Final = 60.0
_LONGEST_WAIT_SECONDS: Final = 20.0
_MOST_FAILURES: Final = 5


@dataclass(slots=True)
class Known:
    """What we know of one life of a kernel. ``session`` is -1 until it was asked."""

    kernel: LiveKernel
    met_at: float
    worked_at: float | None
    written: int = 0
    looked_at: float = 0.0
    ticks: int = 0
    ran_at: float = 0.0
    not_before: float = 0.0
    wait_seconds: float = TICK_SECONDS
    failures: int = 0
    session: int = -1
    file: tuple[int, int] | None = None
    generation: str | None = None
    links: list[Link] = field(default_factory=list)
    places: tuple[Place, ...] = ()
    served_since: dict[str, datetime] = field(default_factory=dict)
    chains: dict[tuple[str, datetime], Sequence[str]] = field(default_factory=dict)
    identities: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    looks_due: list[float] = field(default_factory=list)

    @property
    def is_unknown(self) -> bool:
        """Whether its session is still to be asked for."""
        kernel = self.kernel
        return self.session < 0 and kernel.is_ipython and kernel.connection is not None and not kernel.keeps_nothing


IsSound = Callable[[int, int], bool]
"""Whether a database (device, inode) was read without trouble."""


class Identifying:
    """Use it from the thread that steps the links."""

    def __init__(self, clock: Clock, is_sound: IsSound) -> None:
        self._clock = clock
        self._is_sound = is_sound
        self._stamps: dict[str, int] = {}

    def notice_work(self, lives: Iterable[Known], now: float) -> None:
        """Which kernels may have run their first cell: looked at only when their database changed."""
        unknown = [known for known in lives if known.is_unknown]
        stamps = {file.path: _stamp(file.path) for known in unknown for file in known.kernel.databases}
        for known in unknown:
            ticks = process_table.processor_ticks(known.kernel.pid)
            if ticks > known.ticks + 1:
                known.ran_at = now
            known.ticks = ticks
            in_place = [stamps[file.path] for file in known.kernel.databases if stamps[file.path]]
            before = [self._stamps.get(file.path) for file in known.kernel.databases if stamps[file.path]]
            if in_place and in_place == before:
                continue
            written = process_table.written_bytes(known.kernel.pid)
            idle = _IDLE_BYTES_PER_SECOND * (now - known.looked_at) + _A_WAKING_BYTES
            if written - known.written >= (_A_ROW_BYTES if in_place else idle):
                known.worked_at = now
            if known.worked_at is not None or not in_place:
                known.written, known.looked_at = written, now
        self._stamps = stamps

    def ask_if_idle(self, known: Known, told: Told, now: float) -> Generation | None:
        """Ask, if its server says it is idle; the generation of a kernel that keeps its history to itself."""
        state = told.state_of(known.kernel.kernel, known.kernel.server_pid)
        if state in ("", UNHEARD):
            # Nobody knows whether it is at work: one that uses no processor is taken for idle.
            is_still = now - known.ran_at >= _STILL_SECONDS
            is_patient = state == UNHEARD or now - (known.worked_at or now) < _PATIENCE_SECONDS
            state = "busy" if not is_still and is_patient else ""
        if may_ask(Willingness(worked_at=known.worked_at, not_before=known.not_before, state=state), now):
            return self._ask(known, now)
        if state == "busy":
            known.not_before = now + known.wait_seconds
            known.wait_seconds = min(2 * known.wait_seconds, _LONGEST_WAIT_SECONDS)
        return None

    def _ask(self, known: Known, now: float) -> Generation | None:
        """The one question. A kernel that has run nothing is asked again once it has."""
        kernel = known.kernel = replace(known.kernel, databases=databases_of(known.kernel.pid))
        file = kernel.database
        in_place = file is not None and not file.deleted
        is_sound = file is not None and self._is_sound(file.device, file.inode)
        if in_place and not is_sound:
            known.not_before = now + TICK_SECONDS  # IPython would move one away that it cannot read
            return None
        # One that was deleted can still be read; but another one at its place would be moved away if that went wrong.
        has_database = file is not None and is_sound and (in_place or not os.path.lexists(file.path))
        assert kernel.connection is not None
        try:
            answer = ask_now(kernel.connection, has_database=has_database)
        except KernelSilent as error:
            _log.info("kernel %s: %s", kernel.kernel, error.message)
            known.failures += 1
            known.not_before = now + 5.0 * 2**known.failures
            if known.failures >= _MOST_FAILURES:
                known.worked_at, known.failures = None, 0
            return None
        known.wait_seconds = TICK_SECONDS
        if answer.last.line < 1 or (answer.session is None and in_place):
            known.worked_at = None
            known.written, known.looked_at = process_table.written_bytes(kernel.pid), self._clock.monotonic()
            return None
        known.session = answer.session or 1
        if answer.session is not None and file is not None:
            known.file = file.device, file.inode
            return None
        known.generation = generation_in_memory(kernel)
        return Generation(
            id=known.generation,
            path=":memory:",
            device=0,
            inode=0,
            first_started_at="",
            seen_at=self._clock.now(),
        )


def generation_in_memory(kernel: LiveKernel) -> str:
    """The id of the generation that one life of a kernel keeps to itself."""
    text = f"memory:{kernel.kernel}:{kernel.pid}:{kernel.life.start}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def may_be_asked(known: Known, now: float) -> bool:
    """Whether it is time to see if a kernel is idle, and then to ask it."""
    if not known.is_unknown:
        return False
    return may_ask(Willingness(worked_at=known.worked_at, not_before=known.not_before, state=""), now)


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
