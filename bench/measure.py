"""Time, processor time, bytes and memory, and what is made of many of them."""

from __future__ import annotations

import mmap
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

_Item = TypeVar("_Item")
_Parameters = ParamSpec("_Parameters")


@dataclass(slots=True)
class Cost:
    """Seconds: by the wall, and of the processor in this process and in its children that ended."""

    wall: float = 0.0
    own: float = 0.0
    children: float = 0.0

    @property
    def processor(self) -> float:
        return self.own + self.children

    def add(self, other: Cost) -> None:
        self.wall += other.wall
        self.own += other.own
        self.children += other.children


def _now() -> tuple[float, float, float]:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


@contextmanager
def costing(into: Cost) -> Iterator[None]:
    """Add what the block costs to ``into``."""
    wall, own, children = _now()
    try:
        yield
    finally:
        after = _now()
        into.add(Cost(after[0] - wall, after[1] - own, after[2] - children))


def timed(action: Callable[_Parameters, object], *args: _Parameters.args, **named: _Parameters.kwargs) -> float:
    """Seconds by the wall that a call takes."""
    began = time.perf_counter()
    action(*args, **named)
    return time.perf_counter() - began


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(len(ordered) * percent / 100 + 0.5) - 1))]


def rotated(items: Sequence[_Item], number: int) -> list[_Item]:
    """The items in the order of round ``number``: each is first, second … in turn."""
    start = number % len(items)
    return [*items[start:], *items[:start]]


def folder_bytes(folder: str) -> int:
    """The bytes of every file below a folder, as `ls -l` tells them."""
    total = 0
    for path, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(path, name)).st_size for name in names)
    return total


def folder_files(folder: str) -> int:
    """How many files are below a folder."""
    return sum(len(names) for _, _, names in os.walk(folder))


def touch_memory(gigabytes: float) -> None:
    """Touch so much memory once (at most half of what is available), and let it go.

    A virtual machine gets each page from its host when it is first touched, which takes longer than to write a file
    into it: without this, whoever writes most pays for that.
    """
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(int(gigabytes * 1e9), available // 2)
    if size > 0:
        with mmap.mmap(-1, size) as memory:
            for place in range(0, size, mmap.PAGESIZE):
                memory[place] = 1


# --- other processes (Linux) ---------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        try:
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", encoding="ascii") as file:
                    waiting += [int(child) for child in file.read().split()]
        except FileNotFoundError:
            continue
    return found


def processor_seconds(pid: int) -> float:
    """What a process and its children, living and ended, have used so far."""
    total = 0.0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks = sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
        total += ticks / os.sysconf("SC_CLK_TCK")
    return total


def proportional_memory(pid: int) -> int:
    """PSS of a process and all below it, in bytes."""
    total, own = 0, _command_line(pid)
    for one in family(pid):
        if one != pid and _command_line(one) == own:
            continue  # on its way to another program: its memory is still its parent's, and would count twice
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class ProcessCounter:
    """Counts the processes that this one starts, by Python's audit events."""

    _STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"})

    def __init__(self) -> None:
        self.started = 0
        self._counts = False
        sys.addaudithook(self._hear)

    def __enter__(self) -> ProcessCounter:
        self._counts = True
        return self

    def __exit__(self, *_: object) -> None:
        self._counts = False

    def _hear(self, event: str, _: object) -> None:
        if self._counts and event in self._STARTS:
            self.started += 1
