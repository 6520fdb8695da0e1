"""Rules about the daemon: is it there, does its manager keep it, what does it say of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alerting import Weighed, Weight
from nbguard.health.facts import Allowances, DaemonFacts, Facts
from nbguard.health.weighing import ago, spell, weighed, weight_of
from nbguard.model import Heartbeat

MOST_BAD_STARTS = 5


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


def down(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Weighed]:
    """The daemon does not run. A recorded stop is its owner's will, and only advice, unless a service is there to keep
    it going; an end that nobody meant is a stall once it has lasted."""
    daemon, beat = facts.daemon, facts.daemon.heartbeat
    if running:
        return
    if beat is None:
        yield _never_ran(facts, allowed)
        return
    if daemon.is_excused:
        message = f"nbguard itself took the daemon down {ago(facts, beat.beat_at.timestamp())} ago"
        yield weighed(facts, "daemon-down", message, "nothing; it comes back with the service", Weight.ADVICE)
        return
    if beat.stopped and (daemon.same_boot or facts.service is None):
        yield _stopped(facts, allowed, beat)
        return
    lasted = (daemon.awake_seconds or 0.0) if daemon.same_boot else daemon.up_seconds
    if not daemon.same_boot:
        message = f"the daemon has not started since this machine did, {spell(lasted)} ago"
        hint = "start it: nbguard run"
    elif daemon.pid_alive and daemon.lock_held:
        message = f"the daemon (process {beat.pid}) has not answered for {spell(lasted)}"
        hint = f"end it and start it again: kill -9 {beat.pid}; nbguard run"
    else:
        message = f"the daemon ended {spell(lasted)} ago without saying so"
        hint = "start it again (nbguard run); its log says why it ended"
    is_over = lasted > allowed.heartbeat_seconds
    yield weighed(facts, "daemon-down", message, hint, Weight.STALL if is_over else Weight.ADVICE, seconds_ago=lasted)


def _never_ran(facts: Facts, allowed: Allowances) -> Weighed:
    if not (facts.configured or facts.archive.made or facts.bad_configuration is not None):
        message, hint = "nbguard is not set up: nothing is protected", "run `nbguard setup`"
        return weighed(facts, "daemon-down", message, hint, Weight.ADVICE)
    message, hint = "the daemon has not run here yet", "start it: nbguard run"
    should_run = facts.service is not None and not facts.service.active and not facts.daemon.is_excused
    return weighed(facts, "daemon-down", message, hint, Weight.STALL if should_run else Weight.ADVICE)


def _stopped(facts: Facts, allowed: Allowances, beat: Heartbeat) -> Weighed:
    message = f"the daemon was stopped {ago(facts, beat.beat_at.timestamp())} ago"
    hint = "start it again: nbguard run"
    if facts.service is None:
        # Whoever ended it knows; whoever started the machine since may not.
        weight = Weight.ADVICE if facts.daemon.same_boot else Weight.WARNING
        return weighed(facts, "daemon-down", message, hint, weight)
    is_over = (facts.daemon.awake_seconds or 0.0) > allowed.heartbeat_seconds
    is_failed = facts.service.state.startswith("failed")
    weight = Weight.STALL if is_over and is_failed else Weight.WARNING if is_over else Weight.ADVICE
    hint = "start it again: nbguard service install"
    return weighed(facts, "daemon-down", message, hint, weight)


def service(facts: Facts) -> Iterator[Weighed]:
    """What the manager says, where a service was installed."""
    found = facts.service
    if found is None or facts.daemon.is_excused:
        return
    if not found.executable_exists:
        message, hint = "the program that the service starts is not there any more", "nbguard service install"
        yield weighed(facts, "executable-missing", message, hint)
    if not found.enabled:
        message, hint = "the service is not enabled: no start of this machine starts it", "nbguard service install"
        yield weighed(facts, "unit-inactive", message, hint, subject="enabled")
    if not found.active:
        message = f"{found.manager} says that the service is {found.state}"
        hint = "nbguard service logs; nbguard service install starts it again"
        yield weighed(facts, "unit-inactive", message, hint, subject="active")
    for check in found.checks_off:
        message, hint = f"nbguard {check} is not run: nobody looks whether protection works", "nbguard service install"
        yield weighed(facts, "unit-inactive", message, hint, subject=check)
    if found.lingers is False:
        message = "the service ends with your last logout, and no start of this machine starts it"
        yield weighed(facts, "linger-off", message, "loginctl enable-linger, or nbguard service install")


def crash_loop(facts: Facts) -> Iterator[Weighed]:
    """Counted from its own list of starts: a daemon that dies at once cannot say so."""
    starts = facts.daemon.bad_starts
    if starts > MOST_BAD_STARTS:
        message = f"the daemon was started {starts} times in an hour after it had ended unexpectedly"
        hint = "see `nbguard service logs`; what was acknowledged is not lost by it"
        yield weighed(facts, "crash-loop", message, hint, subject="starts")


def clock(facts: Facts, allowed: Allowances) -> Iterator[Weighed]:
    """A clock that was set is named for an hour."""
    jumped = facts.clock.jump_seconds
    if jumped and facts.clock.ago_seconds <= allowed.jump_told_seconds:
        message = f"the clock was set {'forward' if jumped > 0 else 'back'} by {spell(abs(jumped))}"
        hint = "nothing is lost: versions are ordered by observation; times shown around now may be odd"
        seconds = facts.clock.ago_seconds
        yield weighed(facts, "clock-jumped", message, hint, Weight.ADVICE, subject="clock", seconds_ago=seconds)


def passed_on(facts: Facts, running: bool) -> Iterator[Weighed]:
    """What a running daemon says of itself; what a dead one said last may long be mended."""
    beat = facts.daemon.heartbeat
    if beat is None or not running:
        return
    archive_is_gone = facts.archive.made and not facts.archive.present  # told already, whoever else met it
    unmounted = tuple(root.path.rstrip("/") + "/" for root in facts.roots if root.is_unmounted)
    for problem in beat.problems:
        if archive_is_gone and problem.code == "archive-missing":
            continue
        is_away = problem.code in ("root-gone", "unreachable") and f"{problem.subject}/".startswith(unmounted)
        yield Weighed(
            problem=problem, weight=Weight.ADVICE if unmounted and is_away else weight_of(problem.code, problem.subject)
        )
    for root in beat.roots:
        if root.mode == "polling":
            message = root.note or "this file system sends no events"
            hint = "saves are found by looking every few seconds; none is missed for it, only later"
            yield weighed(facts, "polling", message, hint, Weight.ADVICE, subject=root.path)


def noted(facts: Facts) -> Iterator[Weighed]:
    """Units that failed, homes that were wiped: told by notes outside of everything that could have gone with them."""
    for problem in facts.wiped:
        yield Weighed(problem=problem, weight=Weight.WARNING)
    for problem in facts.noted:
        yield Weighed(problem=problem, weight=Weight.WARNING)
