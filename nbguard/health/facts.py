"""What was seen of protection, as values; gather.py and check.py do the seeing, verdict.py the judging."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nbguard.alerting import ChannelReport, MirrorReport, Weighed
from nbguard.model import Heartbeat, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """The daemon from the outside. Ages are seconds; ``awake_seconds`` leaves out the time the machine slept.

    ``is_excused``: nbguard itself took it down (an upgrade, an uninstallation). ``bad_starts`` are those of the last
    hour after an end that nobody meant.
    """

    heartbeat: Heartbeat | None = None
    age_seconds: float | None = None
    awake_seconds: float | None = None
    same_boot: bool = False
    up_seconds: float = 0.0
    pid_alive: bool = False
    lock_held: bool = False
    is_excused: bool = False
    bad_starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFacts:
    """One root as this process sees it. ``trouble`` is empty, ``root-gone`` or ``root-unreadable``.

    ``is_unmounted``: the file system that it was on is away, not the folder alone. ``is_unseen``: it is there, and to
    look through it took too long. ``notebooks`` in scope now,
    ``before`` at the last check (None: not known), ``living`` those that have a version and no tombstone.
    """

    path: str
    trouble: str = ""
    reason: str = ""
    is_unmounted: bool = False
    is_unseen: bool = False
    device: int | None = None
    notebooks: int = 0
    before: int | None = None
    living: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotected:
    """A notebook whose bytes on disk are not durable with us.

    ``quiet_seconds`` since its bytes last changed; ``waiting_seconds`` since this daemon could have kept them, which is
    less for what was moved into a root or was there before the daemon. ``is_hidden``: size, times and inode are those
    of what was kept, and only reading it showed other bytes.
    """

    path: str
    size: int
    quiet_seconds: float
    waiting_seconds: float
    is_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFacts:
    """Durable versions not yet packed."""

    drafts: int = 0
    bytes: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """``made`` says that one was made here once; ``present`` that it is there now. ``stale_locks`` are git's own locks
    that nobody can be holding any more."""

    made: bool = False
    present: bool = False
    trouble: Problem | None = None
    stale_locks: tuple[str, ...] = ()


class Proof(StrEnum):
    """What a check proves by doing it."""

    CANARY = "canary"
    EMERGENCY = "emergency"
    ARCHIVE_DISK = "archive-disk"
    STATE_DISK = "state-disk"
    TIP = "tip"
    DRILL = "drill"
    CONNECTIVITY = "connectivity"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A proof that failed, and why; ``problem.since`` is when it first did."""

    proof: Proof
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """The service as its manager has it; only where one was installed. ``lingers`` is None where nothing like it
    exists; ``state`` is the manager's word; ``checks_off`` are the checks that it does not run."""

    manager: str
    enabled: bool
    active: bool
    state: str
    executable_exists: bool
    lingers: bool | None
    checks_off: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFacts:
    """One file system that matters: for what, how much is free to us, and in how many seconds it will be full if it
    goes on like this (None: it will not)."""

    path: str
    roles: tuple[str, ...]
    free_bytes: int
    total_bytes: int
    free_inodes: int
    reserve_bytes: int
    full_in_seconds: float | None = None
    no_inodes_in_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """How far the wall clock was set (seconds, forward is positive), and how long ago by the boot clock."""

    jump_seconds: float = 0.0
    ago_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How nbguard is set up to tell and to copy. ``shares_disk``: archive and notebooks lie on one file system."""

    channels: int = 0
    without_channels: bool = False
    mirrors: int = 0
    shares_disk: bool = False
    has_service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that could not be looked at in time."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the verdict is computed from, seen at ``now`` (UTC).

    ``unread`` says why it cannot be told what is durable; ``unprotected`` is empty then. ``bad_configuration`` says why
    there are no settings although there is a file of them; ``unreadable`` are folders below roots that hold known
    notebooks and cannot be read. ``wiped`` tells of homes that were wiped, and where all that was kept is. ``noted``
    are problems that others left a note of; ``about_channels`` what the alert desk says of its channels.
    ``awake_since``: when this machine was started or last woke (seconds since 1970): nobody could do anything before.
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
    noted: tuple[Problem, ...] = ()
    failed: tuple[Failed, ...] = ()
    service: ServiceFacts | None = None
    space: tuple[SpaceFacts, ...] = ()
    clock: ClockFacts = field(default_factory=ClockFacts)
    choices: Choices | None = None
    channels: tuple[ChannelReport, ...] = ()
    about_channels: tuple[Weighed, ...] = ()
    mirrors: tuple[MirrorReport, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    awake_since: float = 0.0


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
    mirror_late_seconds: float = 7_200.0
    mirror_told_seconds: float = 259_200.0
    forecast_seconds: float = 86_400.0
    jump_told_seconds: float = 3_600.0
