"""The frozen nouns. A notebook's save becomes a SaveNotice, a Draft in the spool, a Version in the catalog.

Paths are absolute ``str`` decoded with surrogateescape (``os.fsdecode``), so every byte string a file system can
hold has one; they become bytes again only at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What a version is worth. Cleared outputs are not a status."""

    OK = "ok"
    EMPTIED = "emptied"
    DAMAGED = "damaged"
    DELETED = "deleted"


class Trigger(StrEnum):
    """What made us keep a version."""

    WATCH = "watch"
    SWEEP = "sweep"
    SNAPSHOT = "snapshot"
    JUPYTER = "jupyter"
    IMPORT = "import"
    RESTORE = "restore"
    RESCUE = "rescue"


class DraftKind(StrEnum):
    """``version`` carries bytes; ``tombstone`` says the path is gone; the others are a human's word on a version."""

    VERSION = "version"
    TOMBSTONE = "tombstone"
    ACCEPT = "accept"
    PIN = "pin"


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """The order of observation, not the wall clock.

    ``epoch`` counts the boots this spool has seen, ``boottime_ns`` is CLOCK_BOOTTIME taken before the read,
    ``sequence`` counts within the observing process.
    """

    epoch: int
    boottime_ns: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.boottime_ns}.{self.sequence}"

    @staticmethod
    def parse(text: str) -> Moment:
        """The reverse of ``str``. Raises ValueError."""
        epoch, boottime_ns, sequence = text.split(".")
        return Moment(int(epoch), int(boottime_ns), int(sequence))

    def sortable(self) -> bytes:
        """16 bytes that sort as the moment does (big-endian 4 + 8 + 4)."""
        return self.epoch.to_bytes(4, "big") + self.boottime_ns.to_bytes(8, "big") + self.sequence.to_bytes(4, "big")

    @staticmethod
    def from_sortable(raw: bytes) -> Moment:
        """The reverse of :meth:`sortable`."""
        return Moment(int.from_bytes(raw[:4], "big"), int.from_bytes(raw[4:12], "big"), int.from_bytes(raw[12:], "big"))


@dataclass(frozen=True, slots=True)
class Signature:
    """What stat says of a file; equal signatures mean the bytes need not be read again."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Measure:
    """What the judge needs of a readable notebook: its cells and the characters in their sources."""

    cells: int
    source_chars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One durable file in the spool, without its bytes. ``size`` and ``sha256`` are of the notebook's raw bytes.

    A tombstone has no sha256. ACCEPT and PIN name their version in ``about``. ``tip`` is False for bytes that are
    kept but never were the notebook's latest state (imported checkpoints, rescue material).
    """

    id: str
    kind: DraftKind
    path: str
    moment: Moment
    boot: str
    observed_at: datetime
    trigger: Trigger
    root: str
    install: str
    size: int = 0
    sha256: str | None = None
    signature: Signature | None = None
    tip: bool = True
    renamed_from: str | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One kept state of one notebook. ``commit`` is None while it is only in the spool.

    ``notebook`` is the lineage: the id of the notebook's first version, the same across renames.
    ``saved_at`` is when it was observed (UTC); for an imported checkpoint, the checkpoint's own time.
    """

    id: str
    notebook: str
    path: str
    moment: Moment
    saved_at: datetime
    size: int
    sha256: str | None
    cells: int | None
    source_chars: int | None
    status: Status
    trigger: Trigger
    tip: bool
    root: str
    install: str
    boot: str
    previous: str | None = None
    renamed_from: str | None = None
    signature: Signature | None = None
    commit: str | None = None
    pinned: bool = False
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The latest known state of one path: what capture compares with."""

    path: str
    notebook: str
    version: str
    sha256: str | None
    signature: Signature | None
    moment: Moment
    status: Status
    parent_device: int | None = None

    @property
    def is_deleted(self) -> bool:
        return self.sha256 is None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookEntry:
    """One row of ``list``: a notebook by its latest version."""

    notebook: str
    path: str
    versions: int
    latest: Version


class NoticeKind(StrEnum):
    """Why a path may need a look. CLOSED and MOVED_IN arrive when the bytes are complete; CREATED does not say so."""

    CLOSED = "closed"
    MOVED_IN = "moved-in"
    CREATED = "created"
    GONE = "gone"
    SWEPT = "swept"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class SaveNotice:
    """A hint that ``path`` may hold a new version. ``seen_at`` is monotonic seconds.

    ``renamed_from`` is a hint only: it is believed when that path is really gone.
    """

    path: str
    kind: NoticeKind
    seen_at: float
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong now. ``code`` is from the list in docs/problems.md; ``since`` is UTC."""

    code: str
    message: str
    hint: str
    since: datetime
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootReport:
    """How one root is watched: ``mode`` is events, polling or gone."""

    path: str
    mode: str
    notebooks: int
    watches: int
    last_sweep_at: datetime | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a running daemon writes about itself every few seconds; a hint, never a proof.

    ``beat_monotonic`` (seconds, None when unknown) stands still while the machine sleeps, as ``beat_boottime_ns`` does
    not: the two together tell a hung daemon from a laptop that has just woken.
    """

    pid: int
    boot: str
    since: datetime
    beat_at: datetime
    beat_boottime_ns: int
    version: str
    roots: tuple[RootReport, ...]
    problems: tuple[Problem, ...]
    stopped: bool = False
    kept: int = 0
    missed_events: int = 0
    beat_monotonic: float | None = None
