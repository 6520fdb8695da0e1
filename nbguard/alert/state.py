"""The nouns of what the alert desk remembers, whole and small, so that one file holds it.

Times called ``…_seconds`` are desk seconds: they count real seconds (asleep ones too) since this state began, never run
back, and do not care how the wall clock is set. Wall-clock times (UTC) are for people only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from nbguard.alerting import MessageKind, Observer, Weight

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, as every decision of this room is given it: desk seconds, and the wall clock for people."""

    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The clocks as they stood when the state was last written: what desk seconds are counted on from."""

    seconds: float = 0.0
    at: datetime = _EPOCH
    boot: str = ""
    boottime_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble of weight warning or worse, known by (code, subject), from when it was seen until it is resolved.

    ``origin_seconds`` is where its repeats are counted from: when it began, got worse, or fell out of its
    acknowledgement. ``rounds`` of them were told, the last at ``told_seconds``. ``joined`` are the channels that are
    told in this round of escalation, ``heard`` those that ever took a message of it. ``absent_seconds`` is when it was
    last seen to be over; that is believed after a while, and then it is resolved.
    """

    id: str
    code: str
    subject: str
    weight: Weight
    message: str
    hint: str
    observer: Observer
    began_at: datetime
    began_seconds: float
    origin_seconds: float
    words_seconds: float
    rounds: int = 0
    told_seconds: float | None = None
    joined: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    acknowledged_seconds: float | None = None
    absent_seconds: float | None = None
    absent_at: datetime | None = None
    resolved_seconds: float | None = None
    flaps: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.code, self.subject

    @property
    def is_open(self) -> bool:
        return self.resolved_seconds is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One incident that one channel is still to be told of."""

    incident: str
    kind: MessageKind
    since_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One channel as the desk knows it: what it still has to be sent, how sending goes, and its roll call.

    ``digest`` changes when the channel does. ``owed`` is its outbox, ``owes_call`` a roll call that is to be sent.
    ``tries`` counts failures in a row, the next attempt is at ``again_seconds``. ``claimed_seconds``: until then one
    process is sending. ``called_seconds`` is when the roll call that is still open began, ``reminded_seconds`` when
    it was first reminded of.
    """

    name: str
    human: str
    digest: str
    owed: tuple[Telling, ...] = ()
    owes_call: bool = False
    tries: int = 0
    again_seconds: float = 0.0
    failing_seconds: float | None = None
    refused: bool = False
    trouble: str = ""
    claimed_seconds: float = 0.0
    sent_at: datetime | None = None
    answered_seconds: float | None = None
    answered_at: datetime | None = None
    called_seconds: float | None = None
    asked_at: datetime | None = None
    reminded: int = 0
    reminded_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code that went out, as its salted SHA-256. Who answers it proves ``channel`` and acknowledges ``incidents``."""

    salt: str
    digest: str
    channel: str
    incidents: tuple[str, ...]
    minted_at: datetime
    expires_seconds: float
    is_used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All of it. ``revision`` grows with each writing: of several copies the highest counts. ``wrong`` are the times
    of wrong codes."""

    salt: str
    revision: int = 0
    seen: Seen = field(default_factory=Seen)
    incidents: tuple[Incident, ...] = ()
    ways: tuple[Way, ...] = ()
    codes: tuple[Code, ...] = ()
    wrong: tuple[float, ...] = ()

    def way(self, name: str) -> Way | None:
        return next((way for way in self.ways if way.name == name), None)

    def incident(self, incident_id: str) -> Incident | None:
        return next((each for each in self.incidents if each.id == incident_id), None)


def instant(seen: Seen, *, at: datetime, boot: str, boottime_ns: int) -> Instant:
    """Count desk seconds on from the clocks as they were last seen.

    Within a boot the boot clock counts, which nobody can set. Across boots there is only the wall clock; when it went
    back, as much time passed as can be proved: what this boot has lasted longer than the one before had.
    """
    is_longer = boottime_ns >= seen.boottime_ns
    proved = (boottime_ns - seen.boottime_ns if is_longer else boottime_ns) / 1e9
    if not seen.boot:
        proved = 0.0
    elif seen.boot != boot or not is_longer:
        proved = max(proved, (at - seen.at).total_seconds())
    return Instant(seen.seconds + proved, at)
