"""The composition root's page for executed cells: where they are kept, and how they are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbguard.app import archive_of, reserve_of
from nbguard.clock import SystemClock
from nbguard.errors import StorageTrouble
from nbguard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.archive.outputs import RecordedOutputs
    from nbguard.archive.record_log import RecordSegments
    from nbguard.archive.record_packing import RecordPacker
    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.executed import HistorySession, Link
    from nbguard.history.answering import Belongs
    from nbguard.history.histories import Histories
    from nbguard.history.kernels import LiveKernel
    from nbguard.history.linking import GenerationOf, Linking
    from nbguard.history.links import Chain
    from nbguard.history.process_table import Life
    from nbguard.model import Version
    from nbguard.ports import ExecutedLibrary, Library, Progress
    from nbguard.problems import ProblemBoard

_LOGS: dict[tuple[str, str], RecordSegments] = {}
_OUTPUTS: dict[tuple[str, str], RecordedOutputs] = {}


def record_log_of(context: Context) -> RecordSegments:
    """The record log, one for all that this process writes. Raises StorageTrouble."""
    log = _log_of(context)
    log.make()
    return log


def _log_of(context: Context) -> RecordSegments:
    from nbguard.archive.record_log import RecordSegments

    places, settings = context.places, context.settings or Settings()
    log = _LOGS.get(where := (places.records, places.emergency))
    if log is None:
        log = _LOGS[where] = RecordSegments(
            places.records,
            clock=SystemClock(),
            emergency=places.emergency or None,
            reserve=reserve_of(settings),
            most_seconds=settings.intervals.pack_seconds,
        )
    return log


def record_packer_of(context: Context) -> RecordPacker:
    """What brings the record log into the archive."""
    from nbguard.archive.record_packing import RecordPacker

    settings = context.settings or Settings()
    return RecordPacker(
        archive=archive_of(context),
        log=record_log_of(context),
        clock=SystemClock(),
        reserve=reserve_of(settings),
        seconds=settings.intervals.pack_seconds,
    )


def output_store_of(context: Context) -> RecordedOutputs:
    """Recorded outputs, one store for all that this process writes; nothing is made where nothing was ever kept."""
    from nbguard.archive.outputs import KeepOutputs, RecordedOutputs

    places, settings = context.places, context.settings or Settings()
    store = _OUTPUTS.get(where := (places.recorded, places.emergency))
    if store is None:
        store = _OUTPUTS[where] = RecordedOutputs(
            places.recorded,
            clock=SystemClock(),
            emergency=places.emergency or None,
            policy=KeepOutputs(days=settings.retention.outputs_days, bytes=settings.retention.outputs_bytes),
            reserve=reserve_of(settings),
        )
    if os.path.isdir(places.spool):
        try:
            store.make()
        except StorageTrouble:
            pass  # a reader on a disk that takes nothing; who puts something there hears of it
    return store


def executed_library(context: Context, progress: Progress | None = None) -> ExecutedArchive:
    """Every executed cell that was kept, also without an archive; nothing is made where nothing was ever kept.

    Raises ArchiveTrouble, StorageTrouble, Busy.
    """
    from nbguard.archive.executed_library import ExecutedArchive

    archive = archive_of(context)
    was_used = os.path.isdir(context.places.state) and (archive.exists() or os.path.isdir(context.places.records))
    path = context.places.executed_index if was_used else ":memory:"
    library = ExecutedArchive(path=path, archive=archive, log=_log_of(context))
    library.catch_up(progress)
    return library


def belonging_to(library: Library, notebook: str) -> Belongs:
    """Whether what was at a path at a time is one notebook (a lineage): paths go from one to another."""
    from nbguard.history.lineage import holder_at

    logs: dict[str, dict[str, list[Version]]] = {}

    def belongs(path: str, at: datetime) -> bool:
        if path not in logs:
            lineages = {lineage for _, lineage in library.named(path)}
            logs[path] = {lineage: library.log(lineage) for lineage in lineages}
        return holder_at(path, at, logs[path]) == notebook

    return belongs


def histories_of(
    context: Context,
    *,
    environment: Mapping[str, str],
    clock: Clock,
    board: ProblemBoard,
    kernels: Callable[[], Sequence[LiveKernel]],
    lost: Callable[[LiveKernel], None],
    last_line: Callable[[LiveKernel], int],
) -> Histories:
    """What watches this user's history databases, and those that ``kernels`` hold open. ``lost`` is told of each kernel
    that may have stopped writing history; ``last_line`` is as in Losing. Raises StorageTrouble."""
    import sys

    from nbguard.archive.appending import check_room
    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.history.copies import DatabaseCopies
    from nbguard.history.databases import ipython_folders
    from nbguard.history.histories import Histories
    from nbguard.history.positions import Positions
    from nbguard.history.tail import Tail
    from nbguard.jupyter_servers import runtime_folder

    places, reserve = context.places, reserve_of(context.settings or Settings())
    home = os.path.expanduser("~")

    def room(folder: str, size: int) -> None:
        check_room(folder, size, reserve, is_emergency=folder != places.databases, what="a history database")

    def close(library: ExecutedLibrary) -> None:
        if isinstance(library, ExecutedArchive):
            library.close()

    spare = [os.path.join(places.emergency, "spool", "databases")] if places.emergency else []
    copies = DatabaseCopies([places.databases, *spare], clock=clock, check_room=room)
    copies.make()
    tail = Tail(
        log=record_log_of(context),
        library=lambda: executed_library(context),
        close_library=close,
        positions=Positions(os.path.join(places.state, "histories.json")),
        clock=clock,
    )
    return Histories(
        folders=ipython_folders(environment, home),
        tail=tail,
        copies=copies,
        kernels=kernels,
        clock=clock,
        board=board,
        lost=lost,
        last_line=last_line,
        runtimes=[runtime_folder(environment, home, sys.platform)],
    )


def linking_of(
    context: Context,
    *,
    environment: Mapping[str, str],
    clock: Clock,
    generation_of: GenerationOf,
    stopped_writing: Callable[[], Iterable[Life]],
    is_sound: Callable[[int, int], bool],
) -> Linking:
    """What ties sessions to notebooks while kernels live; with NBGUARD_HOME only kernels whose HOME is ours.

    The cells of kernels that stopped writing history are kept from their memory. Raises StorageTrouble.
    """
    import sys

    from nbguard.history.kernels import KernelFinder
    from nbguard.history.linking import Linking
    from nbguard.history.population import Population
    from nbguard.jupyter_servers import runtime_folder

    home = os.path.expanduser("~")
    finder = KernelFinder(
        only_home=home if context.places.home else None, runtimes=[runtime_folder(environment, home, sys.platform)]
    )

    def known_links() -> list[Link]:
        library = executed_library(context)
        try:
            return library.links()
        finally:
            library.close()

    return Linking(
        population=Population(finder, clock),
        log=record_log_of(context),
        clock=clock,
        generation_of=generation_of,
        chain=renames_of(context),
        known_links=known_links,
        stopped_writing=stopped_writing,
        is_sound=is_sound,
    )


def renames_of(context: Context) -> Chain:
    """The renames that were seen on disk: a path at a time, and where that notebook was since. Opened for each
    question, which is a rare one."""
    import sqlite3

    from nbguard.app import open_library
    from nbguard.errors import StorageTrouble
    from nbguard.history.links import chain_of

    def chain(path: str, at: datetime) -> tuple[str, ...]:
        try:
            library = open_library(context)
            try:
                logs = {lineage: library.log(lineage) for _, lineage in library.named(path)}
            finally:
                library.close()
        except (sqlite3.Error, OSError) as error:
            raise StorageTrouble(f"the catalog cannot be read: {error}", hint="it is tried again") from error
        return chain_of(path, at, logs, is_there=os.path.lexists(path))

    return chain


def guessing(context: Context) -> Callable[[HistorySession, Sequence[str]], list[Link]]:
    """Which notebook a dead session may belong to, by its sources: compared with the newest version of every notebook.

    Every notebook is read when the first session is asked about: seconds for a thousand. Never EXACT.
    """
    from nbguard.app import open_library
    from nbguard.history.content import Notebooks, guessed_links, lines_of

    known: list[tuple[Notebooks, dict[str, str]]] = []

    def guess(session: HistorySession, sources: Sequence[str]) -> list[Link]:
        if not known:
            library = open_library(context)
            try:
                entries = [*library.entries(deleted=False), *library.entries(deleted=True)]
                versions = [_newest_good(library, one.notebook) for one in entries]
                found = {one.notebook: one for one in versions if one is not None}
                lines = {name: lines_of(_code_of(library, one)) for name, one in found.items()}
            finally:
                library.close()
            known.append((Notebooks(lines), {name: one.path for name, one in found.items()}))
        notebooks, paths = known[0]
        return guessed_links(session, notebooks.guess(sources), paths, SystemClock().now())

    return guess


def _newest_good(library: Library, notebook: str) -> Version | None:
    from nbguard.model import Status

    return next((one for one in library.log(notebook) if one.status is Status.OK), None)


def _code_of(library: Library, version: Version) -> list[str]:
    """The sources of a version's code cells; none when its bytes cannot be read."""
    from nbguard.errors import ArchiveTrouble
    from nbguard.recover.cells import read_cells

    try:
        cells = read_cells(library.read(version))
    except ArchiveTrouble:
        return []
    return [cell.source for cell in cells.cells if cell.kind == "code"] if cells is not None else []
