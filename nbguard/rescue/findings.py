"""What rescue speaks of: what is wanted, what was found where, and what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nbguard.executed import Confidence, ExecutedCell


class SourceName(StrEnum):
    """Where something can still be. The names are a part of ``rescue --json``."""

    ARCHIVE = "archive"
    SPOOL = "spool"
    MIRROR = "mirror"
    CHECKPOINT = "checkpoint"
    PRE_SAVE = "pre-save"
    TRASH = "trash"
    HISTORY = "history"
    OPEN_FILE = "open-file"
    KERNEL = "kernel"
    RECORDER = "recorder"
    YSTORE = "ystore"
    VSCODE = "vscode"
    JUPYTER_CHECKPOINTS = "jupyter-checkpoints"
    GIT = "git"
    TEMP = "temp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for: a notebook, one session, or (neither) everything there is.

    ``paths`` are the absolute paths that the name can mean here, the likeliest first; ``tail`` is the name as it was
    typed, without leading dots and slashes.
    """

    paths: tuple[str, ...] = ()
    tail: str = ""
    session: str = ""

    @property
    def is_everything(self) -> bool:
        return not self.paths and not self.session


@dataclass(frozen=True, slots=True)
class File:
    """A notebook's bytes; ``read`` gives them anew. Raises OSError or NbguardError when they are gone."""

    read: Callable[[], bytes]
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class FoundRun:
    """One execution with its outputs: the JSON text of a list of outputs, or None when they are not known."""

    source: str
    execution_count: int | None
    ran_at: datetime | None
    outputs: str | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Executed cells that belong together, in the order of execution; ``id`` is what people type for it.

    ``runs`` are those whose outputs were recorded. Where there are ``cells`` too, these are all of them.
    """

    id: str
    cells: tuple[ExecutedCell, ...] = ()
    runs: tuple[FoundRun, ...] = ()

    @property
    def sources(self) -> list[str]:
        return [cell.source for cell in self.cells] or [run.source for run in self.runs]

    def numbered(self) -> frozenset[tuple[int | None, str]]:
        """Each cell with its execution count."""
        if self.cells:
            return frozenset((cell.line, cell.source.rstrip("\n")) for cell in self.cells)
        return frozenset((run.execution_count, run.source.rstrip("\n")) for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. ``path`` is where it lies; ``notebook`` is the path of the notebook that it is of, as
    far as the source knows, or only its name, or None.

    ``time`` (UTC) is when this content was last written; ``size`` is in bytes; ``cells`` is None where they cannot be
    counted. ``id`` tells apart what lies at one path: a version, a commit, a session; a plain file has none.
    """

    source: SourceName
    path: str
    time: datetime | None
    size: int
    cells: int | None
    notebook: str | None
    confidence: Confidence
    content: File | Session
    id: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A source, or a part of one, that is there and could not be read."""

    source: SourceName
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """What one source answers."""

    found: tuple[Finding, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()
