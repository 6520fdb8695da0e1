"""The worker that ties sessions to notebooks while their kernels live. Each kernel is asked once in its life.

What it costs: while kernels live, a few calls of stat every second and a half; a look at all processes, and at what
servers have open, once a minute and when something changed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from nbguard.clock import Clock
from nbguard.errors import NbguardError
from nbguard.executed import Link, Record
from nbguard.history import process_table
from nbguard.history.asking import prepare
from nbguard.history.identifying import TICK_SECONDS, Identifying, IsSound, Known, may_be_asked
from nbguard.history.kernels import LiveKernel
from nbguard.history.links import (
    Belonging,
    Chain,
    Place,
    Seen,
    Served,
    new_links,
    places_of,
)
from nbguard.history.population import Population
from nbguard.history.process_table import Life
from nbguard.history.remembering import Remembering
from nbguard.history.served import UNHEARD, Servers, Told
from nbguard.ports import RecordLog

_log = logging.getLogger(__name__)

__all__ = ["TICK_SECONDS", "GenerationOf", "Linking"]

GenerationOf = Callable[[int, int, int], str | None]
"""The generation of (device, inode, session number); None while its database was not read."""

_SERVERS_SECONDS: Final = 60.0
# After a notebook's file changed its place, the watcher needs some seconds to understand how.
_LOOKS_AFTER_MOVE_SECONDS: Final = (2.0, 4.0, 8.0, 16.0)


class Linking:
    """One worker steps it; ``kernels`` may be called from any thread."""

    def __init__(
        self,
        *,
        population: Population,
        log: RecordLog,
        clock: Clock,
        generation_of: GenerationOf,
        chain: Chain,
        known_links: Callable[[], Sequence[Link]],
        stopped_writing: Callable[[], Iterable[Life]] = tuple,
        is_sound: IsSound = lambda device, inode: True,
    ) -> None:
        self._population = population
        self._log = log
        self._clock = clock
        self._generation_of = generation_of
        self._chain = chain
        self._known_links = known_links
        self._before: dict[str, list[Link]] | None = None
        self._identifying = Identifying(clock, is_sound)
        self._remembering = Remembering(clock, stopped_writing)
        self._servers = Servers()
        self._servers_due = float("-inf")
        self._lives: dict[Life, Known] = {}
        self._pending: list[Record] = []
        self._unread: set[str] = set()
        self._is_prepared = False
        self._facts: tuple[tuple[LiveKernel, tuple[Place, ...], int, str | None], ...] = ()
        self._present: tuple[LiveKernel, ...] = ()

    def kernels(self) -> tuple[LiveKernel, ...]:
        """Every kernel that lives, with its present notebook, and its session once that is known.

        One that serves several notebooks is there once for each.
        """
        return self._present

    @property
    def is_resting(self) -> bool:
        """Whether there is nothing to do before something changes in ``runtimes``, or until the next scan."""
        return self._population.is_settled and not self._lives and not self._present and not self._pending

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Folders that change when a kernel starts."""
        return self._population.runtimes

    def last_line(self, life: Life) -> int:
        """How far a kernel that was asked for its memory remembers; 0 when it was not asked. From any thread."""
        return self._remembering.last_line(life)

    def step(self) -> None:
        """Look once. Raises StorageTrouble: what could not be kept is kept at the next step."""
        self._flush()
        self._population.refresh()
        now = self._clock.monotonic()
        has_news = self._meet(now)
        self._identifying.notice_work(self._lives.values(), now)
        asking = [known for known in self._lives.values() if may_be_asked(known, now)]
        moved = self._notice_moves(now)
        if self._lives and (has_news or asking or moved or now >= self._servers_due):
            told = self._servers.ask(self._population.runtimes)
            self._servers_due = now + _SERVERS_SECONDS
            for known in asking:
                in_memory = self._identifying.ask_if_idle(known, told, now)
                self._pending += [in_memory] if in_memory is not None else []
            for known in self._lives.values():
                self._look_where(known, told)
        if self._has_changed():
            for known in self._lives.values():
                self._link(known)
            self._flush()
            self._present = tuple(_presented(known) for known in self._lives.values() for known in _by_place(known))
        self._pending += self._remembering.step(self._present, self._is_idle)
        self._flush()

    def _has_changed(self) -> bool:
        """Whether anything is known that was not at the last step, or still waits for a generation."""
        facts = tuple((known.kernel, known.places, known.session, known.generation) for known in self._lives.values())
        is_same = facts == self._facts
        self._facts = facts
        return not is_same or any(known.session >= 0 and known.generation is None for known in self._lives.values())

    # -- who lives -------------------------------------------------------------------------------------------------

    def _meet(self, now: float) -> bool:
        """Take in new lives and let go of ended ones; whether there was any new one."""
        kernels = {kernel.life: kernel for kernel in self._population.kernels}
        new = [kernel for life, kernel in kernels.items() if life not in self._lives]
        self._lives = {life: known for life, known in self._lives.items() if life in kernels}
        for life, known in self._lives.items():
            known.kernel = kernels[life]
        for kernel in new:
            if not self._is_prepared:
                prepare()  # now: later the files may be gone, with the rest of HOME
                self._is_prepared = True
            written = process_table.written_bytes(kernel.pid)
            known = Known(kernel, met_at=now, worked_at=now, written=written, looked_at=now, ran_at=now)
            self._lives[kernel.life] = known
            self._remember(known)
        return bool(new)

    def _remember(self, known: Known) -> None:
        """What was kept of this life by an earlier daemon: it is not asked again."""
        if self._before is None:
            self._before = {}
            try:
                for link in self._known_links():
                    if link.kernel is not None:
                        self._before.setdefault(link.kernel, []).append(link)
            except NbguardError as error:
                _log.warning("earlier links cannot be read, so kernels are asked again: %s", error.message)
        kernel = known.kernel
        started_at = _utc(kernel.started_at) - timedelta(seconds=2)  # a clock that is set moves starts a little
        for link in self._before.get(kernel.kernel, ()):
            if link.pid == kernel.pid and link.seen_at >= started_at and link.session is not None:
                known.session, known.generation = link.session, link.generation
                known.links = [other for other in known.links if other.path != link.path]
                known.links.append(link)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _is_idle(self, kernel: LiveKernel) -> bool:
        told = self._servers.ask(self._population.runtimes)
        return told.state_of(kernel.kernel, kernel.server_pid) in ("idle", "", UNHEARD)

    # -- where -----------------------------------------------------------------------------------------------------

    def _notice_moves(self, now: float) -> bool:
        """Whether some notebook's file has left its place, and how is to be found out now."""
        is_due = False
        for known in self._lives.values():
            for place in known.places:
                if place.path is None:
                    continue
                identity = _identity(place.path)
                if identity != known.identities.get(place.path):
                    known.identities[place.path] = identity
                    known.looks_due = [now + seconds for seconds in _LOOKS_AFTER_MOVE_SECONDS]
            if known.looks_due and now >= known.looks_due[0]:
                known.looks_due = [due for due in known.looks_due if due > now]
                known.chains.clear()
                is_due = True
        return is_due

    def _look_where(self, known: Known, told: Told) -> None:
        kernel, seen_at = known.kernel, self._clock.now()
        sessions = told.sessions.get(kernel.kernel, ())
        is_heard = bool(sessions) or kernel.server_pid in told.heard
        if not is_heard and known.served_since:
            return  # it told us before, and does not now: what it said stands
        served = tuple(
            Served(session.path, session.kind, known.served_since.setdefault(session.path, seen_at))
            for session in sessions
        )
        seen = Seen(
            frontend=kernel.frontend,
            told=kernel.path,
            started_at=_utc(kernel.started_at),
            served=served if is_heard else None,
        )
        known.places = places_of(seen, self._chain_of(known), os.path.lexists)
        for place in known.places:
            if place.path is not None and place.path not in known.identities:
                known.identities[place.path] = _identity(place.path)

    def _chain_of(self, known: Known) -> Chain:
        """The chain, asked for again only when a file has moved: it is read from the catalog."""

        def chain(path: str, at: datetime) -> Sequence[str]:
            found = known.chains.get((path, at))
            if found is None:
                try:
                    found = self._chain(path, at)
                except NbguardError as error:
                    if path not in self._unread:  # an archive that is gone is not told of every second and a half
                        self._unread.add(path)
                        _log.warning("renames of %r cannot be read: %s", path, error.message)
                    return ()
                known.chains[path, at] = found
            return found

        return chain

    # -- keeping ---------------------------------------------------------------------------------------------------

    def _link(self, known: Known) -> None:
        """Keep what is new about a session's notebooks; of another language's kernel, about the kernel's."""
        kernel = known.kernel
        if known.session >= 0 and known.generation is None and known.file is not None:
            known.generation = self._generation_of(*known.file, known.session)
        is_session = known.generation is not None
        if not (is_session or not kernel.is_ipython) or not known.places:
            return
        belonging = Belonging(
            kernel=kernel.kernel,
            pid=kernel.pid,
            generation=known.generation,
            session=known.session if is_session else None,
            since=_utc(kernel.started_at),
        )
        links = new_links(belonging, known.links, known.places, self._clock.now())
        if links:
            self._pending += links
            replaced = {link.path for link in links}
            known.links = [link for link in known.links if link.path not in replaced] + links

    def _flush(self) -> None:
        if self._pending:
            self._log.append(self._pending)
            self._pending = []


def _by_place(known: Known) -> Iterable[Known]:
    """``known`` once for each notebook that it serves."""
    return (replace(known, places=(place,)) for place in known.places) if len(known.places) > 1 else (known,)


def _presented(known: Known) -> LiveKernel:
    is_session = known.generation is not None
    kernel = replace(known.kernel, generation=known.generation, session=known.session if is_session else None)
    if not known.places:
        return kernel
    return replace(kernel, path=known.places[0].path, frontend=known.places[0].frontend)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
