"""How long ago something was by the wall clock, also when that clock was set meanwhile. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nbguard.health.facts import ClockFacts
from nbguard.health.remembered import Jump, Run

JUMP_SECONDS = 30.0
SLEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """Ages at ``now`` (seconds since 1970), with the last time that the clock was set in this boot, if it was."""

    now: float
    jump: Jump | None = None

    def of(self, timestamp: float) -> float:
        """Seconds since ``timestamp``; never negative."""
        age = self.now - timestamp
        if self.jump is not None and self._is_before_the_jump(timestamp, self.jump):
            age -= self.jump.seconds
        return max(0.0, age)

    def _is_before_the_jump(self, timestamp: float, jump: Jump) -> bool:
        if jump.seconds > 0:  # nothing was written in the time that was leapt over
            return timestamp < jump.wall_before + jump.seconds / 2
        return timestamp > self.now  # the rest of the time that came twice is taken for the second one


def jump_between(before: Run | None, now: Run, known: Jump | None) -> Jump | None:
    """The last jump of the wall clock in this boot, as two looks show it."""
    if before is None or before.boot != now.boot:
        return known if known is not None and known.boot == now.boot else None
    jumped = (now.at - before.at).total_seconds() - (now.boottime_seconds - before.boottime_seconds)
    if abs(jumped) <= JUMP_SECONDS:
        return known if known is not None and known.boot == now.boot else None
    return Jump(seconds=jumped, wall_before=before.at.timestamp(), boot=now.boot, boottime_seconds=now.boottime_seconds)


def clock_facts(jump: Jump | None, now: Run) -> ClockFacts:
    """The jump, and how long ago by the clock that nobody can set."""
    if jump is None or jump.boot != now.boot:
        return ClockFacts()
    return ClockFacts(jump_seconds=jump.seconds, ago_seconds=max(0.0, now.boottime_seconds - jump.boottime_seconds))


def awake_since(before: Run | None, woke_at: float, now: Run) -> float:
    """When this machine was started or last woke, as far as two looks can tell (seconds since 1970).

    ``before`` is the look before, or a heartbeat; ``woke_at`` is what was known then.
    """
    wall, started = now.at.timestamp(), now.at.timestamp() - now.boottime_seconds
    if before is None or before.boot != now.boot:
        return started
    asleep = (now.boottime_seconds - before.boottime_seconds) - (now.monotonic_seconds - before.monotonic_seconds)
    if asleep > SLEEP_SECONDS:
        return max(started, wall - (now.monotonic_seconds - before.monotonic_seconds))
    return max(started, min(woke_at, wall))


def awake_seconds_since(run: Run, now: Run) -> float:
    """Waking seconds since a run; those of this boot alone where it was in another one."""
    if run.boot == now.boot:
        return max(0.0, now.monotonic_seconds - run.monotonic_seconds)
    return now.monotonic_seconds
