"""The frozen nouns of what kernels ran: sessions, executed cells, links and recorded runs.

Apart from model.py, which every `log` and `show` imports: making so many nouns takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Confidence(StrEnum):
    """How sure a link is. EXACT was seen while the kernel lived; the others come from comparing contents."""

    EXACT = "exact"
    PROBABLE = "probable"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


class Frontend(StrEnum):
    """What a kernel was started for."""

    NOTEBOOK = "notebook"
    CONSOLE = "console"
    VSCODE = "vscode"
    TERMINAL = "terminal"
    OTHER = "other"


class CellOrigin(StrEnum):
    """Where an executed cell was read: rows of a history database, or the memory of a live kernel."""

    DATABASE = "database"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One life of one history database: session numbers are unique only within it.

    ``path`` is where the database lies, or ``:memory:`` for a kernel that keeps its history to itself.
    ``first_started_at`` is the first session's start as the database has it (naive local time), or empty.
    """

    id: str
    path: str
    device: int
    inode: int
    first_started_at: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySession:
    """One session of one generation, as last seen (a later record of the same session replaces an earlier one).

    Times are UTC; None where the database has none, or one that cannot be read.
    """

    generation: str
    session: int
    started_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime

    @property
    def id(self) -> str:
        """What people type: ``3f9a12bc-42``."""
        return session_id(self.generation, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedCell:
    """One executed cell: (generation, session, line) is its key, ``seen_at`` (UTC) the time nbguard saw it.

    ``source`` is what was typed (``source_raw``); ``transformed`` is what ran where that differs. ``output`` is the
    text of the last expression, where history holds it.
    """

    generation: str
    session: int
    line: int
    source: str
    seen_at: datetime
    origin: CellOrigin = CellOrigin.DATABASE
    transformed: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What ties a session, or a kernel's life without one, to a notebook; the newest of a session and path counts.

    ``path`` is the notebook's at ``seen_at`` (None: it belongs to no file). ``evidence`` names what was seen, the
    strongest first. ``since`` and ``until`` bound the time in which the session belonged to that path.
    """

    generation: str | None
    session: int | None
    path: str | None
    frontend: Frontend
    confidence: Confidence
    evidence: tuple[str, ...]
    seen_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    kernel: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution seen on a kernel's IOPub channel; its outputs lie apart, under the same id, and may be pruned.

    ``status`` is ``ok``, ``error``, ``aborted`` or ``unfinished``. ``note`` says what was left out, or is empty.
    """

    id: str
    kernel: str
    execution_count: int | None
    source: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    path: str | None = None
    generation: str | None = None
    session: int | None = None
    outputs: int = 0
    output_bytes: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """That runs of a kernel were recorded: of one session and one notebook, where that was known; when the first and
    the last of them began."""

    kernel: str
    generation: str | None
    session: int | None
    path: str | None
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutputs:
    """The outputs of one run: ``outputs`` is the JSON text of a list of outputs as nbformat 4 has them."""

    run: str
    recorded_at: datetime
    outputs: str


Record = Generation | HistorySession | ExecutedCell | Link | Run
"""What the record log holds."""


SessionKey = tuple[str, int]
"""A session: its generation and its number in it."""


def session_id(generation: str, session: int) -> str:
    """What people type for a session: eight characters of its generation, and its number."""
    return f"{generation[:8]}-{session}"
