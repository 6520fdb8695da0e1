"""Real kernels, real databases, and what was kept of them in memory."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nbguard.clock import SystemClock
from nbguard.errors import StorageTrouble
from nbguard.executed import ExecutedCell, Generation, HistorySession, Link, Record, Run
from nbguard.history.copies import DatabaseCopies
from nbguard.history.histories import Histories
from nbguard.history.kernels import KernelFinder, LiveKernel
from nbguard.history.positions import Positions
from nbguard.history.tail import Tail
from nbguard.problems import ProblemBoard
from tests.helpers import poll

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions
  (session integer primary key autoincrement, start timestamp, end timestamp, num_cmds integer, remark text);
CREATE TABLE IF NOT EXISTS history
  (session integer, line integer, source text, source_raw text, PRIMARY KEY (session, line));
CREATE TABLE IF NOT EXISTS output_history (session integer, line integer, output text, PRIMARY KEY (session, line));
"""


class TestClock(SystemClock):
    """The machine's clock, with days that pass at will."""

    __test__ = False

    def __init__(self) -> None:
        self.later = timedelta()

    def now(self) -> datetime:
        return super().now() + self.later


@dataclass
class Kept:
    """A record log and its library in memory, with the rules of the real ones."""

    records: list[Record] = field(default_factory=list)
    refuses: bool = False
    seen: set[str] = field(default_factory=set)

    def append(self, records: Sequence[Record]) -> None:
        if self.refuses:
            raise StorageTrouble("the disk is full", hint="free some", code="no-space")
        self.records += records
        self.seen |= {record.source for record in records if isinstance(record, ExecutedCell)}

    def generations(self) -> list[Generation]:
        return list({record.id: record for record in self.records if isinstance(record, Generation)}.values())

    def sessions(self) -> list[HistorySession]:
        found = [record for record in self.records if isinstance(record, HistorySession)]
        return list({(record.generation, record.session): record for record in found}.values())

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        of = (generation, session)
        return [cell for cell in self.all_cells() if (cell.generation, cell.session) == of]

    def links(self) -> list[Link]:
        return []

    def runs(self, *, kernel: str | None = None, path: str | None = None) -> list[Run]:
        return []

    def all_cells(self) -> list[ExecutedCell]:
        return [record for record in self.records if isinstance(record, ExecutedCell)]

    def sources(self) -> list[str]:
        """Every source that was kept, as often as it was kept."""
        return [cell.source for cell in self.all_cells()]

    def keyed(self) -> list[tuple[str, int, int, str]]:
        return [(cell.generation, cell.session, cell.line, cell.source) for cell in self.all_cells()]


@dataclass
class Rig:
    """Histories of one home, stepped by hand."""

    home: Path
    folder: Path
    kept: Kept = field(default_factory=Kept)
    clock: TestClock = field(default_factory=TestClock)
    lost: list[LiveKernel] = field(default_factory=list)
    only_kernels: bool = True
    a_day: timedelta = timedelta(days=1, minutes=1)
    histories: Histories = field(init=False)
    board: ProblemBoard = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def profile(self) -> Path:
        return self.home / ".ipython" / "profile_default"

    @property
    def database(self) -> Path:
        return self.profile / "history.sqlite"

    @property
    def copies(self) -> list[Path]:
        found = (self.folder / "databases").glob("*")
        return sorted(path for path in found if not path.name.startswith("."))

    def start(self) -> None:
        """As a daemon that begins: everything in memory is new, what was kept stays."""
        self.board = ProblemBoard(self.clock)
        copies = DatabaseCopies(
            [str(self.folder / "databases")], clock=self.clock, check_room=lambda folder, size: None
        )
        copies.make()
        finder = KernelFinder(only_home=str(self.home))
        tail = Tail(
            log=self.kept,
            library=lambda: self.kept,
            positions=Positions(str(self.folder / "histories.json")),
            clock=self.clock,
        )
        self.histories = Histories(
            folders=[str(self.home / ".ipython")],
            tail=tail,
            copies=copies,
            kernels=finder.look if self.only_kernels else list,
            clock=self.clock,
            board=self.board,
            lost=self.lost.append,
        )

    def end(self) -> None:
        self.histories.end()

    def step(self) -> None:
        """Until nothing is left to be read at once."""
        for _ in range(1000):
            if self.histories.step() > 0.0:
                return
        raise AssertionError("there is always more to be read")

    def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Step until it is so."""

        def is_so() -> bool:
            self.step()
            return bool(condition())

        poll(is_so, seconds)

    def until_kept(self, *sources: str, seconds: float = 10.0) -> None:
        self.until(lambda: set(sources) <= self.kept.seen, seconds)

    def codes(self) -> list[str]:
        return [problem.code for problem in self.board.all()]


def rows_of(path: Path) -> list[tuple[int, int, str]]:
    """What a database holds, by a reader of the test's own."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.execute("SELECT session, line, source_raw FROM history ORDER BY session, line"))


def make_database(path: Path, sessions: Iterable[tuple[int, str, Sequence[str]]] = (), *, mode: str = "delete") -> None:
    """A database as IPython makes it; sessions are (number, start, sources)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(f"PRAGMA journal_mode={mode}; {SCHEMA}")
        add_sessions(connection, sessions)


def add_sessions(connection: sqlite3.Connection, sessions: Iterable[tuple[int, str, Sequence[str]]]) -> None:
    """Rows as IPython writes them."""
    with connection:
        for number, start, sources in sessions:
            connection.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, NULL, NULL, '')", (number, start))
            (last,) = connection.execute("SELECT max(line) FROM history WHERE session = ?", (number,)).fetchone()
            connection.executemany(
                "INSERT INTO history VALUES (?, ?, ?, ?)",
                [(number, (last or 0) + line, source, source) for line, source in enumerate(sources, 1)],
            )


def add(path: Path, *sessions: tuple[int, str, Sequence[str]]) -> None:
    """As :func:`add_sessions`, on a connection of its own."""
    with closing(sqlite3.connect(path)) as connection:
        add_sessions(connection, sessions)


@contextmanager
def held_for_writing(path: Path) -> Generator[sqlite3.Connection]:
    """A writer in the middle of a transaction that has reached the disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection
        connection.execute("ROLLBACK")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # the parts of a time, in their order


def timezone(name: str) -> None:
    """This process lives there now."""
    os.environ["TZ"] = name
    time.tzset()


class IPythonKernel:
    """One real kernel whose HOME is the test's."""

    def __init__(self, **environment: str) -> None:
        from jupyter_client.manager import KernelManager

        self.manager: Any = KernelManager()
        self._environment = {**os.environ, **environment}
        self.client: Any = None

    def start(self, *arguments: str) -> None:
        import subprocess

        self.manager.start_kernel(
            env=self._environment, extra_arguments=list(arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> None:
        self.client.execute(code, reply=True, timeout=60)

    def run_many(self, codes: Sequence[str]) -> None:
        """Run cells as fast as the kernel takes them, some waiting in its queue."""
        for at, code in enumerate(codes, 1):
            if at % 50 and at < len(codes):
                self.client.execute(code)
                continue
            self.run(code)
            while self.client.iopub_channel.msg_ready():  # unread, they would be kept for us
                self.client.get_iopub_msg(timeout=1)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)

    def end(self, *, now: bool = True) -> None:
        if self.client is not None:
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=now)
        self.manager.cleanup_resources()


@contextmanager
def kernel(*arguments: str, **environment: str) -> Generator[IPythonKernel]:
    """A running kernel, ended afterwards."""
    started = IPythonKernel(**environment)
    try:
        started.start(*arguments)
        yield started
    finally:
        started.end()
