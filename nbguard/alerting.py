"""Nouns of what is told: what an observer found, what is sent to whom, and how channels and mirrors stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from nbguard.model import Problem
from nbguard.settings import Channel


class Weight(StrEnum):
    """How much a problem weighs: advice is shown and never sent; a gap is a notebook or kernel that is not protected;
    a stall means that protection has stopped."""

    ADVICE = "advice"
    WARNING = "warning"
    GAP = "gap"
    STALL = "stall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A problem and its weight."""

    problem: Problem
    weight: Weight


class Observer(StrEnum):
    """Who looked: the daemon at itself, the light or the full check, or a peer at a mirror."""

    DAEMON = "daemon"
    LIGHT = "light"
    FULL = "full"
    PEER = "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one look found. ``sees`` are the codes whose absence means that the trouble is over; None: every code."""

    observer: Observer
    at: datetime
    boot: str
    boottime_ns: int
    found: tuple[Weighed, ...]
    sees: frozenset[str] | None = None


class MessageKind(StrEnum):
    """Why something is sent."""

    INCIDENT = "incident"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    ROLL_CALL = "roll-call"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a human reads: plain text, no notebook content. ``code`` is what they answer with."""

    kind: MessageKind
    title: str
    body: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a channel answered. ``refused``: it will not do better later (unknown recipient, bad URL). ``printed``: what
    a command of the user's printed, which may hold secrets; it is shown to who asks, and never kept, logged or sent.
    """

    is_sent: bool
    answer: str
    refused: bool = False
    printed: str = ""


class Sender(Protocol):
    """Sends through one channel within its time-out; never raises, never prints a secret."""

    def send(self, channel: Channel, message: Message) -> Sent: ...


class ChannelState(StrEnum):
    """Whether a human is known to read a channel: only their answers move it towards live."""

    UNPROVEN = "unproven"
    LIVE = "live"
    DUE = "due"
    OVERDUE = "overdue"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """One channel as `status` and `alert list` show it; ``address`` without its secrets."""

    name: str
    human: str
    address: str
    state: ChannelState
    answered_at: datetime | None = None
    asked_at: datetime | None = None
    sent_at: datetime | None = None
    trouble: str = ""
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """One mirror as it stood when it was last tried. ``verified_at``: when all of ours was last read back from it."""

    name: str
    address: str
    tried_at: datetime | None = None
    verified_at: datetime | None = None
    behind_since: datetime | None = None
    trouble: str = ""
    foreign: str = ""
