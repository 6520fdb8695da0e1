"""Where facts come from, and how long things may take: what the composition root wires for `status` and `check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.alerting import ChannelReport, MirrorReport, Weighed
from nbguard.clock import Clock, SystemClock
from nbguard.errors import NbguardError
from nbguard.health.compare import digest_file
from nbguard.health.facts import Allowances, ServiceFacts, SpoolFacts
from nbguard.health.heartbeat import read_heartbeat
from nbguard.health.memory import CHECKS_FILE, CheckMemory, read_memory
from nbguard.health.places_seen import is_locked
from nbguard.health.remembered import Run
from nbguard.model import Head, Heartbeat, Problem, Signature
from nbguard.places import Places
from nbguard.processes import boot_id, is_alive
from nbguard.settings import Settings

_DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from. ``walk`` gives the notebooks in scope under the given roots; it must not raise for a
    root that is gone; ``unreadable`` then names the folders it was kept out of. ``heads`` and ``spool`` may raise
    NbguardError, which becomes a fact itself. ``rehash`` picks notebooks that are read although nothing says that they
    changed; ``excused`` says whether a daemon that began then is down by our own doing. ``deadline_seconds`` is for
    each of these."""

    places: Places
    settings: Settings | None
    walk: Callable[[Sequence[str]], Mapping[str, Signature]]
    heads: Callable[[], Sequence[Head]]
    spool: Callable[[], SpoolFacts]
    clock: Clock
    boot: str
    heartbeat: Callable[[], Heartbeat | None]
    pid_alive: Callable[[int], bool]
    lock_held: Callable[[], bool]
    digest: Callable[[str], str | None]
    bad_configuration: NbguardError | None = None
    unreadable: Callable[[], Sequence[str]] = tuple
    wiped: Callable[[], Sequence[Problem]] = tuple
    noted: Callable[[], Sequence[Problem]] = tuple
    rehash: Callable[[str], bool] = field(default=lambda path: False)
    reserve: Callable[[int], int] = field(default=lambda total: 0)
    excused: Callable[[datetime | None], bool] = field(default=lambda began: False)
    bad_starts: Callable[[], int] = field(default=lambda: 0)
    service: Callable[[], ServiceFacts | None] = field(default=lambda: None)
    channels: Callable[[], Sequence[ChannelReport]] = tuple
    about_channels: Callable[[], Sequence[Weighed]] = tuple
    mirrors: Callable[[], Sequence[MirrorReport]] = tuple
    memory: Callable[[], CheckMemory] = CheckMemory
    deadline_seconds: float = _DEADLINE_SECONDS


def system_sources(
    places: Places,
    settings: Settings | None,
    *,
    walk: Callable[[Sequence[str]], Mapping[str, Signature]],
    heads: Callable[[], Sequence[Head]],
    spool: Callable[[], SpoolFacts],
    bad_configuration: NbguardError | None = None,
    unreadable: Callable[[], Sequence[str]] = tuple,
    wiped: Callable[[], Sequence[Problem]] = tuple,
) -> Sources:
    """Sources on this machine; only what other rooms know must be handed in."""
    return Sources(
        places=places,
        settings=settings,
        walk=walk,
        heads=heads,
        spool=spool,
        clock=SystemClock(),
        boot=boot_id(),
        heartbeat=lambda: read_heartbeat(places.heartbeat),
        pid_alive=is_alive,
        lock_held=lambda: is_locked(places.daemon_lock),
        digest=digest_file,
        bad_configuration=bad_configuration,
        unreadable=unreadable,
        wiped=wiped,
        memory=lambda: read_memory(os.path.join(places.state, CHECKS_FILE)),
    )


def allowances(settings: Settings | None) -> Allowances:
    """How long things may take, as the configured intervals have it (defaults: 60 s, 60 s, 10 min, 31 min)."""
    settings = settings or Settings()
    intervals, limits, checks = settings.intervals, settings.limits, settings.checks
    # A few beats may be late; one that is not due yet is not.
    heartbeat_seconds = max(
        2.0, 2.5 * intervals.heartbeat_seconds, min(checks.down_seconds, 6 * intervals.heartbeat_seconds)
    )
    return Allowances(
        heartbeat_seconds=heartbeat_seconds,
        quiet_seconds=max(5.0, intervals.sweep_seconds / 4),
        stalled_seconds=max(20.0, 2.5 * intervals.sweep_seconds),
        pack_seconds=2 * intervals.pack_seconds + heartbeat_seconds,
        slow_interval_seconds=limits.slow_interval_seconds,
        slow_over_bytes=limits.slow_over_bytes,
        refuse_over_bytes=limits.refuse_over_bytes,
        mirror_late_seconds=checks.mirror_late_seconds,
        mirror_told_seconds=checks.mirror_told_seconds,
        forecast_seconds=96 * checks.full_seconds,
    )


def this_run(sources: Sources) -> Run:
    """What all three clocks say."""
    clock = sources.clock
    return Run(
        at=clock.now(),
        boot=sources.boot,
        boottime_seconds=clock.boottime_ns() / 1e9,
        monotonic_seconds=clock.monotonic(),
    )


def watched_roots(settings: Settings | None, heartbeat: Heartbeat | None) -> tuple[str, ...]:
    """Configured roots, then those that only the running daemon has (`run --watch`), each once."""
    configured = settings.roots if settings is not None else ()
    lent = () if heartbeat is None or heartbeat.stopped else (report.path for report in heartbeat.roots)
    return tuple(dict.fromkeys((*configured, *lent)))
