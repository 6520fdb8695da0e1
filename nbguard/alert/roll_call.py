"""The roll call: is the human behind a channel still there? Only their answers say so, never that sending went well.

    unproven ──answer──> live ──90 days──> due ──7 days without an answer──> overdue ──4 weeks──> dead
        ^                 ^                 │                                   │                  │
        └─ channel changed└──── an answer to any code that went through it ─────┴──────────────────┘

A hard refusal (unknown recipient) is dead at once, until something gets through again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nbguard.alert.codes import is_code
from nbguard.alert.state import Instant, State, Way
from nbguard.alerting import ChannelState
from nbguard.settings import RollCall

_DEAD_AFTER_OVERDUES = 4.0
_LEAST_NOTICE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCode:
    """A code as another machine may know it: salted SHA-256, hex, and when it ends (UTC)."""

    salt: str
    sha256: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCall:
    """How one human stands on one channel of one machine, without addresses: what machines with one mirror share.

    Channels of the same ``human`` and name (``channel``) on two machines are taken for the same.
    """

    human: str
    channel: str
    state: ChannelState
    asked_at: datetime | None
    answered_at: datetime | None
    codes: tuple[SharedCode, ...] = ()


def channel_state(way: Way, now: Instant, calls: RollCall) -> ChannelState:
    """How a channel stands."""
    if way.refused:
        return ChannelState.DEAD
    if way.answered_seconds is None:
        return ChannelState.UNPROVEN
    if way.called_seconds is None or now.seconds - way.answered_seconds < calls.every_seconds:
        return ChannelState.LIVE
    waited = now.seconds - way.called_seconds
    if waited < calls.overdue_seconds or not _was_reminded(way, now, calls):
        return ChannelState.DUE
    return ChannelState.OVERDUE if waited < _DEAD_AFTER_OVERDUES * calls.overdue_seconds else ChannelState.DEAD


def call(way: Way, now: Instant, calls: RollCall) -> Way:
    """Begin a roll call, or remind of one, when it is time. Equal when it is not."""
    if way.called_seconds is None:
        is_due = way.answered_seconds is None or now.seconds - way.answered_seconds >= calls.every_seconds
        return _called_now(way, now) if is_due else way
    reminders = _reminders_due(now.seconds - way.called_seconds, calls)
    if reminders <= way.reminded:
        return way
    first = now.seconds if way.reminded_seconds is None else way.reminded_seconds
    return replace(way, reminded=reminders, reminded_seconds=first, owes_call=True)


def answered(way: Way, now: Instant) -> Way:
    """A human answered with a code that went through this channel."""
    return replace(
        way,
        answered_seconds=now.seconds,
        answered_at=now.at,
        called_seconds=None,
        owes_call=False,
        reminded=0,
        reminded_seconds=None,
        refused=False,
    )


def changed(way: Way, human: str, digest: str) -> Way:
    """The channel leads elsewhere now, or to somebody else: nobody has proved anything of it."""
    return Way(name=way.name, human=human, digest=digest, owed=way.owed)


def leaves_it_to_others(
    way: Way, others: Sequence[SharedCall], now: Instant, calls: RollCall, *, patience: float
) -> bool:
    """Whether this machine need not ask: another one has asked this human on this channel lately, or may still do so
    first (each waits its own part of a day, ``patience`` from 0 to 1, so that not all ask at the same moment).

    Only for a channel that was proven here once: that mail leaves this machine is no other's to prove.
    """
    same = [each for each in others if _is_same(each, way)]
    if way.answered_seconds is None or way.called_seconds is not None or not same:
        return False
    if now.seconds - way.answered_seconds < calls.every_seconds + patience * calls.every_seconds / 90:
        return True
    lately = now.at - timedelta(seconds=calls.overdue_seconds)
    return any(
        each.asked_at is not None
        and lately <= each.asked_at <= now.at
        and (each.answered_at is None or each.answered_at < each.asked_at)
        for each in same
    )


def export(state: State, now: Instant, calls: RollCall) -> tuple[SharedCall, ...]:
    """What others may know: no address, no secret, and codes as hashes."""
    return tuple(
        SharedCall(
            human=way.human,
            channel=way.name,
            state=channel_state(way, now, calls),
            asked_at=way.asked_at,
            answered_at=way.answered_at,
            codes=tuple(
                SharedCode(
                    salt=code.salt,
                    sha256=code.digest,
                    expires_at=now.at + timedelta(seconds=code.expires_seconds - now.seconds),
                )
                for code in state.codes
                if code.channel == way.name and not code.is_used and code.expires_seconds > now.seconds
            ),
        )
        for way in state.ways
    )


def merge(state: State, others: Iterable[SharedCall], now: Instant) -> State:
    """Renew what was answered on other machines. It never proves a channel that was not proven here."""
    calls = tuple(others)
    ways = tuple(_merged(way, [each for each in calls if _is_same(each, way)], now) for way in state.ways)
    return state if ways == state.ways else replace(state, ways=ways)


def matching(calls: Iterable[SharedCall], typed: str, at: datetime) -> tuple[SharedCall, SharedCode] | None:
    """Another machine's code that a human typed here; every code is compared, whichever it is."""
    found = None
    for each in calls:
        for code in each.codes:
            if is_code(typed, code.salt, code.sha256) and code.expires_at > at:
                found = each, code
    return found


def _called_now(way: Way, now: Instant) -> Way:
    return replace(way, called_seconds=now.seconds, owes_call=True, reminded=0, reminded_seconds=None)


def _was_reminded(way: Way, now: Instant, calls: RollCall) -> bool:
    """A machine that was switched off for a week reminds first, and gives a day's notice: holidays are no departure."""
    if not calls.remind_seconds:
        return True
    notice = min(_LEAST_NOTICE_SECONDS, calls.overdue_seconds / 7)
    return way.reminded_seconds is not None and now.seconds - way.reminded_seconds >= notice


def _reminders_due(waited_seconds: float, calls: RollCall) -> int:
    """Those of the settings; then, for ever, one whenever the code before has run out."""
    moments = sorted(calls.remind_seconds)
    due = sum(1 for moment in moments if moment <= waited_seconds)
    if due < len(moments):
        return due
    last = moments[-1] if moments else 0.0
    return due + int(max(0.0, waited_seconds - last) // calls.code_seconds)


def _is_same(call_: SharedCall, way: Way) -> bool:
    return call_.human == way.human and call_.channel == way.name


def _merged(way: Way, others: Sequence[SharedCall], now: Instant) -> Way:
    if way.answered_seconds is None or way.answered_at is None:
        return way
    heard = [each.answered_at for each in others if each.answered_at is not None and each.answered_at <= now.at]
    latest = max(heard, default=way.answered_at)
    if latest <= way.answered_at:
        return way
    ago = (now.at - latest).total_seconds()
    then = Instant(max(way.answered_seconds, now.seconds - ago), latest)
    return replace(answered(way, then), refused=way.refused)
