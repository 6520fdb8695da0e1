"""How the channels themselves stand: reports for people, problems for the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alert.escalation import RELIED_ON
from nbguard.alert.outbox import Pace
from nbguard.alert.roll_call import channel_state
from nbguard.alert.state import Instant, State, Way
from nbguard.alert.words import duration
from nbguard.alerting import ChannelReport, ChannelState, MessageKind, Observation, Observer, Weighed, Weight
from nbguard.errors import NbguardError
from nbguard.model import Problem

_DAMAGE_TOLD_SECONDS = 3_600.0

PROVEN = RELIED_ON
"""The states in which a human is known to read a channel."""


def report_of(way: Way, state: ChannelState, address: str) -> ChannelReport:
    """One channel as it is shown; ``waiting`` counts what it is still to be sent."""
    return ChannelReport(
        name=way.name,
        human=way.human,
        address=address,
        state=state,
        answered_at=way.answered_at,
        asked_at=way.asked_at,
        sent_at=way.sent_at,
        trouble=way.trouble,
        waiting=len(way.owed) + way.owes_call,
    )


def channel_problems(state: State, now: Instant, pace: Pace, *, trouble: NbguardError | None) -> tuple[Weighed, ...]:
    """recipient-unproven, recipient-overdue, single-channel, no-channel, alert-failed, and a state that cannot be
    written."""
    return tuple(_problems(state, now, pace, trouble))


def about_channels(state: State, now: Instant, pace: Pace) -> Observation:
    """What the desk itself observes: humans who do not answer any more. Its own damage is over once it was heard of."""
    found = channel_problems(state, now, pace, trouble=None)
    damage = (each for each in state.incidents if each.code == "alerts-damaged")
    is_old_news = all(each.heard and now.seconds - each.began_seconds >= _DAMAGE_TOLD_SECONDS for each in damage)
    return Observation(
        observer=Observer.DAEMON,
        at=now.at,
        boot="",
        boottime_ns=0,
        found=tuple(each for each in found if each.problem.code == "recipient-overdue"),
        sees=frozenset({"recipient-overdue", "alerts-damaged"} if is_old_news else {"recipient-overdue"}),
    )


def _problems(state: State, now: Instant, pace: Pace, trouble: NbguardError | None) -> Iterator[Weighed]:
    if trouble is not None:
        yield _warning(now, trouble.code, trouble.message, trouble.hint, subject="alerts")
    if not state.ways:
        if not pace.alerts.without_channels:
            hint = "nbguard setup --notify URL; or accept it: alerts.without_channels = true"
            yield _advice(now, "no-channel", "if protection stops, nobody is told", hint)
        return
    states = {way.name: channel_state(way, now, pace.calls) for way in state.ways}
    if not PROVEN & set(states.values()):
        message = "no channel has been answered by its human: it is not known that anybody would hear of a stall"
        hint = "answer a message that was sent with `nbguard ack CODE`, or send new ones: nbguard alert test"
        yield _warning(now, "recipient-unproven", message, hint)
    if len(states) == 1:
        message = "there is one channel only: if its human leaves, nobody is told"
        hint = "add another, of another kind or to somebody else: nbguard setup --notify URL"
        yield _advice(now, "single-channel", message, hint)
    for way in state.ways:
        if states[way.name] in (ChannelState.OVERDUE, ChannelState.DEAD):
            yield _overdue(way, now)
    owing = [way for way in state.ways if any(one.kind is not MessageKind.RESOLVED for one in way.owed)]
    if owing and all(way.tries > 0 for way in state.ways):
        message = f"no channel takes a message; the first: {owing[0].name}: {owing[0].trouble}"
        yield _warning(now, "alert-failed", message, "it is tried again by itself; try it now: nbguard alert test")


def _overdue(way: Way, now: Instant) -> Weighed:
    hint = "ask them; then `nbguard alert test`, or change the channel in the configuration"
    if way.refused:
        message = f"{way.human} is not reached any more: the channel {way.name} refuses ({way.trouble})"
    else:
        waited = duration(now.seconds - (way.answered_seconds or 0.0))
        message = f"{way.human} has not answered on the channel {way.name} for {waited}: have they left?"
    return _warning(now, "recipient-overdue", message, hint, subject=way.name)


def _warning(now: Instant, code: str, message: str, hint: str, *, subject: str = "") -> Weighed:
    problem = Problem(code=code, message=message, hint=hint, since=now.at, subject=subject)
    return Weighed(problem=problem, weight=Weight.WARNING)


def _advice(now: Instant, code: str, message: str, hint: str) -> Weighed:
    return Weighed(problem=Problem(code=code, message=message, hint=hint, since=now.at), weight=Weight.ADVICE)
