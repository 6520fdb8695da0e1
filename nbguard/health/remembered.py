"""The nouns of what one check leaves for the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """When something last ran: the wall clock, and both clocks of that boot (seconds), which no one can set."""

    at: datetime
    boot: str
    boottime_seconds: float
    monotonic_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Free bytes and inodes of one file system at a second since 1970."""

    at: float
    bytes: int
    inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What was in sight under one root, on which device; ``fell_at`` is when it had fallen (seconds since 1970)."""

    notebooks: int
    device: int | None = None
    fell_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The wall clock was set by ``seconds``. ``wall_before`` is the last second since 1970 that was read before."""

    seconds: float
    wall_before: float
    boot: str
    boottime_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRead:
    """How far a pack was read again in this round, and when it was last read to its end (seconds since 1970)."""

    offset: int = 0
    read_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A proof that failed and has not succeeded since, so that its finding stays until it does."""

    code: str
    message: str
    hint: str
    since: datetime
    subject: str = ""
