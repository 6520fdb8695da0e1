"""Processes of this user: their command lines, open files and a few environment variables.

/proc where it is, psutil elsewhere. A process that ended meanwhile, or may not be looked at, answers with nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from nbguard.processes import is_alive

_PROC = "/proc"
_CODE, _STACK, _ARGUMENTS, _ARGUMENTS_END = 23, 25, 45, 46  # of the fields that _stat gives
_MOST_BYTES = 1 << 18
# Of an environment only these are ever kept: the others may hold passwords.
WANTED = frozenset(
    {
        "HOME",
        "JPY_SESSION_NAME",
        "JPY_PARENT_PID",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTER_DATA_DIR",
        "XDG_DATA_HOME",
        "IPYTHONDIR",
        "VSCODE_PID",
    }
)


@dataclass(frozen=True, slots=True)
class Life:
    """One life of one process: numbers are used again, but not with the same start (clock ticks since boot)."""

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file: where it is, or was when it is ``deleted``; ``descriptor`` is 0 where it is not known."""

    path: str
    descriptor: int
    device: int
    inode: int
    deleted: bool


@lru_cache(maxsize=1)
def has_proc() -> bool:
    """Whether this system shows the open files of a process as /proc does."""
    return os.path.isdir(f"{_PROC}/self/fd")


def own_pids() -> Iterator[int]:
    """Every process of this user, but ourselves."""
    user, own = os.geteuid(), os.getpid()
    if not has_proc():
        import psutil

        for process in psutil.process_iter():
            try:
                if process.pid != own and process.uids().effective == user:
                    yield process.pid
            except psutil.Error:
                continue
        return
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdigit() and int(entry.name) != own:
                try:
                    if entry.stat(follow_symlinks=False).st_uid == user:
                        yield int(entry.name)
                except OSError:
                    continue


def life(pid: int) -> Life | None:
    """The life that a process number stands for now; None when it ended (a zombie ended as well)."""
    if not has_proc():
        import psutil

        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else Life(pid, int(process.create_time() * 100))
        except psutil.Error:
            return None
    fields = _stat(pid)
    return Life(pid, int(fields[19])) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None


def image(pid: int) -> tuple[Life, tuple[bytes, ...]] | None:
    """The life, and what tells the program that it runs from the one it ran before (an exec changes nothing of the
    life): where its code, its stack and its arguments lie, by proc(5); empty when not shown. None when it ended.
    """
    if not has_proc():
        found = life(pid)
        return None if found is None else (found, ())
    fields = _stat(pid)
    if len(fields) <= _ARGUMENTS_END or fields[0] in (b"Z", b"X"):
        return None
    where = (fields[_CODE], fields[_STACK], fields[_ARGUMENTS], fields[_ARGUMENTS_END])
    return Life(pid, int(fields[19])), where if fields[_STACK] != b"0" else ()


def is_there(pid: int) -> bool:
    """Whether some process has this number, told at the least cost."""
    if has_proc():
        return os.path.exists(f"{_PROC}/{pid}")
    return is_alive(pid)


def started_at(process: Life) -> float:
    """When it started, in seconds since 1970 (by the clock as it is set now)."""
    if not has_proc():
        return process.start / 100
    return _booted_at() + process.start / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int:
    """The number of its parent; 0 when unknown."""
    if not has_proc():
        import psutil

        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return 0
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def command_line(pid: int) -> list[str]:
    """Its arguments, the program first; empty when they cannot be read."""
    if not has_proc():
        import psutil

        try:
            return psutil.Process(pid).cmdline()
        except psutil.Error:
            return []
    return [os.fsdecode(part) for part in _read(pid, "cmdline").split(b"\0")[:-1]]


def folder(pid: int) -> str:
    """Its working folder; empty when it cannot be told."""
    if not has_proc():
        import psutil

        try:
            return psutil.Process(pid).cwd()
        except psutil.Error:
            return ""
    try:
        return os.readlink(f"{_PROC}/{pid}/cwd")
    except OSError:
        return ""


def environment(pid: int) -> Mapping[str, str]:
    """What it was started with, of the variables in WANTED."""
    if not has_proc():
        import psutil

        try:
            return {name: value for name, value in psutil.Process(pid).environ().items() if name in WANTED}
        except psutil.Error:
            return {}
    pairs = (part.partition(b"=") for part in _read(pid, "environ").split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if os.fsdecode(name) in WANTED}


def written_bytes(pid: int) -> int:
    """How much it has written to files so far, or its processor time in clock ticks where that is not told.

    Only for comparing with an earlier answer: it stands still while a kernel idles. 0 when it ended.
    """
    for line in _read(pid, "io").splitlines():
        if line.startswith(b"wchar:"):
            return int(line.split()[1])
    return processor_ticks(pid) << 12


def processor_ticks(pid: int) -> int:
    """The processor time it has used, in hundredths of a second or so; 0 when it ended."""
    if has_proc():
        fields = _stat(pid)
        return int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0
    return int((times.user + times.system) * 100)


def open_files(pid: int) -> list[OpenFile]:
    """Every file that it holds open and whose name ends as a SQLite database's does."""
    if not has_proc():
        return list(_open_by_psutil(pid))
    folder = f"{_PROC}/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return []
    found = []
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")
            deleted = target.endswith(" (deleted)")
            path = target.removesuffix(" (deleted)")
            if not path.endswith(".sqlite"):
                continue
            status = os.stat(f"{folder}/{descriptor}")
        except OSError:
            continue
        deleted = (deleted and status.st_nlink == 0) or _is_elsewhere(path, status)
        found.append(OpenFile(path, int(descriptor), status.st_dev, status.st_ino, deleted))
    return found


def _open_by_psutil(pid: int) -> Iterator[OpenFile]:
    import psutil

    try:
        files = psutil.Process(pid).open_files()
    except psutil.Error:
        return
    for file in files:
        if file.path.endswith(".sqlite"):
            try:
                status = os.stat(file.path)
            except OSError:
                continue  # without /proc, a file that has no name cannot be reached
            yield OpenFile(file.path, max(file.fd, 0), status.st_dev, status.st_ino, deleted=False)


def _is_elsewhere(path: str, held: os.stat_result) -> bool:
    """Whether another file, or none, is where this one was: it was deleted, moved or replaced."""
    try:
        there = os.stat(path)
    except OSError:
        return True
    return (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino)


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"{_PROC}/{pid}/{name}", "rb", buffering=0) as file:
            pieces = []
            while piece := file.read(_MOST_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
    except OSError:
        return b""


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from ``state`` on: the name before them may hold blanks and brackets."""
    return _read(pid, "stat").rpartition(b")")[2].split()


@lru_cache(maxsize=1)
def _booted_at() -> float:
    try:
        with open(f"{_PROC}/stat", "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return float(line.split()[1])
    except OSError:
        pass  # then times are since boot, which sorts as well
    return 0.0
