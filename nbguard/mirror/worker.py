"""Every mirror in turn: when it is due, one try; what came of it is remembered. Used by the daemon and by commands."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nbguard.alerting import MirrorReport
from nbguard.clock import Clock
from nbguard.durable import FileLock, make_private_folder
from nbguard.errors import Busy, NbguardError, ReadBackFailed
from nbguard.mirror import backoff
from nbguard.mirror.addresses import Address, Transport, parse_address
from nbguard.mirror.child import MirrorTrouble, Patience, Stopped
from nbguard.mirror.folder import check_folder, device_of, make_durable, remove_stale_locks, trouble_of, trouble_of_disk
from nbguard.mirror.layout import Namespace
from nbguard.mirror.push import MirrorForeign, Ours, Push
from nbguard.mirror.reader import Mirrored
from nbguard.mirror.remote import Remote
from nbguard.mirror.standing import MirrorState
from nbguard.mirror.state import Known, StateFile, key_of
from nbguard.mirror.verify import Sample, read_back, read_every_byte, read_whole
from nbguard.ports import Progress
from nbguard.settings import Mirror

_log = logging.getLogger(__name__)
_SAMPLES = 8
_SAMPLES_ASKED = 32
_SAMPLE_SECONDS = 3_600.0  # over a network, a sample costs a connection of its own
_IDLE_SAMPLE_SECONDS = 86_400.0
_WHOLE_SECONDS = 604_800.0
_STALE_LOCK_SECONDS = 3_600.0  # git holds one while it writes forty bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the rounds are given. ``tips`` are (main, records) as they are to be mirrored, ``network`` what the machine
    is connected to now, ``ours`` everything that is pushed; ``samples`` are so many versions of the archive, at random.
    """

    tips: Callable[[], tuple[str | None, str | None]]
    ours: Callable[[], Ours]
    samples: Callable[[int], Sequence[Sample]]
    network: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Where things are: the archive's repository, our state folder, and what is the user's (environment, home)."""

    archive: str
    state: str
    environment: Mapping[str, str]
    home: str


class Rounds:
    """Use it from one thread. ``stop`` ends whatever goes on."""

    def __init__(
        self, mirrors: Sequence[Mirror], *, sources: Sources, around: Around, clock: Clock, stop: threading.Event
    ) -> None:
        # Disks first: a server that hangs shall not keep a copy at hand waiting.
        self._mirrors = sorted(mirrors, key=lambda mirror: not mirror.url.startswith(("/", "~", "file:")))
        self._sources = sources
        self._around = around
        self._clock = clock
        self._stop = stop
        self._file = StateFile(around.state)
        self._patience = Patience()

    def step(self) -> float:
        """Try every mirror that is due; how many seconds until the next may be. Raises OSError of our own disk."""
        soonest = backoff.LONGEST_PAUSE_SECONDS
        for mirror in self._mirrors:
            if self._stop.is_set():
                break
            wait = self._due_in(mirror)
            if wait <= 0:
                try:
                    self.try_one(mirror)
                except Busy:
                    wait = backoff.FIRST_PAUSE_SECONDS
                except NbguardError as error:
                    _log.warning("mirror %s: %s", mirror.name, error.message)
                wait = max(wait, self._due_in(mirror), 1.0)
            soonest = min(soonest, wait)
        return soonest

    def try_one(self, mirror: Mirror, *, whole: bool = False, progress: Progress | None = None) -> MirrorState:
        """Push, verify and remember; with ``whole`` also read everything, where that can be done.

        Raises Busy while another process is at it, UsageError for an address that is none, MirrorForeign,
        MirrorTrouble, ReadBackFailed, Stopped.
        """
        make_private_folder(self._around.state)
        with FileLock(os.path.join(self._around.state, f"mirror-{mirror.name}.lock")):
            return self._try(mirror, whole, progress)

    def _try(self, mirror: Mirror, whole: bool, progress: Progress | None) -> MirrorState:
        key = key_of(mirror.name, mirror.url)
        state = self._noting_behind(key, self._file.of(key))
        push: Push | None = None
        try:
            address = parse_address(mirror.url, home=self._around.home)
            if address.path is not None:
                path = address.path
                self._patience.ask(path, lambda: check_folder(path))
            # Before the tips are read: then all of them are in what is pushed.
            samples = self._chosen_samples(state, whole=whole)
            ours = self._sources.ours()
            if address.path is not None:
                path, before = address.path, self._clock.now().timestamp() - _STALE_LOCK_SECONDS
                self._patience.ask(path, lambda: remove_stale_locks(path, ours.namespace, before))
            with self._remote(address) as remote:
                push = Push(
                    remote,
                    ours,
                    state,
                    written=self._written(),
                    clock=self._clock,
                    read_small=lambda ref, name: self._read_small(address, ref, name),
                    remember=lambda changed: self._file.put(key, changed),
                    progress=progress,
                )
                pushed = push.run()
                state = push.state
                if ours.has_archive:
                    state = self._verify(remote, state, samples, ours.namespace, pushed=pushed, whole=whole)
            state = backoff.after_success(state, now=self._clock.now(), has_archive=ours.has_archive)
        except Stopped:
            if push is not None:
                self._file.put(key, push.state)
            raise
        except (NbguardError, OSError) as error:
            trouble = trouble_of(error) if isinstance(error, OSError) else error
            self._file.put(key, self._failed(mirror, state if push is None else push.state, trouble))
            raise trouble from error
        self._file.put(key, state)
        return state

    def _written(self) -> frozenset[str]:
        """Over all mirrors: two addresses may lead to one place."""
        return frozenset(oid for state in self._file.read().mirrors.values() for oid in state.written)

    def _failed(self, mirror: Mirror, state: MirrorState, trouble: NbguardError) -> MirrorState:
        now = self._clock.now()
        foreign = trouble.what if isinstance(trouble, MirrorForeign) else ""
        if isinstance(trouble, ReadBackFailed):  # what is there cannot be counted on, and is to be read again
            state = replace(state, behind_since=state.behind_since or now, sampled_at=None, read_whole_at=None)
        return backoff.after_failure(
            state, now=now, trouble=self._words(mirror, trouble), network=self._surroundings(mirror), foreign=foreign
        )

    def _words(self, mirror: Mirror, trouble: NbguardError) -> str:
        """git's own words, with what can be seen of the disk."""
        if not isinstance(trouble, MirrorTrouble):
            return trouble.message
        try:
            path = parse_address(mirror.url, home=self._around.home).path
            disk = "" if path is None else self._patience.ask(path, lambda: trouble_of_disk(path))
        except NbguardError:
            disk = ""
        return f"{trouble.message}; {disk}" if disk else trouble.message

    def _remote(self, address: Address) -> Remote:
        around = self._around
        return Remote(
            address,
            archive=around.archive,
            state=around.state,
            environment=around.environment,
            home=around.home,
            stop=self._stop,
        )

    def _read_small(self, address: Address, ref: str, name: str) -> bytes:
        reader = Mirrored(address, environment=self._around.environment, home=self._around.home)
        return reader.files({"it": (ref, name)})["it"]

    def _chosen_samples(self, state: MirrorState, *, whole: bool) -> Sequence[Sample]:
        is_due = whole or self._is_behind(state) or _is_old(state.sampled_at, self._clock.now(), _IDLE_SAMPLE_SECONDS)
        return self._sources.samples(_SAMPLES_ASKED if whole else _SAMPLES) if is_due else ()

    def _verify(
        self,
        remote: Remote,
        state: MirrorState,
        samples: Sequence[Sample],
        namespace: Namespace,
        *,
        pushed: bool,
        whole: bool,
    ) -> MirrorState:
        """Read back what is due to be read. Raises ReadBackFailed."""
        now, path = self._clock.now(), remote.address.path
        often = 0.0 if path is not None else _SAMPLE_SECONDS
        if path is not None and pushed:
            self._patience.ask(path, lambda: make_durable(path, namespace))
        if whole or _is_old(state.sampled_at, now, often if pushed else _IDLE_SAMPLE_SECONDS):
            around = self._around
            how = read_back(remote, samples, archive=around.archive, state=around.state)
            state = replace(state, sampled_at=now, verified_by=how)
        if path is not None and (whole or _is_old(state.read_whole_at, now, _WHOLE_SECONDS)):
            if whole:
                read_whole(path, state=self._around.state, stop=self._stop)
            else:
                read_every_byte(path, stop=self._stop)
            state = replace(state, read_whole_at=now)
        return state

    def _due_in(self, mirror: Mirror) -> float:
        key = key_of(mirror.name, mirror.url)
        before = self._file.of(key)
        state = self._noting_behind(key, before)
        network = self._surroundings(mirror) if state.failures else ""
        return backoff.due_in_seconds(state, now=self._clock.now(), is_behind=self._is_behind(state), network=network)

    def _surroundings(self, mirror: Mirror) -> str:
        """What has to change before a mirror that failed is tried early: another network, or its disk is back."""
        try:
            path = parse_address(mirror.url, home=self._around.home).path
            return self._sources.network() if path is None else self._patience.ask(path, lambda: device_of(path))
        except NbguardError:
            return ""

    def _is_behind(self, state: MirrorState) -> bool:
        return self._sources.tips() not in ((None, None), (state.main, state.records))

    def _noting_behind(self, key: str, state: MirrorState) -> MirrorState:
        """From now on it lacks something: noted at once, so that being late counts from here over a restart."""
        if state.behind_since is not None or not self._is_behind(state):
            return state
        state = replace(state, behind_since=self._clock.now())
        self._file.put(key, state)
        return state


def report_of(mirror: Mirror, known: Known, *, home: str) -> MirrorReport:
    """One mirror as it stood when it was last tried."""
    state = known.mirrors.get(key_of(mirror.name, mirror.url), MirrorState())
    return MirrorReport(
        name=mirror.name,
        address=shown(mirror.url, home),
        tried_at=state.tried_at,
        verified_at=state.verified_at,
        behind_since=state.behind_since,
        trouble=state.trouble,
        foreign=state.foreign,
    )


def shown(url: str, home: str) -> str:
    """An address without secrets, also one that is none."""
    try:
        return parse_address(url, home=home).shown
    except NbguardError:
        from nbguard.masking import masked_remote

        return masked_remote(url)


def stays_here(url: str, home: str) -> bool:
    """Whether an address is a path. Raises UsageError."""
    return parse_address(url, home=home).transport is Transport.PATH


def _is_old(at: datetime | None, now: datetime, seconds: float) -> bool:
    return at is None or not timedelta(0) <= now - at < timedelta(seconds=seconds)
