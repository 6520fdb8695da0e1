"""What has become due by now: who owes which telling to whom, and whose roll call it is. Values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbguard.alert.codes import WRONG_SECONDS
from nbguard.alert.escalation import Candidate, moment_of, reach, rounds_due, transport_of
from nbguard.alert.incidents import is_told_of, settle
from nbguard.alert.outbox import Pace
from nbguard.alert.roll_call import SharedCall, call, channel_state, leaves_it_to_others
from nbguard.alert.state import Incident, Instant, State, Telling, Way
from nbguard.alerting import MessageKind
from nbguard.settings import Channel

_TELL_EXPIRED_SECONDS = 2_592_000.0


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
