"""Observations to incidents: opened once, worse at once, over only when who can see it has seen it gone for a while.

When something is told is not decided by haste. A stall and a gap count as they are seen (their observer's rules have
waited already). A warning is held for two minutes: whatever is gone by then was nothing that a human need hear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from nbguard.alert.state import Incident, Instant, State, Telling, Way
from nbguard.alerting import MessageKind, Observation, Observer, Weighed, Weight
from nbguard.settings import Alerts

RANK = {Weight.ADVICE: 0, Weight.WARNING: 1, Weight.GAP: 2, Weight.STALL: 3}
SHOWN_ONLY = frozenset({"recipient-unproven", "single-channel", "no-channel", "alert-failed"})
"""About the channels themselves: the roll call, or what is owed, goes through them already."""

OWN = frozenset({"recipient-overdue", "alerts-damaged"})
"""What the desk itself observes."""

MOST_OF_ONE_CODE = 500
MORE = "…"
_LONGEST_WORDS = 600
_LONGEST_SUBJECT = 4_096
_WORDS_SECONDS = 1_500.0
_REMEMBERED_SECONDS = 86_400.0
_LONGEST_DAMPING_SECONDS = 21_600.0


def held_seconds(alerts: Alerts) -> float:
    """How long a warning must last before it is told: 2 minutes, less where all of alerting is quicker."""
    return min(120.0, alerts.next_channel_seconds / 15)


def damping_seconds(incident: Incident, alerts: Alerts) -> float:
    """How long it must be gone before it is over: 10 minutes, twice as long each time that it came back."""
    base = min(600.0, alerts.next_channel_seconds / 3)
    return min(base * 2.0 ** min(incident.flaps, 16), max(base, _LONGEST_DAMPING_SECONDS))


def is_acknowledged(incident: Incident) -> bool:
    return incident.acknowledged_seconds is not None


def is_told_of(incident: Incident, now: Instant, alerts: Alerts) -> bool:
    """Whether humans are to hear of it now: open, not just gone, not acknowledged, and past its holding time."""
    return (
        incident.is_open
        and incident.absent_seconds is None
        and not is_acknowledged(incident)
        and (
            incident.weight is not Weight.WARNING
            or incident.rounds > 0
            or now.seconds - incident.began_seconds >= held_seconds(alerts)
        )
    )


def observe(state: State, observation: Observation, now: Instant, new_id: Callable[[], str]) -> State:
    """Take in what an observer found, and what it would have seen and did not. Equal when it is nothing new."""
    found = _folded(each for each in observation.found if _counts(each))
    known = {incident.key: incident for incident in state.incidents}
    for key, weighed in found.items():
        before = known.get(key)
        if before is None:
            known[key] = _opened(weighed, observation, now, new_id())
        else:
            known[key] = _seen_again(before, weighed, observation, now)
    for key, incident in list(known.items()):
        if key not in found and _is_seen_absent(incident, observation):
            if _is_unheard_of(state, incident):
                del known[key]
            elif incident.absent_seconds is None:
                known[key] = replace(incident, absent_seconds=now.seconds, absent_at=now.at)
    incidents = tuple(known.values())
    return state if incidents == state.incidents else replace(state, incidents=incidents)


def settle(state: State, now: Instant, alerts: Alerts) -> State:
    """What time alone does: acknowledgements run out, what is gone long enough is resolved, old stories are dropped."""
    incidents, ways = [], list(state.ways)
    for incident in state.incidents:
        if not incident.is_open:
            if now.seconds - (incident.resolved_seconds or 0.0) < _REMEMBERED_SECONDS or _is_owed(ways, incident):
                incidents.append(incident)
            continue
        gone = incident.absent_seconds
        if gone is not None and now.seconds - gone >= damping_seconds(incident, alerts):
            incidents.append(replace(incident, resolved_seconds=now.seconds))
            ways = [_told_that_it_is_over(way, incident, now) for way in ways]
            continue
        since = incident.acknowledged_seconds
        if since is not None and now.seconds - since >= alerts.acknowledged_seconds:
            incidents.append(_from_the_start(incident, now))
        else:
            incidents.append(incident)
    return _changed(state, tuple(incidents), tuple(ways))


def acknowledge(state: State, ids: Iterable[str], now: Instant) -> State:
    """A human knows of these: they are not told again for a while, and nobody else need be told of them now."""
    known = frozenset(ids)
    incidents = tuple(
        replace(each, acknowledged_seconds=now.seconds) if each.id in known and each.is_open else each
        for each in state.incidents
    )
    ways = tuple(
        replace(
            way,
            owed=tuple(one for one in way.owed if one.incident not in known or one.kind is MessageKind.RESOLVED),
        )
        for way in state.ways
    )
    return _changed(state, incidents, ways)


def _counts(weighed: Weighed) -> bool:
    return weighed.weight is not Weight.ADVICE and weighed.problem.code not in SHOWN_ONLY


def _folded(found: Iterable[Weighed]) -> dict[tuple[str, str], Weighed]:
    """By (code, subject), the worst of each; beyond the most of one code, the rest are one."""
    kept: dict[tuple[str, str], Weighed] = {}
    count: dict[str, int] = {}
    for each in sorted(found, key=lambda weighed: -RANK[weighed.weight]):
        code, subject = each.problem.code, each.problem.subject[:_LONGEST_SUBJECT]
        if (code, subject) in kept:
            continue
        count[code] = count.get(code, 0) + 1
        if count[code] <= MOST_OF_ONE_CODE:
            kept[code, subject] = each
        elif (code, MORE) not in kept:
            message = f"there is more of this than {MOST_OF_ONE_CODE}: {each.problem.message}"
            kept[code, MORE] = replace(each, problem=replace(each.problem, message=message, subject=MORE))
    return kept


def _opened(weighed: Weighed, observation: Observation, now: Instant, new_id: str) -> Incident:
    problem = weighed.problem
    return Incident(
        id=new_id,
        code=problem.code,
        subject=problem.subject[:_LONGEST_SUBJECT],
        weight=weighed.weight,
        message=problem.message[:_LONGEST_WORDS],
        hint=problem.hint[:_LONGEST_WORDS],
        observer=observation.observer,
        began_at=min(problem.since, now.at),
        began_seconds=now.seconds,
        origin_seconds=now.seconds,
        words_seconds=now.seconds,
    )


def _seen_again(before: Incident, weighed: Weighed, observation: Observation, now: Instant) -> Incident:
    incident = before
    if not incident.is_open:  # it came back: the same trouble, and told anew
        incident = replace(
            _from_the_start(incident, now),
            resolved_seconds=None,
            began_seconds=now.seconds,
            flaps=incident.flaps + 1,
        )
    if incident.absent_seconds is not None:
        incident = replace(incident, absent_seconds=None, absent_at=None)
    is_worse = RANK[weighed.weight] > RANK[incident.weight]
    if is_worse:
        incident = replace(_from_the_start(incident, now), weight=weighed.weight, observer=observation.observer)
    if is_worse or incident is not before or now.seconds - incident.words_seconds >= _WORDS_SECONDS:
        problem = weighed.problem
        words = (problem.message[:_LONGEST_WORDS], problem.hint[:_LONGEST_WORDS])
        if words != (incident.message, incident.hint):
            incident = replace(incident, message=words[0], hint=words[1], words_seconds=now.seconds)
    return incident


def _from_the_start(incident: Incident, now: Instant) -> Incident:
    return replace(incident, origin_seconds=now.seconds, rounds=0, joined=(), acknowledged_seconds=None)


def _is_seen_absent(incident: Incident, observation: Observation) -> bool:
    """Who claims to see everything sees neither into the desk's own affairs nor, as a peer, into the machine. The
    daemon takes back what it said itself: that it has no trouble with a disk does not make the check's forecast wrong.
    """
    if not incident.is_open:
        return False
    if observation.sees is None:
        return observation.observer is not Observer.PEER and incident.code not in OWN
    if observation.observer is Observer.DAEMON and incident.observer is not Observer.DAEMON:
        return False
    return incident.code in observation.sees


def _is_unheard_of(state: State, incident: Incident) -> bool:
    return incident.told_seconds is None and not incident.heard and not _is_owed(state.ways, incident)


def _is_owed(ways: Iterable[Way], incident: Incident) -> bool:
    return any(one.incident == incident.id for way in ways for one in way.owed)


def _told_that_it_is_over(way: Way, incident: Incident, now: Instant) -> Way:
    """Whoever heard of it hears that it is over; where nobody could be reached, so do those who should have heard."""
    was_owed = any(one.incident == incident.id for one in way.owed)
    owed = tuple(one for one in way.owed if one.incident != incident.id)
    if way.name in incident.heard or (was_owed and not incident.heard):
        over = Telling(incident=incident.id, kind=MessageKind.RESOLVED, since_seconds=now.seconds)
        owed = (*owed, over)
    return way if owed == way.owed else replace(way, owed=owed)


def _changed(state: State, incidents: tuple[Incident, ...], ways: tuple[Way, ...]) -> State:
    if incidents == state.incidents and ways == state.ways:
        return state
    return replace(state, incidents=incidents, ways=ways)
