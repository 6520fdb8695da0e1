"""How much each problem weighs, and small words that every rule uses. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from nbguard.alerting import Weighed, Weight
from nbguard.health.facts import Facts
from nbguard.model import Problem

MOST_LISTED: Final = 20
STORAGE_CODES: Final = frozenset({"no-space", "no-inodes", "read-only", "io-error"})

STANDING: Final = frozenset({"no-mirror", "no-channel", "single-channel", "no-service"})
"""Advice about how nbguard is set up: it is listed, and changes neither state nor exit code."""

ADVICE: Final = frozenset({*STANDING, "emptied", "clock-jumped", "polling", "watch-overflow"})
"""Of the daemon's own problems, those that are shown and never sent."""

GAPS: Final = frozenset({"kernel-history-lost", "root-unreadable", "archive-damaged"})
"""Of the daemon's own problems, those that mean that something in scope is not protected."""

ONLY_THE_DAEMON_SEES: Final = frozenset(
    {
        "watch-limit",
        "watch-overflow",
        "watcher-dead",
        "worker-failed",
        "mass-deletion",
        "recorder-dropped",
        "draft-damaged",
        "kernel-history-lost",
        "own-files-removed",
        "emergency-refused",
        "refuge-partial",
        "polling",
        "archive-moved",
        "archive-rebuilt",
        "catalog-broken",
        "checker-late",
    }
)
"""Their absence means something only while the daemon runs and says so."""

SEEN_BY_LIGHT: Final = frozenset(
    {"daemon-down", "crash-loop", "unit-failed", "clock-jumped", "config-invalid", "mirror-late", "mirror-foreign"}
)
"""Codes whose absence a light check can tell."""

NEEDS_A_WHOLE_LOOK: Final = frozenset(
    {
        *STORAGE_CODES,
        "not-kept",
        "too-large",
        "emptied",
        "packer-behind",
        "archive-damaged",
        "archive-missing",
        "root-gone",
        "root-unreadable",
        "unreachable",
        "coverage-fell",
        "stale-lock",
        "unit-inactive",
        "linger-off",
        "executable-missing",
    }
)
"""Codes whose absence means nothing when something could not be looked at."""

ALL_CODES: Final = frozenset(
    {
        *ADVICE,
        *GAPS,
        *ONLY_THE_DAEMON_SEES,
        *SEEN_BY_LIGHT,
        *NEEDS_A_WHOLE_LOOK,
        "home-wiped",
        "not-looked-at",
        "mirror-late",
        "mirror-foreign",
    }
)

OF_THE_DESK: Final = frozenset(
    {"recipient-unproven", "recipient-overdue", "single-channel", "no-channel", "alert-failed", "alerts-damaged"}
)
"""About the channels themselves: whoever sends knows them first, and no check tells it of them."""

_RANK: Final = {Weight.ADVICE: 0, Weight.WARNING: 1, Weight.GAP: 2, Weight.STALL: 3}


KEEPING_WORKERS: Final = frozenset({"watcher", "saves"})
"""Workers of the daemon without which no save is kept."""


def weight_of(code: str, subject: str = "") -> Weight:
    """What a problem weighs that the daemon reports of itself."""
    if code == "worker-failed" and subject in KEEPING_WORKERS:
        return Weight.GAP
    return Weight.ADVICE if code in ADVICE else Weight.GAP if code in GAPS else Weight.WARNING


def weighed(
    facts: Facts,
    code: str,
    message: str,
    hint: str,
    weight: Weight = Weight.WARNING,
    *,
    subject: str = "",
    seconds_ago: float = 0.0,
) -> Weighed:
    """One rule's answer, that began ``seconds_ago``."""
    since = before(facts.now, seconds_ago)
    return Weighed(problem=Problem(code=code, message=message, hint=hint, since=since, subject=subject), weight=weight)


def before(now: datetime, seconds: float) -> datetime:
    """So long ago; the beginning of time where the calendar does not go that far."""
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)


def unique(findings: Iterable[Weighed]) -> list[Weighed]:
    """One for each (code, subject); the heaviest weight and the earliest time of any of them stay. Heaviest first."""
    kept: dict[tuple[str, str], Weighed] = {}
    for finding in findings:
        key = (finding.problem.code, finding.problem.subject)
        known = kept.get(key)
        if known is None:
            kept[key] = finding
        else:
            kept[key] = Weighed(
                # The later one's words: the daemon knows the reason.
                problem=replace(finding.problem, since=min(known.problem.since, finding.problem.since)),
                weight=max(known.weight, finding.weight, key=_RANK.__getitem__),
            )
    return sorted(kept.values(), key=lambda finding: -_RANK[finding.weight])


def spell(seconds: float) -> str:
    """Seconds in words a person counts in."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}s"
    return f"{seconds:.0f} s"


def ago(facts: Facts, timestamp: float) -> str:
    """How long before now that second since 1970 was."""
    return spell(max(0.0, facts.now.timestamp() - timestamp))
