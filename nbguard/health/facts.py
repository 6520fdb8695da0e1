"""What was seen of protection, as values; gather.py does the seeing, verdict.py the judging."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nbguard.model import Heartbeat, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """The daemon from the outside. Ages are seconds; ``awake_seconds`` leaves out the time the machine slept."""

    heartbeat: Heartbeat | None = None
    age_seconds: float | None = None
    awake_seconds: float | None = None
    same_boot: bool = False
    up_seconds: float = 0.0
    pid_alive: bool = False
    lock_held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFacts:
    """One root as this process sees it. ``trouble`` is empty, ``root-gone`` or ``root-unreadable``."""

    path: str
    trouble: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotected:
    """A notebook whose bytes on disk are not durable with us.

    ``quiet_seconds`` since its bytes last changed; ``waiting_seconds`` since this daemon could have kept them, which is
    less for what was moved into a root or was there before the daemon.
    """

    path: str
    size: int
    quiet_seconds: float
    waiting_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFacts:
    """Durable versions not yet packed."""

    drafts: int = 0
    bytes: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """``made`` says that one was made here once; ``present`` that it is there now."""

    made: bool = False
    present: bool = False
    trouble: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the verdict is computed from, seen at ``now`` (UTC).

    ``unread`` says why it cannot be told what is durable; ``unprotected`` is empty then. ``bad_configuration`` says why
    there are no settings although there is a file of them; ``unreadable`` are folders below roots that hold known
    notebooks and cannot be read. ``wiped`` tells of homes that were wiped, and where all that was kept is.
    """

    now: datetime
    daemon: DaemonFacts
    configured: bool
    roots: tuple[RootFacts, ...]
    notebooks: int
    unprotected: tuple[Unprotected, ...]
    slow: tuple[str, ...]
    emptied: tuple[str, ...]
    spool: SpoolFacts
    archive: ArchiveFacts
    unread: Problem | None = None
    bad_configuration: Problem | None = None
    unreadable: tuple[str, ...] = ()
    wiped: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """How long things may take before they count, in seconds, and how large a notebook may be, in bytes."""

    heartbeat_seconds: float = 60.0
    quiet_seconds: float = 60.0
    stalled_seconds: float = 600.0
    pack_seconds: float = 1_860.0
    slow_interval_seconds: float = 600.0
    slow_over_bytes: int = 20_000_000
    refuse_over_bytes: int = 512_000_000
