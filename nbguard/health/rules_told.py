"""Rules about who hears of it and what lies elsewhere: channels, mirrors, standing advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alerting import ChannelReport, ChannelState, Weighed, Weight
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
    """Whether a living human hears of trouble."""
    choices = facts.choices
    if choices is None:
        return
    if not choices.channels:
        message = "nobody is told when protection stops: only `nbguard status` says it"
        hint = "nbguard setup --notify URL"
        if choices.without_channels:
            hint = "as you chose (alerts.without_channels); nbguard setup --notify URL changes it"
        if facts.configured:
            yield weighed(facts, "no-channel", message, hint, Weight.ADVICE)
        return
    if is_unproven(facts):
        message = "no channel is proven: nobody has answered yet that they read what is sent"
        hint = "nbguard alert test sends a code; answer it with nbguard ack CODE"
        yield weighed(facts, "recipient-unproven", message, hint)
    if choices.channels == 1:
        message, hint = (
            "there is one channel only: if it fails, nobody hears",
            "nbguard setup --notify URL adds another",
        )
        yield weighed(facts, "single-channel", message, hint, Weight.ADVICE)
    for channel in facts.channels:
        yield from _one_channel(facts, channel)


def _one_channel(facts: Facts, channel: ChannelReport) -> Iterator[Weighed]:
    if channel.state in (ChannelState.OVERDUE, ChannelState.DEAD):
        message = f"{channel.human} has not answered through {channel.name}: has this person left?"
        if channel.state is ChannelState.DEAD:
            message = f"nothing reaches {channel.human} through {channel.name}: {channel.trouble or 'it was refused'}"
        hint = "answer with nbguard ack CODE, or give another channel: nbguard setup --notify URL"
        yield weighed(facts, "recipient-overdue", message, hint, subject=channel.name)


def mirrors(facts: Facts, allowed: Allowances) -> Iterator[Weighed]:
    """Copies elsewhere that are late, or that somebody else writes to."""
    for mirror in facts.mirrors:
        if mirror.foreign:
            message = f"another installation writes where ours should be: {mirror.foreign}"
            hint = "nothing of theirs was touched; give each installation its own state, then nbguard mirror sync"
            yield weighed(facts, "mirror-foreign", message, hint, subject=mirror.name)
        if mirror.behind_since is None:
            continue
        # While the machine was off or asleep, nobody could bring it up to date.
        began = max(mirror.behind_since.timestamp(), facts.awake_since)
        late = facts.now.timestamp() - began
        if late > allowed.mirror_late_seconds:
            why = f": {mirror.trouble}" if mirror.trouble else ""
            message = f"it has lacked what was kept here for {spell(late)}{why}"
            hint = "it is tried again by itself; nbguard mirror sync tries now"
            yield weighed(facts, "mirror-late", message, hint, subject=mirror.name, seconds_ago=late)


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
