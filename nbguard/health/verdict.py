"""The verdict: a pure function from facts to what is wrong, how much each of it weighs, and the exit code.

Rules look at the facts alone (rules_*.py). Idle is nothing: nothing counts the days since a save.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nbguard.alerting import Weighed, Weight
from nbguard.health import rules_daemon, rules_notebooks, rules_storage, rules_told
from nbguard.health.facts import Allowances, Facts
from nbguard.health.rules_daemon import is_running
from nbguard.health.weighing import STANDING, unique
from nbguard.model import Problem


class State(StrEnum):
    """``degraded``: protected, but something needs a look."""

    OK = "ok"
    DEGRADED = "degraded"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the facts add up to. ``protected`` counts notebooks whose present bytes are durable; none while that cannot
    be told. ``weighed`` has the worst first."""

    state: State
    exit_code: int
    running: bool
    protected: int
    oldest_unprotected_seconds: float | None
    weighed: tuple[Weighed, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Without their weights."""
        return tuple(each.problem for each in self.weighed)


def assess(facts: Facts, allowed: Allowances) -> Verdict:
    """Facts to verdict; the worst problems first."""
    running = is_running(facts.daemon, allowed)
    found = unique(
        [
            *rules_daemon.noted(facts),
            *([Weighed(problem=facts.bad_configuration, weight=Weight.WARNING)] if facts.bad_configuration else ()),
            *rules_daemon.down(facts, allowed, running),
            *rules_daemon.service(facts),
            *rules_daemon.crash_loop(facts),
            *rules_storage.archive(facts),
            *rules_storage.proofs(facts),
            *rules_notebooks.not_kept(facts, allowed, running),
            *rules_notebooks.roots(facts),
            *rules_notebooks.coverage(facts),
            *rules_notebooks.not_watched(facts, running),
            *rules_storage.room(facts, allowed),
            *rules_storage.unseen(facts),
            *rules_daemon.clock(facts, allowed),
            *rules_daemon.passed_on(facts, running),
            *rules_notebooks.packer(facts, allowed, running),
            *rules_told.mirrors(facts, allowed),
            *rules_notebooks.emptied(facts),
            *rules_told.channels(facts),
            *rules_told.standing(facts),
        ]
    )
    return Verdict(
        state=state_of(found),
        exit_code=exit_code_of(found, is_unproven=rules_told.is_unproven(facts)),
        running=running,
        protected=0 if facts.unread is not None else facts.notebooks - len(facts.unprotected),
        oldest_unprotected_seconds=max((each.quiet_seconds for each in facts.unprotected), default=None),
        weighed=tuple(found),
    )


def state_of(found: list[Weighed]) -> State:
    """Standing advice leaves it ``ok``."""
    if any(each.weight is Weight.STALL for each in found):
        return State.STALLED
    return State.DEGRADED if any(each.problem.code not in STANDING for each in found) else State.OK


def exit_code_of(found: list[Weighed], *, is_unproven: bool) -> int:
    """20 stalled; else 21 when nobody is known to read the channels; else 22 a gap; else 0."""
    weights = {each.weight for each in found}
    return 20 if Weight.STALL in weights else 21 if is_unproven else 22 if Weight.GAP in weights else 0
