"""The outbox: what each channel is still to be sent, as values. Nothing leaves before it is written down here.

A channel owes each incident at most once, and its words are made when it is sent: a week without a network ends in one
summary, not in a flood. What was sent and not recorded (a crash in between) is sent again: at least once, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from nbguard.alert.codes import MOST_CODES_OF_ONE_CHANNEL, digest_of
from nbguard.alert.roll_call import changed
from nbguard.alert.state import Code, Instant, State, Telling, Way
from nbguard.alerting import MessageKind, Sent
from nbguard.settings import Alerts, Channel, RollCall

_LONGEST_BACKOFF_SECONDS = 3_600.0
_REFUSED_BACKOFF_SECONDS = 21_600.0
_LONGEST_TROUBLE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """All the settings that decide what is sent when. ``claim_seconds``: how long a process may take to send."""

    alerts: Alerts
    calls: RollCall
    claim_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message that this process has claimed to send. ``code`` is known here alone, and only until it is sent."""

    channel: str
    kind: MessageKind
    tellings: tuple[Telling, ...] = ()
    code: str | None = None


def with_channels(state: State, channels: Sequence[Channel], digest: Callable[[Channel], str]) -> State:
    """The ways of the configured channels, in their order; those that changed are unproven again."""
    ways = tuple(_way_of(state, channel, digest(channel)) for channel in channels)
    return state if ways == state.ways else replace(state, ways=ways)


def claim(
    state: State,
    now: Instant,
    pace: Pace,
    mint: Callable[[], tuple[str, str]],
    *,
    but_not: frozenset[str] = frozenset(),
) -> tuple[State, list[Letter]]:
    """What is to be sent now, one letter for a channel, and the state that says so. ``mint`` gives (code, salt)."""
    letters = []
    ways, codes = [], list(state.codes)
    for way in state.ways:
        if way.name in but_not or not is_ready(way, now):
            ways.append(way)
            continue
        kind = _kind(way.owed)
        code = None
        if kind is not MessageKind.RESOLVED:
            code, salt = mint()
            codes.append(
                Code(
                    salt=salt,
                    digest=digest_of(salt, code),
                    channel=way.name,
                    incidents=tuple(one.incident for one in way.owed if one.kind is not MessageKind.RESOLVED),
                    minted_at=now.at,
                    expires_seconds=now.seconds + pace.calls.code_seconds,
                )
            )
        letters.append(Letter(channel=way.name, kind=kind, tellings=way.owed, code=code))
        ways.append(replace(way, claimed_seconds=now.seconds + pace.claim_seconds))
    if not letters:
        return state, []
    return replace(state, ways=tuple(ways), codes=_bounded(codes)), letters


def record(state: State, results: Iterable[tuple[Letter, Sent]], now: Instant, pace: Pace) -> State:
    """What became of letters: what is delivered is owed no more, what is not is tried again, later and later."""
    incidents = list(state.incidents)
    ways = list(state.ways)
    for letter, sent in results:
        position = next((number for number, way in enumerate(ways) if way.name == letter.channel), None)
        if position is None:
            continue  # the channel was taken out of the configuration meanwhile
        if not sent.is_sent:
            ways[position] = _failed(ways[position], sent, now, pace)
            continue
        ways[position] = _delivered(ways[position], letter, now)
        told = {one.incident for one in letter.tellings}
        incidents = [
            replace(each, heard=(*each.heard, letter.channel))
            if each.id in told and letter.channel not in each.heard
            else each
            for each in incidents
        ]
    return replace(state, incidents=tuple(incidents), ways=tuple(ways))


def is_ready(way: Way, now: Instant) -> bool:
    """Whether something is to be sent through a channel at this moment."""
    return bool(way.owed or way.owes_call) and way.again_seconds <= now.seconds and way.claimed_seconds <= now.seconds


def _way_of(state: State, channel: Channel, digest: str) -> Way:
    way = state.way(channel.name)
    if way is None:
        return Way(name=channel.name, human=channel.human, digest=digest)
    return way if way.digest == digest else changed(way, channel.human, digest)


def _kind(owed: Sequence[Telling]) -> MessageKind:
    if not owed:
        return MessageKind.ROLL_CALL
    kinds = {one.kind for one in owed}
    first = (MessageKind.INCIDENT, MessageKind.REMINDER, MessageKind.RESOLVED)
    return next(kind for kind in first if kind in kinds)


def _delivered(way: Way, letter: Letter, now: Instant) -> Way:
    sent = {(one.incident, one.since_seconds) for one in letter.tellings}
    is_call = letter.kind is MessageKind.ROLL_CALL
    return replace(
        way,
        owed=tuple(one for one in way.owed if (one.incident, one.since_seconds) not in sent),
        owes_call=way.owes_call and not is_call,
        tries=0,
        again_seconds=0.0,
        failing_seconds=None,
        refused=False,
        trouble="",
        claimed_seconds=0.0,
        sent_at=now.at,
        asked_at=now.at if is_call else way.asked_at,
    )


def _failed(way: Way, sent: Sent, now: Instant, pace: Pace) -> Way:
    first = min(60.0, pace.alerts.next_channel_seconds / 30)
    longest = _REFUSED_BACKOFF_SECONDS if sent.refused else _LONGEST_BACKOFF_SECONDS
    pause = longest if sent.refused else min(first * 2.0 ** min(way.tries, 16), longest)
    return replace(
        way,
        tries=way.tries + 1,
        again_seconds=now.seconds + pause,
        failing_seconds=now.seconds if way.failing_seconds is None else way.failing_seconds,
        refused=way.refused or sent.refused,
        trouble=sent.answer[:_LONGEST_TROUBLE],
        claimed_seconds=0.0,
    )


def _bounded(codes: Sequence[Code]) -> tuple[Code, ...]:
    """The newest codes of each channel; who answers an older one is told that it ran out."""
    count: dict[str, int] = {}
    kept = []
    for code in reversed(codes):
        count[code.channel] = count.get(code.channel, 0) + 1
        if count[code.channel] <= MOST_CODES_OF_ONE_CHANNEL:
            kept.append(code)
    return tuple(reversed(kept))
