"""Status: the facts and their verdict, as JSON for programs and as lines for people."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.alerting import ChannelReport, MirrorReport, Weight
from nbguard.clock import iso
from nbguard.health.facts import Facts
from nbguard.health.gather import gather
from nbguard.health.memory import CheckMemory
from nbguard.health.sources import Sources, allowances
from nbguard.health.verdict import State, Verdict, assess
from nbguard.health.weighing import STANDING
from nbguard.model import Problem, RootReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `nbguard status` says."""

    facts: Facts
    verdict: Verdict
    slow_interval_seconds: float
    slow_over_bytes: int
    memory: CheckMemory = field(default_factory=CheckMemory)


def look(sources: Sources) -> Report:
    """Gather the facts and judge them."""
    allowed = allowances(sources.settings)
    facts = gather(sources)
    return Report(
        facts=facts,
        verdict=assess(facts, allowed),
        slow_interval_seconds=allowed.slow_interval_seconds,
        slow_over_bytes=allowed.slow_over_bytes,
        memory=sources.memory(),
    )


def as_json(report: Report) -> dict[str, object]:
    """The object of the contract; ``watching`` and ``notes`` are ours."""
    facts, verdict = report.facts, report.verdict
    beat = facts.daemon.heartbeat
    return {
        "state": str(verdict.state),
        "daemon": {
            "running": verdict.running,
            "pid": beat.pid if beat is not None and verdict.running else None,
            "since": iso(beat.since) if beat is not None and verdict.running else None,
            "heartbeat_age_seconds": _rounded(facts.daemon.age_seconds),
        },
        "roots": [_readable(root.path) for root in facts.roots],
        "notebooks": facts.notebooks,
        "protected": verdict.protected,
        "oldest_unprotected_seconds": _rounded(verdict.oldest_unprotected_seconds),
        "spool": {
            "drafts": facts.spool.drafts,
            "bytes": facts.spool.bytes,
            "oldest_seconds": _rounded(facts.spool.oldest_seconds),
        },
        "channels": [_channel(channel) for channel in facts.channels],
        "mirrors": [_mirror(mirror) for mirror in facts.mirrors],
        "problems": [_problem(problem) for problem in verdict.problems],
        "watching": [_watching(root) for root in _reports(report)],
        "notes": list(_notes(report)),
        "proven": {name: _time(at) for name, at in _proven(report.memory)},
    }


def as_lines(report: Report, *, is_light: bool = False) -> Iterator[str]:
    """What is protected, how fresh, what is wrong, what to do; a light check has looked at no notebook, and says so."""
    facts, verdict = report.facts, report.verdict
    yield _headline(facts, verdict)
    yield "  a light check looks at no notebook" if is_light and facts.roots else f"  {_protection(facts, verdict)}"
    yield f"  {_daemon_line(report)}"
    spool = facts.spool
    if spool.drafts:
        oldest = f", the oldest for {spool.oldest_seconds:.0f} s" if spool.oldest_seconds is not None else ""
        yield f"  {_count(spool.drafts, 'version')} durable and waiting to be packed{oldest}"
    reports = {root.path: root for root in _reports(report)}
    for fact in facts.roots:
        known = reports.get(fact.path)
        how = f" ({known.mode}{': ' + known.note if known.note else ''})" if known is not None else ""
        yield f"  watched: {_readable(fact.path)}{how}"
    yield f"  {_proven_line(report)}"
    for channel in facts.channels:
        yield f"  channel: {_readable(channel.name)} to {_readable(channel.human)}: {_standing(channel)}"
    for mirror in facts.mirrors:
        yield f"  mirror: {_readable(mirror.name)}: {_freshness(mirror)}"
    for note in _notes(report):
        yield f"  note: {note}"
    for each in verdict.weighed:
        problem = each.problem
        told = not problem.subject or problem.subject in problem.message
        subject = "" if told else f"{_readable(problem.subject)}: "
        kind = "advice: " if problem.code in STANDING else "problem:"
        yield f"{kind} {problem.code}: {subject}{_readable(problem.message)}"
        if problem.hint:
            yield f"hint:    {_readable(problem.hint)}"


def _headline(facts: Facts, verdict: Verdict) -> str:
    if not facts.roots:
        return "NOTHING IS PROTECTED"
    if verdict.state is State.STALLED:
        return "STALLED: protection has stopped"
    if any(each.weight is Weight.GAP for each in verdict.weighed):
        return "GAP: not every notebook is protected"
    if verdict.exit_code and verdict.running:
        return "protected, but nobody is known to hear of it when that ends"
    if not verdict.running and facts.unprotected:
        return "the daemon is not running, and what was saved since is not kept"
    if not verdict.running:
        return "protected as of now; the next save will not be, for the daemon is not running"
    return "ok" if verdict.state is State.OK else "protected, but something needs a look"


