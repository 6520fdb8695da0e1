"""Which kernels live: found by their connection files and in the table of processes. They are only looked at.

A kernel's file keeps its name over restarts, so a kernel is known by its name and one life by its process as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from nbguard.clock import SystemClock
from nbguard.executed import Frontend
from nbguard.history import process_table
from nbguard.history.connection import Connection, read_connection
from nbguard.history.process_table import Life, OpenFile

_FILE: Final = re.compile(r"kernel-(?P<id>[^/]{1,150})\.json")
_VSCODE: Final = re.compile(r"v3[0-9a-f]{32,}")
_CONSOLES: Final = ("jupyter-console", "jupyter-qtconsole", "jupyter_console", "qtconsole")
_YOUNG_SECONDS: Final = 10.0
_LOOKS_UNTIL_AFRESH: Final = 9
_OPTIONS: Final = ("-f", "--f", "--IPKernelApp.connection_file")
_MEMORY: Final = "hist_file=:memory:"
# Arguments of IPython in a terminal, which has no connection file: `ipython`, `ipython3`, `python -m IPython`.
_IPYTHON: Final = re.compile(r"(?:.*/)?(?:ipython[\d.]*|IPython(?:/__main__\.py)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKernel:
    """One life of one kernel, or of an IPython in a terminal (then without ``kernel`` and ``connection``).

    ``connection`` is also None when the connection file was gone before we came.
    ``path`` is what its process was told (absolute), which no later rename changes; None when it was told nothing.
    ``started_at`` is in seconds since 1970. ``databases`` are the history databases it holds open, also deleted ones.
    ``keeps_nothing``: it was started with its history in memory on purpose, as nbconvert does. ``generation`` and
    ``session`` are there once the kernel was asked.
    """

    kernel: str
    life: Life
    started_at: float
    frontend: Frontend
    path: str | None
    connection: Connection | None
    databases: tuple[OpenFile, ...]
    connection_file: str = ""
    server_pid: int = 0
    runtime: str = ""
    is_ipython: bool = True
    keeps_nothing: bool = False
    generation: str | None = None
    session: int | None = None

    @property
    def pid(self) -> int:
        return self.life.pid

    @property
    def database(self) -> OpenFile | None:
        """The database its history goes to: one that is still in its place, if there is one."""
        return min(self.databases, key=lambda file: (file.deleted, file.path), default=None)

    @property
    def has_lost_database(self) -> bool:
        """Whether every database it holds open was deleted or replaced: what it runs from now on is only in memory."""
        return bool(self.databases) and all(file.deleted for file in self.databases)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a process was found to be, while it ran what ``image`` tells."""

    image: tuple[Life, tuple[bytes, ...]]
    is_kernel: bool


class KernelFinder:
    """Finds kernels again and again, and looks only at what is new. Use it from one thread.

    ``only_home``: kernels of processes with another HOME are left alone (None: all of this user's).
    """

    def __init__(self, *, only_home: str | None, runtimes: Iterable[str] = ()) -> None:
        self._only_home = os.path.realpath(only_home) if only_home else None
        self._given = tuple(runtimes)
        self._known: dict[Life, LiveKernel] = {}
        self._judged: dict[int, _Judged] = {}
        self._looks_until_afresh = 0
        self.runtimes: set[str] = set(self._given)
        """Folders in which connection files may appear."""

    def look(self, *, whole: bool = True) -> list[LiveKernel]:
        """Every kernel that lives now. Without ``whole``, processes that were looked at before are not again; with it,
        those that were no kernels are if they run another program now, and every tenth time all are."""
        before = self._begin(whole)
        found: dict[Life, LiveKernel] = {}
        for pid in process_table.own_pids():
            known = before.get(pid)
            if known is not None and not known.is_kernel and not whole:
                self._judged[pid] = known
                continue
            image = process_table.image(pid)
            if image is None:
                continue
            if known is not None and known.image == image and not (whole and (known.is_kernel or not image[1])):
                self._judged[pid] = known
                if known.is_kernel:
                    found[image[0]] = self._known[image[0]]
                continue
            kernel = self._judge(image[0])
            if kernel is not None:
                found[kernel.life] = kernel
            # A young process may yet become a kernel, write its connection file, open its database.
            if not _is_young(image[0]):
                self._judged[pid] = _Judged(image, is_kernel=kernel is not None)
        self._known = found
        return _without_launchers(list(found.values()))

    def _begin(self, whole: bool) -> dict[int, _Judged]:
        """What is known of processes that were looked at before."""
        before, self._judged = self._judged, {}
        self._looks_until_afresh -= whole
        if self._looks_until_afresh < 0:
            self._looks_until_afresh = _LOOKS_UNTIL_AFRESH
            return {}
        return before

    def _judge(self, life: Life) -> LiveKernel | None:
        arguments = process_table.command_line(life.pid)
        file = _connection_file(arguments)
        is_terminal = not file and _is_terminal(arguments)
        starts_one = bool(file) or is_terminal or _is_python(arguments)
        if not starts_one and not any("jupyter" in part for part in arguments[:3]):
            return None
        environment = process_table.environment(life.pid)
        if self._only_home and os.path.realpath(environment.get("HOME") or "/nowhere") != self._only_home:
            return None
        runtime = os.path.dirname(file) if os.path.isabs(file) else runtime_of(environment)
        # nbclient puts its connection files into /tmp, where something changes all the time.
        if runtime and (not file or _FILE.fullmatch(os.path.basename(file))):
            self.runtimes.add(runtime)
        if not starts_one:
            return None  # a server: kernels' files will appear in its folder
        if not file and not is_terminal:
            file = f"kernel-{life.pid}.json"  # `python -m ipykernel` chooses its own
        known = self._known.get(life)
        connection = known.connection if known is not None else None
        if connection is None and file:
            connection = _from_its_folder(read_connection(os.path.join(runtime, file)), life.pid)
        if connection is None and not is_terminal and _is_young(life):
            return None
        return _kernel(
            life=life,
            file=file,
            arguments=arguments,
            environment=environment,
            connection=connection,
            databases=databases_of(life.pid),
            runtime=runtime,
        )


