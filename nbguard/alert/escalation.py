"""Who is told when: the first channel at once, the next after half an hour, all after two; and again, for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.alerting import ChannelState
from nbguard.settings import Alerts

_DAY_SECONDS = 86_400.0
RELIED_ON = frozenset({ChannelState.LIVE, ChannelState.DUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One channel in the order of the configuration. ``transport`` is mail, chat…; ``is_failing``: its last attempt
    did not get through."""

    name: str
    human: str
    transport: str
    state: ChannelState
    is_failing: bool = False

    @property
    def is_relied_on(self) -> bool:
        """Whether a message to it may be expected to be read."""
        return self.state in RELIED_ON and not self.is_failing


def rounds_due(elapsed_seconds: float, repeat_seconds: Sequence[float]) -> int:
    """How many moments of telling have come since the start. The last of ``repeat_seconds`` goes on as a pause."""
    if elapsed_seconds < 0:
        return 0
    moments = sorted(repeat_seconds) or [0.0]
    due = sum(1 for moment in moments if moment <= elapsed_seconds)
    if due == len(moments):
        due += int((elapsed_seconds - moments[-1]) // _pause(moments))
    return due


def moment_of(round_number: int, repeat_seconds: Sequence[float]) -> float:
    """When a round (counted from 0) is due, in seconds since the start."""
    moments = sorted(repeat_seconds) or [0.0]
    if round_number < len(moments):
        return moments[round_number]
    return moments[-1] + (round_number - len(moments) + 1) * _pause(moments)


def reach(
    candidates: Sequence[Candidate], elapsed_seconds: float, alerts: Alerts, *, about: str | None = None
) -> tuple[str, ...]:
    """The channels that are told so long after the start.

    Where nobody can be relied on, everybody is told. A channel that cannot be relied on is told in its turn, and the
    next one at the same time. ``about`` is a channel that is the trouble itself: all others are told, at once.
    """
    others = [each for each in candidates if each.name != about]
    if about is not None or elapsed_seconds >= alerts.all_channels_seconds:
        return tuple(each.name for each in others)
    proven = [each for each in others if each.state is not ChannelState.UNPROVEN]
    ordered = [*proven, *(each for each in others if each.state is ChannelState.UNPROVEN)]
    ordered = _others_first(ordered)
    wanted = 2 if elapsed_seconds >= alerts.next_channel_seconds else 1
    return tuple(each.name for each in _until(ordered, wanted))


def transport_of(url: str, *, is_command: bool) -> str:
    """The kind of way that a channel's URL is: its scheme, without the secure variant's s."""
    scheme = "command" if is_command else url.split(":", 1)[0].lower()
    return scheme.removesuffix("s")


def _until(ordered: Sequence[Candidate], relied_on: int) -> Sequence[Candidate]:
    """The beginning, up to and with so many that can be relied on; all, where there are not so many."""
    for position, each in enumerate(ordered, 1):
        relied_on -= each.is_relied_on
        if relied_on == 0:
            return ordered[:position]
    return ordered


def _others_first(ordered: list[Candidate]) -> list[Candidate]:
    """After the first that can be relied on: another human before the same one, another transport before the same."""
    first = next((position for position, each in enumerate(ordered) if each.is_relied_on), None)
    if first is None:
        return ordered
    chosen = ordered[first]

    def likeness(each: Candidate) -> tuple[bool, bool, bool]:
        return each.state is ChannelState.UNPROVEN, each.human == chosen.human, each.transport == chosen.transport

    return [*ordered[: first + 1], *sorted(ordered[first + 1 :], key=likeness)]


def _pause(moments: Sequence[float]) -> float:
    return moments[-1] if moments[-1] >= 1.0 else _DAY_SECONDS
