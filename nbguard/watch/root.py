"""One root: its events, its sweeps, and what the guard has to know of both."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from datetime import datetime

from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import NoticeKind, RootReport, SaveNotice
from nbguard.watch.guard import EventState, Finding, Pulse, RootLook, RootState
from nbguard.watch.mounts import Mount, has_events, mounts_touching, remote_below, remote_kind
from nbguard.watch.observer import EventSource, Translator
from nbguard.watch.scope import Scope
from nbguard.watch.sweep import Sweeper, Swept

_IN_FLIGHT_NS = 2_000_000_000


class WatchedRoot:
    """The state of one watched root. One thread steps it; watchdog's threads only call the translator, and ``stir``
    when a step is wanted."""

    def __init__(
        self,
        scope: Scope,
        *,
        heads: Heads,
        clock: Clock,
        put: Callable[[SaveNotice], None],
        stir: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = scope.root
        self.scope = scope
        self.sweeper = Sweeper(scope, heads, clock)
        self.state = RootState.GONE
        self.polled_kind: str | None = None
        self.polled_below: tuple[Mount, ...] = ()
        self.foreign = False
        self.overflowed = False
        self.needs_sweep = False
        self.needs_full_sweep = True
        self.needs_second_sweep = False
        self.next_sweep = float("-inf")
        self.last_full_sweep = float("-inf")
        self.last_sweep_at: datetime | None = None
        self.tried_to_watch_all = False
        self.unwatched: set[str] = set()
        self.findings: tuple[Finding, ...] = ()
        self.unreadable: tuple[str, ...] = ()
        self._changed_folders: deque[str] = deque()
        self._heads = heads
        self._clock = clock
        self._put = put
        self._stir = stir
        self._source: EventSource | None = None
        self._begin_failure = EventState(False)
        self._faults = 0
        self._identity: tuple[int, int] | None = None
        self._mounts: frozenset[Mount] = frozenset()
        self._heard: dict[str, float] = {}
        self._announced: dict[str, int] = {}
        self._quiet_since: float | None = None
        self._suspects: set[str] = set()
        self._counted: tuple[object, ...] = ()

    def begin(self, look: RootLook, mounts: tuple[Mount, ...]) -> None:
        """Begin events anew (or polling, where there are none to be had), and ask for a full sweep."""
        self.end()
        real = os.path.realpath(self.path)
        self.state = look.state
        self._identity = look.identity
        self._mounts = mounts_touching(real, mounts)
        self.polled_kind = remote_kind(real, mounts) or (None if has_events() else "no events")
        self.polled_below = remote_below(real, mounts)
        self.needs_full_sweep = True
        self._quiet_since = None
        self._faults = 0
        if self.polled_kind is None:
            self._begin_events(real)

    def _begin_events(self, real: str) -> None:
        translator = Translator(
            covers=lambda path: self.scope.covers(path, self.sweeper.closed),
            put=self._hear,
            folder_changed=self._note_folder,
            clock=self._clock,
            real_root=real,
            named_root=self.path,
        )
        source = EventSource(translator, real, self.scope)
        try:
            source.start()
        except OSError as error:
            at_limit = error.errno in (errno.ENOSPC, errno.EMFILE)
            self._begin_failure = EventState(False, error.strerror or str(error), at_limit=at_limit)
            return
        self._source = source

    def end(self) -> None:
        """Stop events; what is known stays."""
        source, self._source = self._source, None
        if source is not None:
            source.stop()

    def lose(self, state: RootState) -> None:
        """The root is not there or not readable: nothing is watched until it is."""
        self.end()
        self.state = state
        self._identity = None
        self.sweeper.folders.clear()
        self._changed_folders.clear()

    def due_at(self, full_sweep_seconds: float) -> float:
        """When a step has something to do here (monotonic seconds), as far as is known now."""
        if self.state is not RootState.THERE:
            return float("inf")
        if self.needs_sweep or self.needs_full_sweep or self.overflowed or self._changed_folders:
            return float("-inf")
        return min(self.next_sweep, self.last_full_sweep + full_sweep_seconds)

    @property
    def is_sound(self) -> bool:
        """Whether what is missing below may be judged at all."""
        return self.state is RootState.THERE and not self.foreign

    @property
    def is_blind(self) -> bool:
        """Whether saves are found by sweeps alone, all of them or some."""
        return self.polled_kind is not None or self._source is None or bool(self.unwatched)

    def pulse(self, look: RootLook, mounts: tuple[Mount, ...]) -> Pulse:
        """All that the guard judges by."""
        there = look.state is RootState.THERE
        real = os.path.realpath(self.path)
        events = self._source.state() if self._source is not None else self._begin_failure
        if there and self._source is not None:
            self._count_unwatched(events)
        # Cleared before the sweep that answers it: an overflow from now on asks for another.
        overflowed, self.overflowed = self.overflowed, False
        return Pulse(
            look=look,
            was_identity=self._identity,
            polled=self.polled_kind is not None,
            polled_kind=(remote_kind(real, mounts) or (None if has_events() else "no events")) if there else None,
            mounts_changed=there and self._identity is not None and mounts_touching(real, mounts) != self._mounts,
            events=events,
            was_faults=self._faults,
            overflowed=overflowed,
            folders=len(self.sweeper.folders),
            unwatched_folders=len(self.unwatched),
            tried_to_watch_them=self.tried_to_watch_all,
        )

    def note_faults(self) -> None:
        """The faults so far have been answered by a sweep."""
        if self._source is not None:
            self._faults = self._source.state().faults

    def _count_unwatched(self, events: EventState) -> None:
        """Folders without a watch, seen so twice: a folder made or removed this moment is no finding."""
        seen = (events.watches, len(self.sweeper.folders), self.last_sweep_at)
        if self._source is None or events.watches is None or (seen == self._counted and not self._suspects):
            return
        self._counted = seen
        without = {folder for folder in self._source.unwatched(self.sweeper.folders) if os.path.isdir(folder)}
        self.unwatched = without & self._suspects
        self._suspects = without
        if not without:
            self.tried_to_watch_all = False

    def _hear(self, notice: SaveNotice) -> None:
        self._heard[notice.path] = notice.seen_at
        self._put(notice)

    def _note_folder(self, folder: str) -> None:
        self._changed_folders.append(folder)
        self._stir()

    def serve_folders(self) -> list[Swept]:
        """Sweep the folders that appeared or moved since the last time, each once."""
        folders: set[str] = set()
        while self._changed_folders:
            folders.add(self._changed_folders.popleft())
        return [self.announce(self.sweeper.sweep_folder(folder)) for folder in sorted(folders)]

    def sweep(self, now: float, *, full: bool) -> tuple[Swept, int]:
        """One sweep; returns also how many changes no event had told of."""
        began = self._clock.monotonic()
        swept = self.sweeper.sweep(full=full)
        missed = self._count_missed(swept) if self._quiet_since is not None else 0
        self.announce(swept)
        self.unreadable = tuple(sorted(set(swept.unreadable)))
        self.last_sweep_at = self._clock.now()
        self.needs_sweep = False
        if full:
            self.last_full_sweep = now
            self.needs_full_sweep = False
        self.foreign = self._is_foreign(swept)
        horizon = self._quiet_since if self._quiet_since is not None else began
        for path in [path for path, at in self._heard.copy().items() if at < horizon]:
            self._heard.pop(path, None)
        self._quiet_since = began
        return swept, missed

    def announce(self, swept: Swept) -> Swept:
        """Hand on what a sweep found."""
        now = self._clock.monotonic()
        self._announced = {found.path: found.changed_ns for found in swept.found}
        for found in swept.found:
            self._put(SaveNotice(found.path, found.kind, now))
        return swept

    def _count_missed(self, swept: Swept) -> int:
        """Changes older than the last moments, not heard of since before the last sweep, and not told before."""
        if self._source is None:
            return 0
        old = int(self._clock.now().timestamp() * 1e9) - _IN_FLIGHT_NS
        return sum(
            1
            for found in swept.found
            if found.kind is NoticeKind.SWEPT
            and found.changed_ns < old
            and found.path not in self._heard
            and self._announced.get(found.path) != found.changed_ns
        )

    def _is_foreign(self, swept: Swept) -> bool:
        """Whether another file system lies where the root was: none of its notebooks is there, and all were kept
        from another device."""
        if swept.gone == 0 or swept.gone < swept.known_before:
            return False
        try:
            device = os.stat(self.path).st_dev
        except OSError:
            return True
        devices = {
            self.sweeper.follow_device(head.parent_device)
            for head in self._heads.alive()
            if head.parent_device is not None and head.path.startswith(self.scope.prefix)
        }
        return bool(devices) and device not in devices

    def report(self) -> RootReport:
        """How this root is watched now."""
        events = self._source.state() if self._source is not None else None
        mode = "events" if events is not None else "polling"
        if self.state is not RootState.THERE or self.foreign:
            mode = "gone"
        note = ""
        if self.polled_kind is not None:
            note = f"{self.polled_kind}: no file events, looked at again and again"
        elif self.polled_below:
            note = "polled: " + ", ".join(f"{mount.point} ({mount.kind})" for mount in self.polled_below)
        return RootReport(
            path=self.path,
            mode=mode,
            notebooks=self.sweeper.notebooks,
            watches=(events.watches or 0) if events is not None else 0,
            last_sweep_at=self.last_sweep_at,
            note=note,
        )


def look_at_root(path: str) -> RootLook:
    """Whether the root is there and can be listed."""
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return RootLook(RootState.GONE, reason="it is not a folder")
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        state = RootState.UNREADABLE if error.errno in (errno.EACCES, errno.EPERM) else RootState.GONE
        return RootLook(state, reason=error.strerror or str(error))
    return RootLook(RootState.THERE, (status.st_dev, status.st_ino))
