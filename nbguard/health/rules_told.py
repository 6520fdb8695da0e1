"""Rules about who hears of it and what lies elsewhere: channels, mirrors, standing advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alerting import ChannelState, MirrorReport, Weighed, Weight
from nbguard.health.facts import Allowances, Facts
from nbguard.health.weighing import spell, weighed

PROVEN = frozenset({ChannelState.LIVE, ChannelState.DUE})


def is_unproven(facts: Facts) -> bool:
    """Whether channels are configured, none of them is known to be read, and that was not accepted on record."""
    choices = facts.choices
    if choices is None or not choices.channels or choices.without_channels:
        return False
    return not any(channel.state in PROVEN for channel in facts.channels)


def channels(facts: Facts) -> Iterator[Weighed]:
    """Whether a living human hears of trouble, in the desk's own words; without a desk, that there is no channel."""
    yield from facts.about_channels
    choices = facts.choices
    if facts.about_channels or choices is None or choices.channels or not facts.configured:
        return
    hint = "nbguard setup --notify URL"
    if choices.without_channels:
        hint = "you chose so (alerts.without_channels); nbguard setup --notify URL changes it"
    message = "if protection stops, nobody is told: only `nbguard status` says it"
    yield weighed(facts, "no-channel", message, hint, Weight.ADVICE)


def mirrors(facts: Facts, allowed: Allowances) -> Iterator[Weighed]:
    """Copies elsewhere that are late, or that somebody else writes to."""
    for mirror in facts.mirrors:
        if mirror.foreign:
            message = f"another installation writes where ours should be: {mirror.foreign}"
            hint = (
                "nothing there was touched. Where two machines work with copies of one state folder, or this one was "
                "brought back from an older copy: remove `install-id` from its state folder, then nbguard mirror sync; "
                "what only the mirror has: nbguard adopt, with another NBGUARD_HOME"
            )
            yield weighed(facts, "mirror-foreign", message, hint, subject=mirror.name)
        yield from _lateness(facts, allowed, mirror)


def _lateness(facts: Facts, allowed: Allowances, mirror: MirrorReport) -> Iterator[Weighed]:
    """Shown while it cannot be brought up to date, and told when that has lasted for days: a laptop is away from its
    mirror every day. While the machine was off or asleep nobody could, nor could a daemon that is not there."""
    beat = facts.daemon.heartbeat
    is_tended = beat is not None and not beat.stopped
    able_since = max(facts.awake_since, beat.since.timestamp() if beat is not None and is_tended else 0.0)
    now, tried, behind = facts.now.timestamp(), mirror.tried_at, mirror.behind_since
    unseen = now - max(tried.timestamp() if tried is not None else 0.0, able_since)
    lacked = 0.0 if behind is None else max(0.0, now - behind.timestamp())
    able = 0.0 if behind is None else min(lacked, max(0.0, now - able_since))
    is_stuck = is_tended and unseen > allowed.mirror_late_seconds
    is_told = lacked > allowed.mirror_told_seconds and able > allowed.mirror_late_seconds
    if not (is_stuck or is_told or mirror.trouble or able > allowed.stalled_seconds):
        return
    if behind is not None:
        message = (
            f"it has lacked what was kept here for {spell(lacked)}{f': {mirror.trouble}' if mirror.trouble else ''}"
        )
    else:
        message = mirror.trouble or f"nobody has looked at it for {spell(unseen)}"
    hint = "it is tried again by itself; nbguard mirror sync tries now"
    weight = Weight.WARNING if is_stuck or is_told else Weight.ADVICE
    since = lacked if behind is not None else unseen if is_stuck else 0.0
    yield weighed(facts, "mirror-late", message, hint, weight, subject=mirror.name, seconds_ago=since)


def standing(facts: Facts) -> Iterator[Weighed]:
    """How it could be set up better."""
    choices = facts.choices
    if choices is None or not facts.configured or not facts.roots:
        return
    if not choices.mirrors and choices.shares_disk:
        message = "the archive is on the same file system as your notebooks: it dies with them"
        yield weighed(facts, "no-mirror", message, "nbguard mirror add URL: another disk or machine", Weight.ADVICE)
    if not choices.has_service:
        message = "no service is installed: after the next start of this machine nobody starts the daemon"
        yield weighed(facts, "no-service", message, "nbguard service install", Weight.ADVICE)
