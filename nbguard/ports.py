"""What one room needs of another. Rooms never import rooms; app.py hands these over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from nbguard.model import Draft, DraftKind, Head, Moment, NotebookEntry, Signature, Trigger, Version

if TYPE_CHECKING:
    from nbguard.executed import ExecutedCell, Generation, HistorySession, Link, Record, Run, RunOutputs


class DraftStore(Protocol):
    """The spool as capture sees it. ``keep`` returns only when the draft is durable."""

    def moment(self) -> Moment:
        """A new place in the order of observation; take it before the read."""

    def keep(self, draft: Draft, data: bytes) -> Draft:
        """Make a draft durable. Raises StorageTrouble."""

    def keep_stream(self, draft: Draft, fd: int) -> Draft:
        """As keep, copying from an open file; returns the draft with its size and sha256.

        A draft that has a sha256 already is kept only if that is what was copied. Raises StorageTrouble,
        ChangedMeanwhile.
        """

    def draft(
        self,
        *,
        kind: DraftKind,
        path: str,
        moment: Moment,
        trigger: Trigger,
        root: str,
        size: int = 0,
        sha256: str | None = None,
        signature: Signature | None = None,
        tip: bool = True,
        renamed_from: str | None = None,
        about: str | None = None,
        observed_at: datetime | None = None,
    ) -> Draft:
        """Mint a draft: a fresh id, this boot, this installation, the time now (unless ``observed_at``)."""


class Library(Protocol):
    """Everything kept, for reading: spool and archive alike."""

    def entries(self, *, deleted: bool) -> list[NotebookEntry]:
        """Notebooks that exist (or, with ``deleted``, only those that do not), newest change first."""

    def named(self, path: str) -> list[tuple[str, str]]:
        """(path, notebook) for each notebook that is, or once was, exactly at ``path``; the present one first."""

    def ending(self, tail: str) -> list[tuple[str, str]]:
        """(path, notebook) for each notebook whose latest path ends with ``/`` + ``tail``."""

    def log(self, notebook: str) -> list[Version]:
        """All versions of one lineage, newest first."""

    def version(self, version_id: str) -> Version | None:
        """One version by its whole id."""

    def everything_at(self, when: datetime) -> list[Version]:
        """For each path that held a notebook at ``when``: its newest version not later (no tombstones)."""

    def read(self, version: Version) -> bytes:
        """The exact bytes, checked against sha256. Raises ArchiveTrouble, NothingMatched for a tombstone."""


class HeadSource(Protocol):
    """Where the daemon's memory of every path comes from at start."""

    def heads(self) -> Sequence[Head]: ...


class RecordLog(Protocol):
    """Where records are kept: append-only, durable, never changed."""

    def append(self, records: Sequence[Record]) -> None:
        """Keep records, in order; durable when it returns. Raises StorageTrouble (then none of them counts)."""


class OutputStore(Protocol):
    """Where recorded outputs are kept, for a time."""

    def put(self, outputs: Sequence[RunOutputs]) -> None:
        """Keep outputs; durable when it returns. Raises StorageTrouble."""

    def get(self, run: str, since: datetime | None = None) -> str | None:
        """The JSON text of a run's list of outputs; None when there is none, or it was pruned. ``since``: not kept
        before that, so older ones need not be read."""


class ExecutedLibrary(Protocol):
    """Every executed cell that was kept, for reading: record log and archive alike."""

    def generations(self) -> list[Generation]:
        """Every generation, in the order in which they were first seen."""

    def sessions(self) -> list[HistorySession]:
        """Every session, oldest first."""

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        """The cells of one session by line; where a line was seen twice with other text, both, as they were seen."""

    def links(self) -> list[Link]:
        """Every link that counts, oldest first."""

    def runs(self, *, kernel: str | None = None, path: str | None = None) -> list[Run]:
        """Recorded runs, oldest first: all, or those of one kernel, or of one notebook's path."""


class Outside(Protocol):
    """What keeps our files alive outside HOME. Neither method raises: trouble with it costs no version."""

    def hold(self, path: str) -> None:
        """A file of ours was just made: a draft, a segment, recorded outputs."""

    def release(self, names: Sequence[str]) -> None:
        """Drafts or segments of these file names are about to go, for the archive has them: what it took is held when
        this returns."""


ImportDrafts = Callable[[Iterable[tuple[Draft, bytes]], Callable[[list[tuple[Draft, Version]]], None]], int]
"""Import drafts with their bytes in groups; the callback is told of each group once it is protected."""

Keep = Callable[[str, Trigger], Version]
"""Keep one path now and return its version (also when these bytes were already kept). Raises NbguardError."""

Progress = Callable[[int, int], None]
"""Called with (done, total) while a person waits; total 0 means unknown."""