def _protection(facts: Facts, verdict: Verdict) -> str:
    if not facts.roots:
        return "no folder is watched"
    if facts.unread is not None:
        return f"{_count(facts.notebooks, 'notebook')} on disk; cannot tell how many are protected"
    if not facts.unprotected:
        return f"{_count(facts.notebooks, 'notebook')}, all kept as they are on disk"
    oldest = verdict.oldest_unprotected_seconds or 0.0
    return (
        f"{verdict.protected} of {_count(facts.notebooks, 'notebook')} kept as they are on disk; "
        f"the oldest change that is not: {oldest:.0f} s ago"
    )


def _daemon_line(report: Report) -> str:
    beat = report.facts.daemon.heartbeat
    if beat is None or not report.verdict.running:
        return "the daemon is not running"
    return (
        f"the daemon has been running since {_local(beat.since)} (process {beat.pid}); "
        f"{_count(beat.kept, 'version')} kept since then"
    )


def _proven(memory: CheckMemory) -> Iterator[tuple[str, datetime | None]]:
    yield "canary_at", memory.canary_at
    yield "drill_at", memory.drill_at
    yield "full_check_at", memory.full.at if memory.full is not None else None
    yield "light_check_at", memory.light.at if memory.light is not None else None


def _proven_line(report: Report) -> str:
    memory = report.memory
    if memory.full is None:
        return "never proven by an independent check (nbguard check)"
    parts = [
        f"{what} {_local(at)}" for what, at in (("a canary", memory.canary_at), ("a restore", memory.drill_at)) if at
    ]
    done = ", ".join(parts) or "nothing yet"
    return f"last proven: {done}; last checked {_local(memory.full.at)}"


def _standing(channel: ChannelReport) -> str:
    answered = f", last answered {_local(channel.answered_at)}" if channel.answered_at is not None else ""
    waiting = f", {_count(channel.waiting, 'message')} waiting" if channel.waiting else ""
    trouble = f" ({_readable(channel.trouble)})" if channel.trouble else ""
    return f"{channel.state}{answered}{waiting}{trouble}"


def _freshness(mirror: MirrorReport) -> str:
    if mirror.verified_at is None:
        done = "nothing was read back from it yet"
    else:
        done = f"all of ours was read back {_local(mirror.verified_at)}"
    behind = f", behind since {_local(mirror.behind_since)}" if mirror.behind_since is not None else ""
    trouble = f" ({_readable(mirror.trouble)})" if mirror.trouble else ""
    return f"{done}{behind}{trouble}"


def _channel(channel: ChannelReport) -> dict[str, object]:
    return {
        "name": _readable(channel.name),
        "human": _readable(channel.human),
        "address": _readable(channel.address),
        "state": str(channel.state),
        "answered_at": _time(channel.answered_at),
        "asked_at": _time(channel.asked_at),
        "sent_at": _time(channel.sent_at),
        "trouble": _readable(channel.trouble),
        "waiting": channel.waiting,
    }


def _mirror(mirror: MirrorReport) -> dict[str, object]:
    return {
        "name": _readable(mirror.name),
        "address": _readable(mirror.address),
        "tried_at": _time(mirror.tried_at),
        "verified_at": _time(mirror.verified_at),
        "behind_since": _time(mirror.behind_since),
        "trouble": _readable(mirror.trouble),
        "foreign": _readable(mirror.foreign),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def _local(at: datetime) -> str:
    local = at.astimezone()
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def _notes(report: Report) -> Iterator[str]:
    slow = report.facts.slow
    if slow:
        yield (
            f"{_count(len(slow), 'notebook')} over {report.slow_over_bytes / 1e6:,.0f} MB: at most one version per "
            f"{report.slow_interval_seconds / 60:g} minutes, and the last quiet state"
        )


def _reports(report: Report) -> tuple[RootReport, ...]:
    beat = report.facts.daemon.heartbeat
    return beat.roots if beat is not None and report.verdict.running else ()


def _watching(root: RootReport) -> dict[str, object]:
    return {
        **_path_fields(root.path),
        "mode": root.mode,
        "notebooks": root.notebooks,
        "watches": root.watches,
        "last_sweep_at": iso(root.last_sweep_at) if root.last_sweep_at is not None else None,
        "note": root.note,
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "message": _readable(problem.message),
        "hint": _readable(problem.hint),
        "since": iso(problem.since),
        "subject": _readable(problem.subject),
    }


def _path_fields(path: str) -> Mapping[str, str]:
    readable = _readable(path)
    if readable == path:
        return {"path": path}
    return {"path": readable, "path_b64": b64encode(os.fsencode(path)).decode("ascii")}


def _readable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
