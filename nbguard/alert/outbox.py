"""The outbox: what each channel is still to be sent, as values. Nothing leaves before it is written down here.

A channel owes each incident at most once, and its words are made when it is sent: a week without a network ends in one
summary, not in a flood. What was sent and not recorded (a crash in between) is sent again: at least once, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from nbguard.alert.codes import MOST_CODES_OF_ONE_CHANNEL, WRONG_SECONDS, digest_of
from nbguard.alert.escalation import Candidate, moment_of, reach, rounds_due, transport_of
from nbguard.alert.incidents import is_told_of, settle
from nbguard.alert.roll_call import SharedCall, call, changed, channel_state, leaves_it_to_others
from nbguard.alert.state import Code, Incident, Instant, State, Telling, Way
from nbguard.alerting import MessageKind, Sent
from nbguard.settings import Alerts, Channel, RollCall

_LONGEST_BACKOFF_SECONDS = 3_600.0
_REFUSED_BACKOFF_SECONDS = 21_600.0
_LONGEST_TROUBLE = 300
_TELL_EXPIRED_SECONDS = 2_592_000.0


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


def plan(
    state: State, channels: Sequence[Channel], now: Instant, pace: Pace, elsewhere: Sequence[SharedCall] = ()
) -> State:
    """Everything that has become due by now, put where it is owed. Equal when nothing has."""
    state = settle(_without_orphans(state), now, pace.alerts)
    candidates = _candidates(state, channels, now, pace)
    state = _take_back(state, candidates, now, pace)
    state = _told(state, candidates, now, pace)
    ways = tuple(_called(way, state.salt, now, pace, elsewhere) for way in state.ways)
    codes = tuple(code for code in state.codes if code.expires_seconds + _TELL_EXPIRED_SECONDS > now.seconds)
    wrong = tuple(at for at in state.wrong if now.seconds - at < WRONG_SECONDS)
    if (ways, codes, wrong) == (state.ways, state.codes, state.wrong):
        return state
    return replace(state, ways=ways, codes=codes, wrong=wrong)


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


def _candidates(state: State, channels: Sequence[Channel], now: Instant, pace: Pace) -> tuple[Candidate, ...]:
    urls = {channel.name: transport_of(channel.url, is_command=bool(channel.command)) for channel in channels}
    return tuple(
        Candidate(
            name=way.name,
            human=way.human,
            transport=urls.get(way.name, ""),
            state=channel_state(way, now, pace.calls),
            is_failing=way.tries > 0,
        )
        for way in state.ways
    )


def _reached(incident: Incident, candidates: Sequence[Candidate], now: Instant, pace: Pace) -> tuple[str, ...]:
    about = incident.subject if incident.code == "recipient-overdue" else None
    return reach(candidates, now.seconds - incident.origin_seconds, pace.alerts, about=about)


def _without_orphans(state: State) -> State:
    """Nothing is owed of an incident that nobody remembers."""
    known = {each.id for each in state.incidents}
    if all(one.incident in known for way in state.ways for one in way.owed):
        return state
    ways = (replace(way, owed=tuple(one for one in way.owed if one.incident in known)) for way in state.ways)
    return replace(state, ways=tuple(ways))


def _take_back(state: State, candidates: Sequence[Candidate], now: Instant, pace: Pace) -> State:
    """What was owed to a channel only because another one failed, and that one got it through meanwhile."""
    spare = set()
    for incident in state.incidents:
        if incident.is_open and incident.heard:
            reached = _reached(incident, candidates, now, pace)
            spare |= {(name, incident.id) for name in incident.joined if name not in (*reached, *incident.heard)}
    if not spare:
        return state
    ways = tuple(
        replace(way, owed=tuple(one for one in way.owed if (way.name, one.incident) not in spare)) for way in state.ways
    )
    incidents = tuple(
        replace(each, joined=tuple(name for name in each.joined if (name, each.id) not in spare))
        for each in state.incidents
    )
    return replace(state, ways=ways, incidents=incidents)


def _told(state: State, candidates: Sequence[Candidate], now: Instant, pace: Pace) -> State:
    """Whoever is due to be told of an incident, or to be reminded, now owes it."""
    repeats = pace.alerts.repeat_seconds
    due, anew = set(), set()
    told_of = [each for each in state.incidents if is_told_of(each, now, pace.alerts)]
    known = {each.id for each in told_of}
    for each in told_of:
        if rounds_due(now.seconds - each.origin_seconds, repeats) > each.rounds:
            due.add(each.id)
    due -= {each.id for each in told_of if each.rounds == 0 and _waits_for_more(each, told_of, now, pace)}
    if any(each.rounds > 0 and each.id in due for each in told_of):
        anew = {each.id for each in told_of if _may_come_along(each, now, repeats)}
    owed: dict[str, list[Telling]] = {}
    incidents = []
    for each in state.incidents:
        if each.id not in known or (each.rounds == 0 and each.id not in due):
            incidents.append(each)
            continue
        reached = _reached(each, candidates, now, pace)
        is_due = each.id in due or each.id in anew
        for name in reached:
            if is_due or name not in each.joined:
                kind = MessageKind.REMINDER if name in each.heard and each.rounds else MessageKind.INCIDENT
                owed.setdefault(name, []).append(Telling(incident=each.id, kind=kind, since_seconds=now.seconds))
        joined = (*each.joined, *(name for name in reached if name not in each.joined))
        if is_due:
            rounds = max(rounds_due(now.seconds - each.origin_seconds, repeats), each.rounds + 1)
            incidents.append(replace(each, rounds=rounds, told_seconds=now.seconds, joined=joined))
        else:
            incidents.append(each if joined == each.joined else replace(each, joined=joined))
    if not owed and incidents == list(state.incidents):
        return state
    ways = tuple(_owing(way, owed.get(way.name, ())) for way in state.ways)
    return replace(state, incidents=tuple(incidents), ways=ways)


def _waits_for_more(incident: Incident, told_of: Sequence[Incident], now: Instant, pace: Pace) -> bool:
    """What comes in drops (one notebook after another) is gathered: of one code there is one message in 5 minutes."""
    gathering = min(300.0, pace.alerts.next_channel_seconds / 6)
    return any(
        other.code == incident.code
        and other.rounds > 0
        and other.weight is incident.weight
        and other.told_seconds is not None
        and now.seconds - other.told_seconds < gathering
        for other in told_of
    )


def _may_come_along(incident: Incident, now: Instant, repeats: Sequence[float]) -> bool:
    """Half of the pause to its next reminder is over: it comes along with another's, instead of a letter of its own."""
    if incident.rounds == 0 or incident.told_seconds is None:
        return False
    pause = moment_of(incident.rounds, repeats) - moment_of(incident.rounds - 1, repeats)
    return now.seconds - incident.told_seconds >= pause / 2


def _owing(way: Way, more: Sequence[Telling]) -> Way:
    """One telling for an incident: a newer one takes the place of one that did not get through."""
    if not more:
        return way
    before = {one.incident: one for one in way.owed}
    for one in more:
        old = before.pop(one.incident, None)
        if old is not None and old.kind is MessageKind.INCIDENT:
            before[one.incident] = replace(one, kind=old.kind)
        else:
            before[one.incident] = one
    return replace(way, owed=tuple(before.values()))


def _called(way: Way, salt: str, now: Instant, pace: Pace, elsewhere: Sequence[SharedCall]) -> Way:
    patience = int(salt[:4], 16) / 0x10000
    if leaves_it_to_others(way, elsewhere, now, pace.calls, patience=patience):
        return way
    return call(way, now, pace.calls)


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