def live_kernels(*, only_home: str | None = None) -> list[LiveKernel]:
    """Every kernel and terminal of this user that lives now; of ``only_home``, those whose HOME that is.

    Takes some milliseconds. Nothing is asked of them: ``generation`` and ``session`` are None.
    """
    return KernelFinder(only_home=only_home).look()


def _is_young(life: Life) -> bool:
    return SystemClock().now().timestamp() < process_table.started_at(life) + _YOUNG_SECONDS


def databases_of(pid: int) -> tuple[OpenFile, ...]:
    """The history databases that a process holds open."""
    return tuple(found for found in process_table.open_files(pid) if is_history(found.path))


def is_history(path: str) -> bool:
    """Whether a file is called as IPython calls a history database, corrupt ones included."""
    name = os.path.basename(path)
    return name.startswith("history") and name.endswith(".sqlite")


def runtime_of(environment: Mapping[str, str]) -> str:
    """The runtime folder of a process with this environment; empty when it has no HOME."""
    import sys

    from nbguard.jupyter_servers import runtime_folder

    home = environment.get("HOME", "")
    return runtime_folder(environment, home, sys.platform) if home else ""


def _kernel(
    *,
    life: Life,
    file: str,
    arguments: list[str],
    environment: Mapping[str, str],
    connection: Connection | None,
    databases: tuple[OpenFile, ...],
    runtime: str,
) -> LiveKernel:
    match = _FILE.fullmatch(os.path.basename(file))
    name = match["id"] if match else os.path.basename(file).removesuffix(".json")
    told = environment.get("JPY_SESSION_NAME", "") or (connection.told_path if connection is not None else "")
    frontend, path = _told(told)
    if not file:
        frontend = Frontend.TERMINAL
    elif frontend is None and _VSCODE.match(name) and "JPY_PARENT_PID" not in environment:
        frontend = Frontend.VSCODE
    elif frontend is None:
        above = process_table.command_line(process_table.parent(life.pid))
        is_console = any(os.path.basename(part) in _CONSOLES for part in above[:3])
        frontend = Frontend.CONSOLE if is_console or above[1:2] == ["console"] else Frontend.OTHER
    server = environment.get("JPY_PARENT_PID", "")
    return LiveKernel(
        kernel=name,
        life=life,
        started_at=process_table.started_at(life),
        frontend=frontend,
        path=path,
        connection=connection,
        databases=databases,
        connection_file=os.path.join(runtime, file) if file else "",
        server_pid=int(server) if server.isdecimal() else 0,
        runtime=runtime,
        is_ipython=not file or bool(databases) or _is_python(arguments),
        keeps_nothing=any(_MEMORY in part for part in arguments),
    )


def _from_its_folder(connection: Connection | None, pid: int) -> Connection | None:
    """A socket in the file system may be named from the folder that the kernel was started in."""
    if connection is None or connection.transport != "ipc" or os.path.isabs(connection.ip):
        return connection
    return replace(connection, ip=os.path.join(process_table.folder(pid), connection.ip))


def _told(name: str) -> tuple[Frontend | None, str | None]:
    """What a session's name says: a notebook's absolute path, or a console's ``FOLDER/Console 1``."""
    if not name or name.endswith("/"):
        return None, None  # a session without a name is told its folder
    if not os.path.isabs(name):
        return (Frontend.NOTEBOOK, None) if name.endswith(".ipynb") else (None, None)
    if name.endswith(".ipynb") or os.path.isfile(name):
        return Frontend.NOTEBOOK, os.path.normpath(name)
    return Frontend.CONSOLE, None


def _connection_file(arguments: list[str]) -> str:
    """The argument that is a connection file: by its name, or as what ipykernel takes for one (``-f``)."""
    is_ipykernel = _is_python(arguments)
    for before, part in pairwise(arguments):
        option, _, value = part.rpartition("=") if part.startswith("-") else ("", "", part)
        if _FILE.fullmatch(os.path.basename(value)):
            return value
        if is_ipykernel and value.endswith(".json") and (before in _OPTIONS or option in _OPTIONS):
            return value
    return ""


def _is_terminal(arguments: list[str]) -> bool:
    first = [part for part in arguments[:3] if not part.startswith("-")]
    return any(_IPYTHON.fullmatch(part) for part in first[:2])


def _is_python(arguments: list[str]) -> bool:
    return any("ipykernel" in part for part in arguments[1:5])


def _without_launchers(kernels: list[LiveKernel]) -> list[LiveKernel]:
    """One process for each connection file: a launcher (`conda run`) has the same argument as its kernel, and a process
    that the kernel forked (multiprocessing) has everything.

    Of those that hold a database the first is the kernel; where none does, the one that started last.
    """
    best: dict[str, LiveKernel] = {}
    terminals = []
    for kernel in kernels:
        if not kernel.connection_file:
            if kernel.databases:
                terminals.append(kernel)
            continue
        other = best.get(kernel.connection_file)
        if other is None or _rank(kernel) > _rank(other):
            best[kernel.connection_file] = kernel
    return sorted([*best.values(), *terminals], key=lambda kernel: (kernel.started_at, kernel.pid))


def _rank(kernel: LiveKernel) -> tuple[bool, int, int]:
    if kernel.databases:
        return True, -kernel.life.start, -kernel.pid
    return False, kernel.life.start, kernel.pid
