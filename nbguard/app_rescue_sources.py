"""The composition root's page for rescue's sources: each wired with what it needs of the other rooms."""

from __future__ import annotations

import glob
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nbguard.app_rescue_mirrors import Mirrors
from nbguard.app_rescue_refuge import Refuges
from nbguard.clock import SystemClock
from nbguard.errors import ArchiveTrouble, NbguardError
from nbguard.processes import is_alive
from nbguard.rescue.findings import SourceName, Unavailable, Wanted

if TYPE_CHECKING:
    from nbguard.app_rescue import Machine
    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.cli.context import Context
    from nbguard.executed import Link
    from nbguard.history.kernels import LiveKernel
    from nbguard.model import Draft
    from nbguard.ports import OutputStore
    from nbguard.rescue.history import NamedSession, RawSession
    from nbguard.rescue.kernels import KernelMemory
    from nbguard.rescue.source import Source
    from nbguard.rescue.survey import Survey
    from nbguard.rescue.trash import Trash

_FOREIGN = (NbguardError, OSError, sqlite3.Error)


class Sources:
    """Every source of one machine. What several of them need is opened once."""

    def __init__(self, context: Context, machine: Machine, surveyed: Survey, searched: Sequence[str]) -> None:
        self._context = context
        self._machine = machine
        self._surveyed = surveyed
        self._searched = searched
        self._library: ArchiveLibrary | None = None
        self._executed: ExecutedArchive | None = None
        self._sessions: dict[tuple[tuple[int, int], int], str] = {}  # (file, number) to generation
        self._unavailable: list[Unavailable] = []
        self._refuges = Refuges(context)
        self._mirrors = Mirrors(context)

    def all(self, wanted: Wanted) -> list[Source]:
        """Those that are asked first; kernels come after the databases, which tell them who they are."""
        from nbguard.history.timeline import kernel_session
        from nbguard.rescue.executed import KeptSessions, Recorder
        from nbguard.rescue.files import Checkpoints, JupyterCheckpoints, PreSaves, TemporaryFiles
        from nbguard.rescue.git_repository import repositories_around
        from nbguard.rescue.git_states import GitStates
        from nbguard.rescue.history import Histories
        from nbguard.rescue.jupyter_config import checkpoint_places
        from nbguard.rescue.kept import Kept
        from nbguard.rescue.kernels import Kernels
        from nbguard.rescue.open_files import OpenFiles
        from nbguard.rescue.searching import Searching
        from nbguard.rescue.vscode import VSCode, vscode_folders
        from nbguard.rescue.ystore import YStores

        machine, surveyed, own = self._machine, self._surveyed, self._context.places
        places = checkpoint_places(machine.environment, machine.home, sys.prefix)
        avoid = frozenset(self._searched) | frozenset(own.own_folders())
        user = os.getuid()
        only_home = machine.home if self._context.home else None
        repositories = repositories_around(wanted.paths, surveyed.repositories)
        return [
            Searching(surveyed),
            *self._refuges.sources(),
            Kept(self._opened_library, self._drafts),
            KeptSessions(self._opened_executed, own.records),
            Recorder(self._opened_executed, self._outputs, own.recorded, kernel_session, self._sessions_of_kernels),
            *self._mirrors.sources(),
            Checkpoints(surveyed, places, machine.temporary),
            PreSaves(surveyed),
            self._trashes(),
            VSCode(vscode_folders(machine.home, machine.config_home, machine.data_home)),
            JupyterCheckpoints(surveyed, places),
            GitStates(repositories, user),
            YStores(tuple(surveyed.ystores), self._file_names()),
            Histories(self._databases, self._understand, own.databases, self._known_cells),
            OpenFiles(machine.proc, user, only_home, self._understand),
            Kernels(self._kernels, SystemClock().now),
            TemporaryFiles(machine.temporary, avoid, user, time.monotonic),
        ]

    def nameless(self, wanted: Wanted, is_likely: Callable[[bytes], bool]) -> list[Source]:
        """Those that know a notebook only by its content."""
        from nbguard.rescue.git_repository import repositories_around
        from nbguard.rescue.git_states import GitNameless

        repositories = repositories_around(wanted.paths, self._surveyed.repositories)
        return [GitNameless(repositories, os.getuid(), is_likely)]

    def links(self) -> list[Link]:
        """Every link that was kept."""
        found: list[Link] = []
        for links in (self._refuges.links, self._mirrors.links, self._own_links):
            try:
                found += links()
            except _FOREIGN:
                continue  # said already, by the sources that read there
        return found

    def _sessions_of_kernels(self) -> dict[str, str]:
        from nbguard.history.answering import sessions_of_kernels

        library = self._opened_executed()
        return sessions_of_kernels(library) if library is not None else {}

    def _own_links(self) -> list[Link]:
        library = self._opened_executed()
        return library.links() if library is not None else []

    def aliases(self, wanted: Wanted) -> frozenset[str]:
        """Every path that the wanted notebook has had."""
        try:
            library = self._opened_library()
            lineages = {each for path in wanted.paths for _, each in library.named(path)} if library else set()
            paths = {version.path for each in lineages for version in library.log(each)} if library else set()
        except _FOREIGN:
            paths = set()
        return frozenset(paths | set(wanted.paths))

    def close(self) -> None:
        """End what was opened for reading."""
        for opened in (self._library, self._executed):
            if opened is not None:
                opened.close()
        self._refuges.close()
        self._mirrors.close()

    def unavailable(self) -> tuple[Unavailable, ...]:
        """What could not be read on the way."""
        return (*self._unavailable, *self._refuges.unavailable)

    def _opened_library(self) -> ArchiveLibrary | None:
        from nbguard.app import archive_of, open_library

        if self._library is None:
            archive, places = archive_of(self._context), self._context.places
            if archive.exists() or archive.was_made() or os.path.isdir(places.spool):
                self._library = open_library(self._context)
        return self._library

    def _opened_executed(self) -> ExecutedArchive | None:
        from nbguard.app_history import executed_library

        if self._executed is None:
            self._executed = executed_library(self._context)
        return self._executed

    def _outputs(self) -> OutputStore:
        from nbguard.app_history import output_store_of

        return output_store_of(self._context)

    def _drafts(self) -> Iterator[tuple[Draft, Callable[[], bytes]]]:
        from nbguard.app import spool_of
        from nbguard.archive.draft_header import OpenDraft

        for spooled in spool_of(self._context).drafts():
            try:
                with OpenDraft(spooled.path) as opened:
                    draft, data = opened.draft, opened.data()
            except FileNotFoundError:
                continue
            except ArchiveTrouble as error:
                self._unavailable.append(Unavailable(SourceName.SPOOL, error.message))
                continue
            yield draft, partial(bytes, data)

    def _trashes(self) -> Trash:
        from nbguard.rescue.trash import Trash, trash_folders
        from nbguard.watch.mounts import is_remote, read_mounts

        machine = self._machine
        # A dead network mount would hold us for ever.
        mounts = tuple(mount.point for mount in read_mounts() if not is_remote(mount.kind))
        plain: tuple[str, ...] = ()
        if machine.platform == "darwin":
            plain = (os.path.join(machine.home, ".Trash"), *glob.glob(f"/Volumes/*/.Trashes/{os.getuid()}"))
        return Trash(trash_folders(machine.data_home, mounts, self._surveyed.trashes, os.getuid()), plain)

    def _file_names(self) -> tuple[str, ...]:
        """Where Jupyter's collaboration extension notes which id is of which file."""
        machine = self._machine
        folders = [machine.environment.get("JUPYTER_DATA_DIR") or "", os.path.join(machine.data_home, "jupyter")]
        if machine.platform == "darwin":
            folders.append(os.path.join(machine.home, "Library", "Jupyter"))
        found = [os.path.join(folder, "file_id_manager.db") for folder in folders if folder]
        return tuple(dict.fromkeys(found))

    def _databases(self) -> Iterator[str]:
        """History databases: of every profile, of live kernels, in the trash, and the copies that nbguard keeps."""
        from nbguard.history.databases import LIVE, ipython_folders, left_in, profiles_in

        machine = self._machine
        for folder in ipython_folders(machine.environment, machine.home):
            for profile in profiles_in(folder):
                yield os.path.join(profile, LIVE)
                yield from left_in(profile)
        yield from sorted(self._surveyed.histories)
        for kernel in self._live():
            yield from (each.path for each in kernel.databases if not each.deleted)
        trashed = [os.path.join(machine.data_home, "Trash", "files"), *self._surveyed.trashes]
        for folder, prefix in ((self._context.places.databases, ""), *((each, "history") for each in trashed)):
            for below, _, names in os.walk(folder):
                for name in sorted(names):
                    if (
                        name.startswith(prefix)
                        and ".sqlite" in name
                        and not name.endswith(("-wal", "-journal", "-shm"))
                    ):
                        yield os.path.join(below, name)

    def _known_cells(self) -> dict[str, int]:
        """How many cells of each session were kept one by one."""
        try:
            library = self._opened_executed()
            sessions = library.sessions() if library is not None else []
            return {each.id: len(library.cells(each.generation, each.session)) for each in sessions} if library else {}
        except _FOREIGN:
            return {}

    def _understand(self, file: tuple[int, int], rows: Sequence[RawSession]) -> Sequence[NamedSession]:
        from nbguard.history.generations import FileIdentity, Lives, SessionRow, ended_utc, started_utc
        from nbguard.rescue.history import NamedSession

        try:
            library = self._opened_executed()
            lives = Lives(library.generations(), library.sessions()) if library is not None else Lives()
        except _FOREIGN:
            lives = Lives()
        identity, now = FileIdentity(*file), SystemClock().now()
        named = []
        for row, generation, _ in lives.assign(
            identity, [SessionRow(each.number, each.start, each.end) for each in rows]
        ):
            started = started_utc(row.start, not_after=now)
            ended = ended_utc(row.end, started_at=started, not_after=now)
            named.append(NamedSession(row.number, generation, started, ended))
            self._sessions[file, row.number] = generation
        return named

    def _live(self) -> list[LiveKernel]:
        from nbguard.history.kernels import live_kernels

        return live_kernels(only_home=self._machine.home if self._context.home else None)

    def _kernels(self) -> Iterator[KernelMemory]:
        from datetime import UTC, datetime

        from nbguard.history.asking import KernelSilent, ask_cells, ask_now
        from nbguard.history.timeline import kernel_session
        from nbguard.rescue.kernels import KernelMemory

        paths = self._paths_of_kernels()
        for kernel in self._live():
            if kernel.connection is None:
                continue  # an IPython in a terminal answers nobody; what it ran is in its database
            number, cells, trouble = None, [], ""
            try:
                cells = ask_cells(kernel)
                is_in_place = kernel.database is not None and not kernel.database.deleted
                number = ask_now(kernel.connection, has_database=is_in_place).session
            except KernelSilent as error:
                if not is_alive(kernel.pid) or not self._concerns_us(kernel, paths):
                    continue
                trouble = "" if cells else error.message
            database = kernel.database
            file = (database.device, database.inode) if database is not None else (0, 0)
            yield KernelMemory(
                id=kernel_session(kernel.kernel or str(kernel.pid)),
                kernel=kernel.kernel,
                pid=kernel.pid,
                path=paths.get(kernel.kernel) or kernel.path,
                generation=self._sessions.get((file, number)) if number is not None else None,
                session=number,
                started_at=datetime.fromtimestamp(kernel.started_at, UTC),
                cells=tuple((cell.line, cell.source, cell.output) for cell in cells),
                trouble=trouble,
            )

    def _concerns_us(self, kernel: LiveKernel, paths: dict[str, str]) -> bool:
        """Whether the silence of a kernel is worth a word: not that of an unknown one of another HOME."""
        from nbguard.history.process_table import environment

        if paths.get(kernel.kernel) or kernel.path:
            return True
        return os.path.normpath(environment(kernel.pid).get("HOME", "")) == os.path.normpath(self._machine.home)

    def _paths_of_kernels(self) -> dict[str, str]:
        """Where each kernel's notebook is now: what its server says, else the newest link that was kept."""
        from nbguard.jupyter_servers import running_servers, runtime_folder, sessions_of

        machine = self._machine
        paths = {link.kernel: link.path for link in self.links() if link.kernel and link.path}
        runtimes: Iterable[str] = [runtime_folder(machine.environment, machine.home, machine.platform)]
        runtimes = dict.fromkeys([*runtimes, *(kernel.runtime for kernel in self._live() if kernel.runtime)])
        for runtime in runtimes:
            for server in running_servers(runtime):
                for session in sessions_of(server) or ():
                    if session.kernel:
                        paths[session.kernel] = session.path
        return paths
