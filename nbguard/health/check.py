"""The independent check: facts and proofs, judged, remembered, and handed on as an observation."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbguard.alerting import Observation, Observer
from nbguard.health.ages import awake_seconds_since, awake_since, jump_between
from nbguard.health.checker import light_late_seconds
from nbguard.health.facts import Facts
from nbguard.health.forecast import remember
from nbguard.health.gather import gather, gather_light
from nbguard.health.memory import CheckMemory
from nbguard.health.remembered import Covered, Run, Sample
from nbguard.health.rules_notebooks import has_fallen
from nbguard.health.sources import Sources, allowances, this_run
from nbguard.health.status import Report
from nbguard.health.verdict import State, Verdict, assess
from nbguard.health.weighing import ALL_CODES, NEEDS_A_WHOLE_LOOK, OF_THE_DESK, ONLY_THE_DAEMON_SEES, SEEN_BY_LIGHT
from nbguard.settings import Checks, Settings

if TYPE_CHECKING:
    from nbguard.health.proving import Proved, Provers

_BELIEVED_SECONDS = 604_800.0
_MOST_TOLD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check found, what it leaves for the next one, and what it has to tell. ``is_proven``: a full check
    whose canary and restore drill succeeded, of a protection that has not stopped."""

    report: Report
    memory: CheckMemory
    observation: Observation
    is_proven: bool


def check_light(sources: Sources) -> Checked:
    """Is the daemon there, and its heartbeat fresh. What is not looked at is as the last full check had it."""
    memory, run, facts = sources.memory(), this_run(sources), gather_light(sources)
    allowed = allowances(sources.settings)
    verdict = assess(facts, allowed)
    verdict = replace(verdict, protected=min(memory.protected, facts.notebooks))
    sees = SEEN_BY_LIGHT | (ONLY_THE_DAEMON_SEES if verdict.running else frozenset())
    is_in_time = memory.light is not None and awake_seconds_since(memory.light, run) <= light_late_seconds(
        (sources.settings or Settings()).checks
    )
    now = replace(_looked(memory, run, verdict), light=run, light_in_row=memory.light_in_row + 1 if is_in_time else 1)
    return Checked(
        report=_report(facts, verdict, sources, now),
        memory=now,
        observation=_observation(Observer.LIGHT, run, verdict, sees),
        is_proven=False,
    )


def check_full(sources: Sources, provers: Provers) -> Checked:
    """Everything. Raises nothing for what is broken."""
    from nbguard.health.proving import prove  # a light check, every other minute, has no use for it

    memory, run = sources.memory(), this_run(sources)
    settings = sources.settings or Settings()
    proved = prove(provers, memory, run, settings.checks, sources.clock.monotonic)
    facts = gather(replace(sources, rehash=picks(settings.checks.rehash_share, memory.runs)))
    facts = replace(facts, failed=proved.failed, unseen=(*facts.unseen, *proved.unseen))
    verdict = assess(facts, allowances(sources.settings))
    now = remembered(memory, this_run(sources), facts, verdict, proved=proved, checks=settings.checks)
    return Checked(
        report=_report(facts, verdict, sources, now),
        memory=now,
        observation=_observation(Observer.FULL, run, verdict, seen_by_full(facts, verdict, now.told)),
        is_proven=proved.is_proven and verdict.state is not State.STALLED,
    )


def picks(share: float, runs: int) -> Callable[[str], bool]:
    """Which notebooks this run reads although nothing says that they changed: after 1/share runs, each was read."""
    if share <= 0:
        return lambda path: False
    parts = max(1, round(1 / share))
    return lambda path: zlib.crc32(path.encode("utf-8", "surrogateescape")) % parts == runs % parts


def seen_by_full(facts: Facts, verdict: Verdict, told: Sequence[str]) -> frozenset[str]:
    """The codes whose absence means something: all that was ever told but for what could not be looked at."""
    hidden: set[str] = set()
    if not verdict.running:
        hidden |= ONLY_THE_DAEMON_SEES
    if facts.unseen or facts.unread is not None:
        hidden |= NEEDS_A_WHOLE_LOOK
    return (ALL_CODES | frozenset(told)) - hidden - OF_THE_DESK


def remembered(
    memory: CheckMemory, run: Run, facts: Facts, verdict: Verdict, *, proved: Proved, checks: Checks
) -> CheckMemory:
    """What a full check leaves for the next one."""
    is_in_time = memory.full is not None and awake_seconds_since(memory.full, run) <= checks.late_seconds
    now = run.at.timestamp()
    return replace(
        _looked(memory, run, verdict),
        full=run,
        canary_at=proved.canary_at or memory.canary_at,
        drill_at=proved.drill_at or memory.drill_at,
        whole_drill_at=proved.whole_drill_at or memory.whole_drill_at,
        connected_at=proved.connected_at or memory.connected_at,
        in_row=memory.in_row + 1 if is_in_time else 1,
        runs=memory.runs + 1,
        notebooks=facts.notebooks,
        protected=verdict.protected,
        covered=_covered(memory, facts, now),
        space=_space(memory, facts, now, checks),
        packs=proved.packs,
        still=proved.still,
    )


def _looked(memory: CheckMemory, run: Run, verdict: Verdict) -> CheckMemory:
    codes = dict.fromkeys((*memory.told, *sorted(each.code for each in verdict.problems)))
    return replace(
        memory,
        looked=run,
        woke_at=awake_since(memory.looked, memory.woke_at, run),
        jump=jump_between(memory.looked, run, memory.jump),
        told=tuple(codes)[-_MOST_TOLD:],
    )


def _covered(memory: CheckMemory, facts: Facts, now: float) -> Mapping[str, Covered]:
    """What is in sight becomes the measure; what fell stays the measure for a week, unless it comes back."""
    covered = {}
    for root in facts.roots:
        before = memory.covered.get(root.path)
        if root.trouble or root.is_unseen:
            if before is not None:
                covered[root.path] = before
        elif has_fallen(root) and before is not None:
            fell_at = before.fell_at if before.fell_at is not None else now
            is_told = 0 <= now - fell_at < _BELIEVED_SECONDS
            covered[root.path] = (
                replace(before, fell_at=fell_at) if is_told else Covered(notebooks=root.notebooks, device=root.device)
            )
        else:
            covered[root.path] = Covered(notebooks=root.notebooks, device=root.device)
    return covered


def _space(memory: CheckMemory, facts: Facts, now: float, checks: Checks) -> Mapping[str, tuple[Sample, ...]]:
    window = 96 * checks.full_seconds
    return {
        disk.path: remember(
            memory.space.get(disk.path, ()),
            Sample(at=now, bytes=disk.free_bytes, inodes=disk.free_inodes),
            window_seconds=window,
        )
        for disk in facts.space
    }


def _observation(observer: Observer, run: Run, verdict: Verdict, sees: frozenset[str]) -> Observation:
    return Observation(
        observer=observer,
        at=run.at,
        boot=run.boot,
        boottime_ns=int(run.boottime_seconds * 1e9),
        found=tuple(each for each in verdict.weighed if each.problem.code not in OF_THE_DESK),
        sees=sees,
    )


def _report(facts: Facts, verdict: Verdict, sources: Sources, memory: CheckMemory) -> Report:
    allowed = allowances(sources.settings)
    return Report(
        facts=facts,
        verdict=verdict,
        slow_interval_seconds=allowed.slow_interval_seconds,
        slow_over_bytes=allowed.slow_over_bytes,
        memory=memory,
    )
