"""The verdict: a pure function from facts to what is wrong, how badly, and the exit code.

Each rule below looks at the facts alone and returns findings. ``stalls`` means that protection has stopped;
``gap`` means that a notebook in scope is not protected. Idle is neither: nothing here counts the days since a save.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from nbguard.health.facts import Allowances, DaemonFacts, Facts, Unprotected
from nbguard.model import Problem

MOST_LISTED = 20
STORAGE_CODES = frozenset({"no-space", "no-inodes", "read-only", "io-error"})


class State(StrEnum):
    """``degraded``: protected, but something needs a look."""

    OK = "ok"
    DEGRADED = "degraded"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's answer."""

    problem: Problem
    stalls: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the facts add up to. ``protected`` counts notebooks whose present bytes are durable; none while that cannot
    be told."""

    state: State
    exit_code: int
    running: bool
    protected: int
    oldest_unprotected_seconds: float | None
    problems: tuple[Problem, ...]


def assess(facts: Facts, allowed: Allowances) -> Verdict:
    """Facts to verdict; the worst problems first."""
    running = is_running(facts.daemon, allowed)
    found = _unique(
        [
            *_wiped(facts),
            *_configuration(facts),
            *_daemon(facts, allowed, running),
            *_archive(facts),
            *_not_kept(facts, allowed, running),
            *_roots(facts),
            *_not_watched(facts, running),
            *_passed_on(facts, running),
            *_packer(facts, allowed, running),
            *_emptied(facts),
        ]
    )
    found.sort(key=lambda finding: (not finding.stalls, not finding.gap))
    stalled, gap = any(finding.stalls for finding in found), any(finding.gap for finding in found)
    return Verdict(
        state=State.STALLED if stalled else State.DEGRADED if found else State.OK,
        exit_code=20 if stalled else 22 if gap else 0,
        running=running,
        protected=0 if facts.unread is not None else facts.notebooks - len(facts.unprotected),
        oldest_unprotected_seconds=max((each.quiet_seconds for each in facts.unprotected), default=None),
        problems=tuple(finding.problem for finding in found),
    )


def is_running(daemon: DaemonFacts, allowed: Allowances) -> bool:
    """Alive by every sign at once: process, lock, and a heartbeat of this boot that is fresh in waking time."""
    beat = daemon.heartbeat
    return (
        beat is not None
        and not beat.stopped
        and daemon.same_boot
        and daemon.pid_alive
        and daemon.lock_held
        and daemon.awake_seconds is not None
        and daemon.awake_seconds <= allowed.heartbeat_seconds
    )


def _wiped(facts: Facts) -> Iterator[Finding]:
    for problem in facts.wiped:
        yield Finding(problem=problem)


def _configuration(facts: Facts) -> Iterator[Finding]:
    if facts.bad_configuration is not None:
        yield Finding(problem=facts.bad_configuration)


def _daemon(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Finding]:
    daemon, beat = facts.daemon, facts.daemon.heartbeat
    if running:
        return
    if beat is None:
        if facts.configured or facts.archive.made or facts.bad_configuration is not None:
            message, hint = "the daemon has not run here yet", "start it: nbguard run"
        else:
            message, hint = "nbguard is not set up: nothing is protected", "run `nbguard setup`"
        yield Finding(problem=_problem(facts, "daemon-down", message, hint))
        return
    if beat.stopped:
        message = f"the daemon was stopped {_ago(facts, beat.beat_at.timestamp())} ago"
        yield Finding(problem=_problem(facts, "daemon-down", message, "start it again: nbguard run"))
        return
    down = (daemon.awake_seconds or 0.0) if daemon.same_boot else daemon.up_seconds
    if not daemon.same_boot:
        message = f"the daemon has not started since this machine did, {_spell(down)} ago"
        hint = "start it: nbguard run"
    elif daemon.pid_alive and daemon.lock_held:
        message = f"the daemon (process {beat.pid}) has not answered for {_spell(down)}"
        hint = f"end it and start it again: kill -9 {beat.pid}; nbguard run"
    else:
        message = f"the daemon ended {_spell(down)} ago without saying so"
        hint = "start it again (nbguard run); its log says why it ended"
    yield Finding(
        problem=_problem(facts, "daemon-down", message, hint, seconds_ago=down),
        stalls=down > allowed.heartbeat_seconds,
    )


def _archive(facts: Facts) -> Iterator[Finding]:
    archive = facts.archive
    if archive.trouble is not None:
        yield Finding(problem=archive.trouble)
    if archive.present:
        return
    if archive.made:
        message = "the archive was made here, and is not there any more"
        hint = "find out where it went before anything else; new versions wait in the spool meanwhile"
        yield Finding(problem=_problem(facts, "archive-missing", message, hint), stalls=True)
    elif facts.configured:
        message, hint = "there is no archive yet", "`nbguard setup` or `nbguard run` makes it"
        yield Finding(problem=_problem(facts, "archive-missing", message, hint))


def _not_kept(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Finding]:
    if facts.unread is not None:
        yield Finding(problem=facts.unread, gap=True)
        return
    late = [each for each in facts.unprotected if not running or each.waiting_seconds > _patience(each, allowed)]
    late.sort(key=lambda each: -each.waiting_seconds)
    for each in late[:MOST_LISTED]:
        yield _one_not_kept(facts, allowed, running, each)
    if len(late) > MOST_LISTED:
        more = len(late) - MOST_LISTED
        message = f"{more} more notebook{' is' if more == 1 else 's are'} not kept as on disk"
        yield Finding(problem=_problem(facts, "not-kept", message, _keep_hint(running)), gap=True)


def _one_not_kept(facts: Facts, allowed: Allowances, running: bool, late: Unprotected) -> Finding:
    if late.size > allowed.refuse_over_bytes:
        message = f"at {late.size / 1e6:,.0f} MB it is over the limit and is not kept"
        hint = "raise limits.refuse_over_bytes, or clear its outputs"
        return Finding(problem=_problem(facts, "too-large", message, hint, subject=late.path), gap=True)
    extra = allowed.slow_interval_seconds if late.size > allowed.slow_over_bytes else 0.0
    disk_refuses = any(problem.code in STORAGE_CODES for problem in _reported(facts))
    return Finding(
        problem=_problem(
            facts,
            "not-kept",
            f"its bytes on disk are not kept, {_spell(late.quiet_seconds)} after they changed",
            _keep_hint(running),
            subject=late.path,
            seconds_ago=late.quiet_seconds,
        ),
        stalls=running and (disk_refuses or late.waiting_seconds > allowed.stalled_seconds + extra),
        gap=True,
    )


def _roots(facts: Facts) -> Iterator[Finding]:
    if facts.configured and not facts.roots:
        hint = "add folders: nbguard setup --watch DIR"
        yield Finding(problem=_problem(facts, "coverage-fell", "no folder is watched", hint))
    for root in facts.roots:
        if root.trouble == "root-gone":
            message, hint = f"the folder is not there: {root.reason}", "mount it, or take it out of the configuration"
        elif root.trouble:
            message, hint = f"the folder cannot be read: {root.reason}", "give yourself read permission on it"
        else:
            continue
        gap = root.trouble == "root-unreadable"  # what is saved there goes unseen
        yield Finding(problem=_problem(facts, root.trouble, message, hint, subject=root.path), gap=gap)
    for folder in facts.unreadable[:MOST_LISTED]:
        message = "it cannot be read: notebooks in it are not protected"
        hint = "give yourself read and search permission on it, or ignore it in the configuration"
        yield Finding(problem=_problem(facts, "unreachable", message, hint, subject=folder), gap=True)


def _not_watched(facts: Facts, running: bool) -> Iterator[Finding]:
    """Roots that were added to the configuration after the daemon read it."""
    beat = facts.daemon.heartbeat
    if beat is None or not running or not beat.roots:
        return
    watched = {root.path for root in beat.roots}
    for root in facts.roots:
        if root.path not in watched:
            message, hint = "the running daemon does not watch it yet", "end the daemon and start it again: nbguard run"
            yield Finding(problem=_problem(facts, "coverage-fell", message, hint, subject=root.path))


def _passed_on(facts: Facts, running: bool) -> Iterator[Finding]:
    beat = facts.daemon.heartbeat
    if beat is None or not running:
        return  # what a dead daemon said last may long be mended
    archive_is_gone = facts.archive.made and not facts.archive.present  # told already, whoever else met it
    for problem in beat.problems:
        if not (archive_is_gone and problem.code == "archive-missing"):
            yield Finding(problem=problem)
    for root in beat.roots:
        if root.mode == "polling":
            message = root.note or "this file system sends no events"
            hint = "saves are found by looking every few seconds; none is missed for it, only later"
            yield Finding(problem=_problem(facts, "polling", message, hint, subject=root.path))


def _packer(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Finding]:
    oldest = facts.spool.oldest_seconds
    if running and oldest is not None and oldest > allowed.pack_seconds:
        waiting = "1 version waits" if facts.spool.drafts == 1 else f"{facts.spool.drafts:,} versions wait"
        message = f"{waiting} to be packed, the oldest for {_spell(oldest)}"
        hint = "they are durable meanwhile; the daemon's log says why packing fails"
        yield Finding(problem=_problem(facts, "packer-behind", message, hint, seconds_ago=oldest))


def _emptied(facts: Facts) -> Iterator[Finding]:
    for path in facts.emptied[:MOST_LISTED]:
        message = "it holds less than half of what it held"
        hint = "get it back with `nbguard restore`, or say that it was meant with `nbguard accept`"
        yield Finding(problem=_problem(facts, "emptied", message, hint, subject=path))


def _patience(late: Unprotected, allowed: Allowances) -> float:
    if late.size > allowed.refuse_over_bytes:
        return 0.0  # waiting changes nothing
    slow = late.size > allowed.slow_over_bytes
    return allowed.quiet_seconds + (allowed.slow_interval_seconds if slow else 0.0)


def _keep_hint(running: bool) -> str:
    return "keep it now: nbguard snapshot" if running else "start the daemon (nbguard run), or: nbguard snapshot"


def _reported(facts: Facts) -> tuple[Problem, ...]:
    beat = facts.daemon.heartbeat
    return beat.problems if beat is not None else ()


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    """One finding per (code, subject); what is worse about any of them stays."""
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = (finding.problem.code, finding.problem.subject)
        before = kept.get(key)
        if before is None:
            kept[key] = finding
        else:
            kept[key] = Finding(
                # The daemon's words come last: it knows the reason.
                problem=replace(finding.problem, since=min(before.problem.since, finding.problem.since)),
                stalls=before.stalls or finding.stalls,
                gap=before.gap or finding.gap,
            )
    return list(kept.values())


def _problem(
    facts: Facts, code: str, message: str, hint: str, *, subject: str = "", seconds_ago: float = 0.0
) -> Problem:
    since = facts.now - timedelta(seconds=seconds_ago)
    return Problem(code=code, message=message, hint=hint, since=since, subject=subject)


def _ago(facts: Facts, timestamp: float) -> str:
    return _spell(max(0.0, facts.now.timestamp() - timestamp))


def _spell(seconds: float) -> str:
    """Seconds in words a person counts in."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}s"
    return f"{seconds:.0f} s"
