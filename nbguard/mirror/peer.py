"""Who stalled, by our own clock: whether the count in each host's heartbeat goes on. Values in, values out.

What a host says of the time is not believed: a clock that was set anew there changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from nbguard.alerting import Weighed, Weight
from nbguard.mirror.layout import MirrorHeartbeat
from nbguard.mirror.look import Look
from nbguard.model import Problem

CODES = frozenset({"peer-late", "peer-stalled", "peer-gap", "peer-unproven", "peer-unreadable", "mirror-unreachable"})
"""Every code that a look at a mirror can find: whatever of them it does not find is over."""

_CLOCKS_DIFFER = timedelta(days=1)
_FORGOTTEN_SECONDS = 604_800.0
_STALLED, _UNPROVEN, _GAP = 20, 21, 22


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of one host: its boot and count, and the look that first saw them."""

    boot: str
    sequence: int
    since: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one mirror: hosts by namespace, and the look since which it has not answered."""

    hosts: Mapping[str, Seen]
    silent_since: Look | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One host as it was seen now. ``advanced_seconds``: how long ago its heartbeat was first seen as it is;
    ``is_late`` when that is too long. ``beat`` is None where it cannot be understood."""

    namespace: str
    beat: MirrorHeartbeat | None
    advanced_seconds: float
    is_late: bool
    found: tuple[Weighed, ...] = ()


def look_at(
    memory: Memory, beats: Mapping[str, MirrorHeartbeat | None], now: Look, *, late_seconds: float
) -> tuple[Memory, tuple[Sighting, ...]]:
    """What is to be remembered, and each host by namespace. ``beats`` has an entry for each namespace that is there,
    None where there is no life sign that can be understood. One that was removed from the mirror, which nbguard never
    does, is late like any other, and forgotten after a week."""
    hosts = {
        name: seen
        for name, seen in memory.hosts.items()
        if name in beats or now.seconds_since(seen.since) < _FORGOTTEN_SECONDS
    }
    sightings = []
    for namespace in sorted({*beats, *hosts}):
        beat, seen = beats.get(namespace), hosts.get(namespace)
        if beat is not None and (seen is None or (seen.boot, seen.sequence) != (beat.boot, beat.sequence)):
            is_new = seen is None
            seen = Seen(beat.boot, beat.sequence, now)
            hosts[namespace] = seen
        else:
            is_new = seen is None
        if seen is None:  # never understood yet: counted from now on
            seen = hosts[namespace] = Seen("", 0, now)
        sightings.append(_sighting(namespace, beat, seen, now, late_seconds, is_new=is_new))
    return Memory(hosts=hosts), tuple(sightings)


def no_answer(memory: Memory, now: Look, *, late_seconds: float, mirror: str, said: str) -> tuple[Memory, Weighed]:
    """The mirror did not answer: what is to be remembered, and the finding; a stall once it lasts."""
    since = memory.silent_since or now
    silent = now.seconds_since(since)
    for_how_long = f" for {_words(silent)}" if silent >= 60 else ""
    problem = Problem(
        code="mirror-unreachable",
        message=f"{mirror} does not answer{for_how_long}: nobody sees whether hosts that mirror there live ({said})",
        hint="see that it is there, and that this machine reaches it",
        since=since.at,
        subject=mirror,
    )
    weight = Weight.STALL if silent >= late_seconds else Weight.WARNING
    return replace(memory, silent_since=since), Weighed(problem=problem, weight=weight)


def exit_code_of(found: Iterable[Weighed]) -> int:
    """20 when anybody stalled, else 22 when a host says that something there is not protected, else 0."""
    weights = {one.weight for one in found}
    return _STALLED if Weight.STALL in weights else _GAP if Weight.GAP in weights else 0


def _sighting(
    namespace: str, beat: MirrorHeartbeat | None, seen: Seen, now: Look, late_seconds: float, *, is_new: bool
) -> Sighting:
    age = now.seconds_since(seen.since)
    said_ago = (now.at - beat.at).total_seconds() if beat is not None else 0.0
    # Seen for the first time, only its own clock says how old it is: one that is days old is believed.
    is_long_dead = is_new and said_ago >= late_seconds + _CLOCKS_DIFFER.total_seconds()
    is_late = age >= late_seconds or is_long_dead
    found: list[Weighed] = []
    if is_late:
        found.append(_late(namespace, seen, max(age, said_ago if is_long_dead else 0.0)))
    elif beat is None:
        found.append(_unreadable(namespace, seen))
    elif beat.exit_code == _STALLED:
        found.append(_told(namespace, beat, "peer-stalled", "says that protection has stopped there", Weight.STALL))
    elif beat.exit_code == _GAP:
        found.append(_told(namespace, beat, "peer-gap", "says that something there is not protected", Weight.GAP))
    elif beat.exit_code == _UNPROVEN:
        found.append(_told(namespace, beat, "peer-unproven", "says that nobody answered its roll call", Weight.WARNING))
    return Sighting(namespace=namespace, beat=beat, advanced_seconds=age, is_late=is_late, found=tuple(found))


def _late(namespace: str, seen: Seen, seconds: float) -> Weighed:
    problem = Problem(
        code="peer-late",
        message=f"nothing was heard of {namespace} for {_words(seconds)}: it is off, offline, or nbguard there is dead",
        hint="on that machine: nbguard status; what it had mirrored: nbguard adopt URL --host " + namespace,
        since=seen.since.at,
        subject=namespace,
    )
    return Weighed(problem=problem, weight=Weight.STALL)


def _unreadable(namespace: str, seen: Seen) -> Weighed:
    problem = Problem(
        code="peer-unreadable",
        message=f"what {namespace} says of itself cannot be understood",
        hint="update nbguard here; if it is up to date, somebody else writes to that mirror",
        since=seen.since.at,
        subject=namespace,
    )
    return Weighed(problem=problem, weight=Weight.WARNING)


def _told(namespace: str, beat: MirrorHeartbeat, code: str, what: str, weight: Weight) -> Weighed:
    codes = ", ".join(dict.fromkeys(told.code for told in beat.problems))
    problem = Problem(
        code=code,
        message=f"{namespace} {what}{f': {codes}' if codes else ''}",
        hint="on that machine: nbguard status",
        since=beat.checked_at or beat.at,
        subject=namespace,
    )
    return Weighed(problem=problem, weight=weight)


def _words(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
