"""The state in this process's hands: read when it changed, changed under the lock, written when it must be.

A state that cannot be written is kept here, and used, until it can. One that cannot be read is never written over.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace

from nbguard.alert.incidents import observe
from nbguard.alert.state import Instant, Seen, State, instant
from nbguard.alert.store import AlertStore, Mark
from nbguard.alerting import Observation, Observer, Weighed, Weight
from nbguard.clock import Clock
from nbguard.errors import NbguardError
from nbguard.model import Problem

_log = logging.getLogger(__name__)


class Keeping:
    """One process's view of the store; use it from one thread at a time."""

    def __init__(
        self, store: AlertStore, *, clock: Clock, boot: str, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._store = store
        self._clock = clock
        self._boot = boot
        self._random = random
        self._cached: State | None = None
        self._mark: Mark | None = None
        self._unsaved = False
        self._may_write = True
        self.trouble: NbguardError | None = None

    def new_id(self) -> str:
        return self._random(6).hex()

    def look(self) -> tuple[State, Instant]:
        """The state, and now. One stat, while nobody has written it."""
        if self._cached is None or not self.is_fresh():
            with self._store.locked():
                self._read(only_looks=True)
        assert self._cached is not None
        return self._cached, self._reading(self._cached)[0]

    def is_fresh(self) -> bool:
        """Whether what this process has in memory is what lies in the store."""
        return self._mark is not None and not self._unsaved and self._mark == self._store.mark()

    def change(self, change: Callable[[State, Instant], State]) -> None:
        """Read, change and write, under the lock; nothing is written when nothing changed.

        ``change`` may be asked twice, for whether it changes anything is tried in memory first: that costs no lock.
        """
        if self._cached is not None and self.is_fresh():
            now, _ = self._reading(self._cached)
            if change(self._cached, now) == self._cached:
                return
        with self._store.locked():
            state = self._read()
            now, seen = self._reading(state)
            after = change(state, now)
            if after != state or self._unsaved:
                self._write(replace(after, seen=seen))

    def _read(self, *, only_looks: bool = False) -> State:
        mark = self._store.mark()
        if self._cached is not None and self._mark == mark:
            return self._cached
        try:
            loaded = self._store.load(only_looks=only_looks)
        except NbguardError as error:
            self._note(error)
            self._may_write, self._mark = False, None
            self._cached = self._cached or self._new_state()
            return self._cached
        self._may_write = True
        self._unsaved = self._unsaved and loaded.state is None
        state = loaded.state or self._cached or self._new_state()
        if loaded.damaged:
            state = self._with_damage(state, loaded.damaged, is_lost=loaded.state is None)
        # What was found damaged by a look is found again, and put aside, by the next change: it must be told.
        self._cached, self._mark = state, None if loaded.damaged and only_looks else self._store.mark()
        return state

    def _write(self, state: State) -> None:
        if self._may_write:
            try:
                state = self._store.save(state)
                self._unsaved, self.trouble = False, None
            except NbguardError as error:
                self._note(error)
                self._unsaved = True
            self._mark = self._store.mark()
        self._cached = state

    def _note(self, error: NbguardError) -> None:
        if self.trouble is None or self.trouble.message != error.message:
            _log.error("%s", error.message)
        self.trouble = error

    def _with_damage(self, state: State, damaged: str, *, is_lost: bool) -> State:
        _log.error("the record of alerts was damaged: %s", damaged)
        lost = "it begins anew: every channel is to be answered once more" if is_lost else "a copy had it all"
        now, _ = self._reading(state)
        problem = Problem(
            code="alerts-damaged",
            message=f"the record of what was told to whom could not be read ({damaged}); {lost}",
            hint="check the disk; the unreadable file was kept",
            since=now.at,
        )
        observation = Observation(
            observer=Observer.DAEMON,
            at=now.at,
            boot=self._boot,
            boottime_ns=0,
            found=(Weighed(problem=problem, weight=Weight.GAP if is_lost else Weight.WARNING),),
            sees=frozenset(),
        )
        self._unsaved = True
        return observe(state, observation, now, self.new_id)

    def _new_state(self) -> State:
        return State(salt=self._random(16).hex())

    def _reading(self, state: State) -> tuple[Instant, Seen]:
        at, boottime_ns = self._clock.now(), self._clock.boottime_ns()
        now = instant(state.seen, at=at, boot=self._boot, boottime_ns=boottime_ns)
        return now, Seen(seconds=now.seconds, at=at, boot=self._boot, boottime_ns=boottime_ns)
