"""Is this root really being watched? Facts in, findings out; every silent failure of an event source is named here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_LIMIT_HINT = "raise fs.inotify.max_user_watches (sysctl); until then saves there are found by sweeps"


class RootState(Enum):
    """Whether there is anything to watch."""

    THERE = "there"
    GONE = "gone"
    UNREADABLE = "unreadable"


class Repair(Enum):
    """What is done about a finding. REBUILD means a new event source and then a full sweep."""

    NOTHING = "nothing"
    SWEEP = "sweep"
    REBUILD = "rebuild"
    UNWATCH = "unwatch"


@dataclass(frozen=True, slots=True)
class RootLook:
    """What a stat and a listing of the root said. ``identity`` is (device, inode)."""

    state: RootState
    identity: tuple[int, int] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EventState:
    """What an event source can see of itself. ``watches`` is None where that cannot be known; ``faults`` are events
    that could not be handed on; ``at_limit``: it could not begin for want of watches or instances."""

    alive: bool
    reason: str = ""
    watches: int | None = None
    faults: int = 0
    at_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """All that is known of one root at one moment; the ``was_`` fields are from when its events were last begun."""

    look: RootLook
    was_identity: tuple[int, int] | None
    polled: bool
    polled_kind: str | None
    mounts_changed: bool
    events: EventState | None
    was_faults: int
    overflowed: bool
    folders: int
    unwatched_folders: int
    tried_to_watch_them: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one root. ``code`` is a problem code; a finding that is fully mended has none."""

    repair: Repair
    message: str
    code: str = ""
    hint: str = ""


def diagnose(pulse: Pulse) -> tuple[Finding, ...]:
    """Everything that is wrong, the gravest first; nothing when all is well."""
    if pulse.look.state is not RootState.THERE:
        return (_absent(pulse.look),)
    findings = []
    if pulse.was_identity is not None and pulse.look.identity != pulse.was_identity:
        findings.append(Finding(Repair.REBUILD, "the folder was replaced by another of the same name"))
    if pulse.mounts_changed:
        findings.append(Finding(Repair.REBUILD, "something was mounted or unmounted here"))
    if pulse.polled != (pulse.polled_kind is not None):
        findings.append(Finding(Repair.REBUILD, "the kind of file system changed"))
    if not pulse.polled:
        findings += _event_findings(pulse)
    return tuple(findings)


def _absent(look: RootLook) -> Finding:
    if look.state is RootState.UNREADABLE:
        return Finding(
            Repair.UNWATCH,
            f"cannot be read: {look.reason}",
            "root-unreadable",
            "give yourself read and search permission on it; it is looked at again by itself",
        )
    return Finding(
        Repair.UNWATCH,
        f"is not there: {look.reason}",
        "root-gone",
        "mount it or bring it back, or take it out of the configuration; nothing kept of it is lost",
    )


def _event_findings(pulse: Pulse) -> list[Finding]:
    events = pulse.events
    if events is None or not events.alive:
        return [_dead(events)]
    findings = []
    if pulse.overflowed:
        findings.append(
            Finding(
                Repair.SWEEP,
                "more happened at once than the kernel's queue of file events holds",
                "watch-overflow",
                "raise fs.inotify.max_queued_events; what was missed was found by a sweep",
            )
        )
    if events.faults > pulse.was_faults:
        findings.append(Finding(Repair.SWEEP, "an event could not be handled"))
    if pulse.unwatched_folders and not pulse.tried_to_watch_them:
        findings.append(Finding(Repair.REBUILD, f"{pulse.unwatched_folders} folders have no file events"))
    elif pulse.unwatched_folders:
        findings.append(
            Finding(
                Repair.NOTHING,
                f"{pulse.unwatched_folders} of {pulse.folders} folders have no file events",
                "watch-limit",
                _LIMIT_HINT,
            )
        )
    return findings


def _dead(events: EventState | None) -> Finding:
    reason = events.reason if events is not None and events.reason else "they could not be begun"
    if events is not None and events.at_limit:
        return Finding(Repair.REBUILD, f"there are no file events here: {reason}", "watch-limit", _LIMIT_HINT)
    return Finding(
        Repair.REBUILD,
        f"file events stopped: {reason}",
        "watcher-dead",
        "saves are found by sweeps until events work again; see the log",
    )
