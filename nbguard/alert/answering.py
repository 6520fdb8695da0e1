"""What a typed code does: proves the channel it went through, and silences what was told with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from nbguard.alert.codes import are_too_many, find, normalised
from nbguard.alert.incidents import acknowledge
from nbguard.alert.roll_call import answered
from nbguard.alert.state import Incident, Instant, State


class Outcome(StrEnum):
    """``too-many``: ten wrong codes within an hour; none is heard until the hour is over."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of an answer: the channel and human it proved, and the incidents that are silent now."""

    outcome: Outcome
    channel: str = ""
    human: str = ""
    incidents: tuple[Incident, ...] = ()
    silent_seconds: float = 0.0

    @property
    def is_accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED


def words_of(answered: Answered) -> str:
    """What became of an answer, for people."""
    match answered.outcome:
        case Outcome.ALREADY:
            return "that code was answered before"
        case Outcome.EXPIRED:
            return "that code has expired"
        case Outcome.TOO_MANY:
            return "too many wrong codes: none is heard for an hour"
        case Outcome.UNKNOWN:
            return "that is no code of a message from here"
    about = f"thank you: {answered.human} reads {answered.channel}"
    if not answered.incidents:
        return about
    codes = ", ".join(dict.fromkeys(incident.code for incident in answered.incidents))
    return f"{about}; silent for at most {answered.silent_seconds / 86_400:g} days, or until it is over: {codes}"


def take(state: State, typed: str, now: Instant, silent_seconds: float) -> tuple[State, Answered]:
    """Judge a typed code. A wrong one is remembered, for they are few in an hour; what is no code at all is not."""
    if are_too_many(state.wrong, now.seconds):
        return state, Answered(outcome=Outcome.TOO_MANY)
    code = find(state.codes, typed)
    if code is None:
        wrong = (*state.wrong, now.seconds) if normalised(typed) is not None else state.wrong
        return replace(state, wrong=wrong), Answered(outcome=Outcome.UNKNOWN)
    way = state.way(code.channel)
    human = way.human if way is not None else ""
    if code.is_used or code.expires_seconds <= now.seconds:
        outcome = Outcome.ALREADY if code.is_used else Outcome.EXPIRED
        return state, Answered(outcome=outcome, channel=code.channel, human=human)
    silent = tuple(each for each in state.incidents if each.id in code.incidents and each.is_open)
    state = acknowledge(state, code.incidents, now)
    state = replace(
        state,
        ways=tuple(answered(each, now) if each.name == code.channel else each for each in state.ways),
        codes=tuple(replace(each, is_used=True) if each == code else each for each in state.codes),
    )
    return state, Answered(
        outcome=Outcome.ACCEPTED, channel=code.channel, human=human, incidents=silent, silent_seconds=silent_seconds
    )
