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
    """While the machine was off or asleep nobody could bring it up to date, nor could a daemon that is not there."""
    beat = facts.daemon.heartbeat
    able_since = max(facts.awake_since, beat.since.timestamp() if beat is not None and not beat.stopped else 0.0)
    now, hint = facts.now.timestamp(), "it is tried again by itself; nbguard mirror sync tries now"
    if mirror.behind_since is not None:
        late = max(0.0, now - max(mirror.behind_since.timestamp(), able_since))
        message = f"it has lacked what was kept here for {spell(late)}{f': {mirror.trouble}' if mirror.trouble else ''}"
    else:
        tried = mirror.tried_at.timestamp() if mirror.tried_at is not None else 0.0
        late = now - max(tried, able_since)
        message = mirror.trouble or f"nobody has looked at it for {spell(late)}"
    # A laptop is away from its mirror every day: that is shown at once, and told when it lasts.
    is_shown = mirror.trouble or (mirror.behind_since is not None and late > allowed.stalled_seconds)
    if late > allowed.mirror_late_seconds or is_shown:
        weight = Weight.WARNING if late > allowed.mirror_late_seconds else Weight.ADVICE
        yield weighed(facts, "mirror-late", message, hint, weight, subject=mirror.name, seconds_ago=late)


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
