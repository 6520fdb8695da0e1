"""Reading a history database without ever being felt: every SELECT is short, and nothing stays open between two.

A reader that holds a lock for five seconds ends the kernel's history for good, so every statement is ended after a
moment, nobody is waited for (a busy database is read later), and nothing is written: no journal is rolled
back, no -wal or -shm file is made beside a user's database. Where reading in place would need that, a private copy of
the bytes is read instead.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from nbguard.errors import Busy, ChangedMeanwhile, NbguardError
from nbguard.history.generations import FileIdentity, SessionRow

# Far below what may be felt (0.2 s): on a busy machine each row may wait for its turn on the processor.
MOST_LOCKED_SECONDS = 0.05
MOST_ROWS = 500
MOST_BYTES = 2_000_000
MOST_IN_ONE_GO_BYTES = 16_000_000
MOST_SOURCE_BYTES = 64_000_000
_SLICE_BYTES = 8_000_000
_MAGIC = b"SQLite format 3\0"
_WAL = 2
_STEPS_BETWEEN_LOOKS_AT_THE_CLOCK = 500
_TICK_NS = 100_000_000
_AGAIN = "it is read again in a moment"

TOUCHING = threading.RLock()
"""Held while this process opens or closes a database: POSIX drops all locks of a process when it closes any
descriptor of the file, also one that another thread opened."""


class Unreadable(NbguardError):
    """There is a file, but no history database that can be read."""

    code = "history-unreadable"


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What stat says of a database and of its log; equal states mean that nothing was written.

    A write within the same tick of the file system's clock leaves it equal: see :meth:`is_settled`.
    """

    file: FileIdentity
    size: int
    mtime_ns: int
    wal_size: int
    wal_mtime_ns: int

    def is_settled(self, now_ns: int) -> bool:
        """Whether a write after this look is sure to change the times."""
        return min(abs(now_ns - self.mtime_ns), abs(now_ns - self.wal_mtime_ns)) > _TICK_NS


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of ``history``. ``session`` and ``line`` are -1 where they are no numbers."""

    rowid: int
    session: int
    line: int
    source: str
    transformed: str | None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows in ascending order; ``is_all`` says that there were no more."""

    rows: tuple[HistoryRow, ...]
    is_all: bool


def state_of(path: str) -> DatabaseState | None:
    """What is at ``path`` now; None when nothing is. Raises Unreadable for a pipe, a folder, what may not be seen."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}", hint="give yourself permission to read it") from error
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(f"{path} is no file", hint="IPython cannot keep its history there either; move it away")
    wal_size = wal_mtime_ns = 0
    try:
        wal = os.stat(path + "-wal")
    except OSError:
        pass
    else:
        wal_size, wal_mtime_ns = wal.st_size, wal.st_mtime_ns
    identity = FileIdentity(found.st_dev, found.st_ino)
    return DatabaseState(identity, found.st_size, found.st_mtime_ns, wal_size, wal_mtime_ns)


@contextmanager
def reading(path: str, *, copy: str | None = None) -> Generator[OpenDatabase]:
    """The database at ``path`` for some short SELECTs, or else its private ``copy`` (which may be written).

    Raises Busy and ChangedMeanwhile (later, then), Unreadable, NeedsCopy, FileNotFoundError.
    """
    with TOUCHING:
        if copy is not None:
            connection, before = _connect(copy, "mode=rw"), None
        else:
            mode = _how_to_open(path)
            connection, before = _connect(path, mode), state_of(path) if "immutable" in mode else None
        try:
            connection.text_factory = bytes
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_IN_ONE_GO_BYTES)
            with _named(path):
                yield OpenDatabase(connection)
        finally:
            connection.close()
        if before is not None and state_of(path) != before:
            raise ChangedMeanwhile(f"{path} was written while it was read", hint=_AGAIN)


class NeedsCopy(NbguardError):
    """Reading it in place would write beside it: a journal of a writer that died, a log without its index."""

    code = "history-needs-copy"


class OpenDatabase:
    """An open database; only lives inside :func:`reading`. Errors of sqlite are named by it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._deadline = 0.0
        connection.isolation_level = None
        connection.set_progress_handler(self._is_too_long, _STEPS_BETWEEN_LOOKS_AT_THE_CLOCK)
        self._begin()
        connection.execute("PRAGMA trusted_schema = OFF")
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {bytes(name).lower() for name, sql in found if sql and not bytes(sql).lower().startswith(b"create v")}
        if b"history" not in tables:
            raise Unreadable("there is no table `history` in it", hint="it is no history database of IPython")
        self._has_sessions = b"sessions" in tables
        self._has_outputs = b"output_history" in tables

    def top(self) -> int:
        """The highest rowid of ``history``; 0 when it is empty."""
        return self._number("SELECT max(rowid) FROM history")

    def top_output(self) -> int:
        """The highest rowid of ``output_history``."""
        return self._number("SELECT max(rowid) FROM output_history") if self._has_outputs else 0

    def sessions(self, after: int) -> list[SessionRow]:
        """Up to a chunk of sessions with higher numbers than ``after``, ascending."""
        if not self._has_sessions:
            return []
        self._begin()
        statement = "SELECT session, start, end FROM sessions WHERE session > ? ORDER BY session LIMIT ?"
        return _session_rows(self._connection.execute(statement, (after, MOST_ROWS)).fetchall())

    def sessions_named(self, numbers: Iterable[int]) -> list[SessionRow]:
        """Those of the sessions that are (still) there."""
        wanted = list(numbers)[:MOST_ROWS]
        if not self._has_sessions or not wanted:
            return []
        self._begin()
        marks = ",".join("?" * len(wanted))
        statement = f"SELECT session, start, end FROM sessions WHERE session IN ({marks}) ORDER BY session"
        return _session_rows(self._connection.execute(statement, wanted).fetchall())

    def row(self, rowid: int) -> HistoryRow | None:
        """One row, or nothing."""
        rows = self.rows(rowid - 1, rowid).rows
        return rows[0] if rows else None

    def rows(self, after: int, up_to: int) -> Chunk:
        """Some rows with ``after < rowid <= up_to``: as many as can be read without holding the lock for long."""
        if after >= up_to:
            return Chunk((), is_all=True)
        output = (
            "(SELECT output FROM output_history AS o WHERE o.session = h.session AND o.line = h.line)"
            if self._has_outputs
            else "NULL"
        )
        statement = (
            f"SELECT rowid, session, line, source_raw, source, {output} FROM history AS h"
            " WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?"
        )

        def read(beyond: int) -> Chunk:
            return self._chunk(statement, (beyond, up_to, MOST_ROWS), beyond)

        chunk = _unless_damaged(read, after)
        return self._beyond(max(after, 0), min(up_to, self.top()), read) if chunk is None else chunk

    def rows_with_outputs(self, after: int) -> tuple[Chunk, int]:
        """Some cells whose outputs have a higher rowid in ``output_history``; and the highest of these."""
        if not self._has_outputs:
            return Chunk((), is_all=True), after
        statement = (
            "SELECT o.rowid, h.session, h.line, h.source_raw, h.source, o.output FROM output_history AS o"
            " JOIN history AS h ON h.session = o.session AND h.line = o.line WHERE o.rowid > ? ORDER BY o.rowid LIMIT ?"
        )
        chunk = self._chunk(statement, (after, MOST_ROWS), None)
        return chunk, max((row.rowid for row in chunk.rows), default=after)

    def _chunk(self, statement: str, values: Sequence[object], after: int | None) -> Chunk:
        self._begin()
        began, size, rows = time.monotonic(), 0, list[HistoryRow]()
        cursor = self._connection.cursor()
        is_all = True
        try:
            for raw in cursor.execute(statement, tuple(values)):
                row = _history_row(raw)
                rows.append(row)
                size += len(row.source) + len(row.transformed or "") + len(row.output or "")
                if size > MOST_BYTES or time.monotonic() - began > MOST_LOCKED_SECONDS or len(rows) >= MOST_ROWS:
                    is_all = False
                    break
        except sqlite3.DataError:  # one that is too big to be read in one go
            is_all = False
            if not rows and after is not None:
                rows = [self._huge(after)]
        except sqlite3.DatabaseError as error:
            if not rows or error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CORRUPT):
                raise
            is_all = False
        finally:
            cursor.close()
        return Chunk(tuple(rows), is_all)

    def _beyond(self, damaged: int, up_to: int, read: Callable[[int], Chunk]) -> Chunk:
        """The rows that follow a damaged page, found by looking further and further, and then back.

        Raises sqlite's error where nothing can be read up to ``up_to``.
        """
        step, chunk = 1, None
        bad = good = damaged
        while chunk is None:
            bad, good = good, min(damaged + step, up_to)
            chunk = _unless_damaged(read, good)
            if chunk is None and good >= up_to:
                return read(good)
            step *= 2
        while good - bad > 1:
            middle = (good + bad) // 2
            found = _unless_damaged(read, middle)
            if found is None:
                bad = middle
            else:
                good, chunk = middle, found
        return chunk

    def _huge(self, after: int) -> HistoryRow:
        """The next row, its text in slices, each under a lock of its own."""
        self._begin()
        statement = "SELECT rowid, session, line FROM history WHERE rowid > ? ORDER BY rowid LIMIT 1"
        rowid, session, line = self._connection.execute(statement, (after,)).fetchone()
        source = self._slices("source_raw", rowid)
        return HistoryRow(rowid, _number(session), _number(line), _text(source) or "", None)

    def _slices(self, column: str, rowid: int) -> bytes:
        found = bytearray()
        while len(found) < MOST_SOURCE_BYTES:
            try:
                with self._connection.blobopen("history", column, rowid, readonly=True) as blob:
                    blob.seek(len(found))
                    piece = blob.read(_SLICE_BYTES)
            except sqlite3.OperationalError:
                break  # neither text nor bytes, or gone meanwhile
            if not piece:
                break
            found += piece
        return bytes(found)

    def _number(self, statement: str) -> int:
        self._begin()
        (found,) = self._connection.execute(statement).fetchone()
        return found if isinstance(found, int) else 0

    def _begin(self) -> None:
        self._deadline = time.monotonic() + MOST_LOCKED_SECONDS

    def _is_too_long(self) -> bool:
        return time.monotonic() > self._deadline


def _how_to_open(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}", hint="give yourself permission to read it") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable(f"{path} is no file", hint="move it away: IPython cannot keep its history there either")
        header = os.pread(fd, 100, 0)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}", hint="check the disk") from error
    finally:
        os.close(fd)
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise Unreadable(f"{path} is no SQLite database (any more)", hint=DAMAGED_HINT)
    if header[19] != _WAL:
        return "mode=ro"
    if not _has_bytes(path + "-wal"):
        return "mode=ro&immutable=1"  # all of it is in the file; opened otherwise, sqlite makes a -wal and a -shm
    if os.path.exists(path + "-shm"):
        return "mode=ro&readonly_shm=1"
    raise NeedsCopy(f"{path} has a log without its index", hint="a copy is read")


DAMAGED_HINT = (
    "restart your kernels: IPython moves it aside and begins a new one; what was executed before is kept here"
)


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _connect(path: str, mode: str) -> sqlite3.Connection:
    with _named(path):
        return sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, timeout=0, check_same_thread=False)


@contextmanager
def _named(path: str) -> Generator[None]:
    """sqlite's errors, by what they mean for a reader."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, path) from error


def _meaning(error: sqlite3.Error, path: str) -> NbguardError | FileNotFoundError:
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT):
        return Busy(f"{path} is being written", hint=_AGAIN)
    if kind == sqlite3.SQLITE_READONLY:
        return NeedsCopy(f"{path} has a journal of a writer that died", hint="a copy is read")
    if kind == sqlite3.SQLITE_CANTOPEN:
        if not os.path.exists(path):
            return FileNotFoundError(path)
        return NeedsCopy(f"{path} cannot be opened where it lies: {error}", hint="a copy is read")
    return Unreadable(f"{path}: {error}", hint=DAMAGED_HINT)


def _unless_damaged(read: Callable[[int], Chunk], after: int) -> Chunk | None:
    try:
        return read(after)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return None


def _session_rows(rows: Iterable[Sequence[object]]) -> list[SessionRow]:
    return [
        SessionRow(number, _text(start) or "", _text(end) or "")
        for number, start, end in rows
        if isinstance(number, int)
    ]


def _history_row(raw: Sequence[object]) -> HistoryRow:
    rowid, session, line, source_raw, source, output = raw
    typed, ran = _text(source_raw), _text(source)
    said = typed if typed is not None else ran or ""
    assert isinstance(rowid, int)
    return HistoryRow(
        rowid=rowid,
        session=_number(session),
        line=_number(line),
        source=said,
        transformed=ran if ran != said else None,
        output=_text(output),
    )


def _number(value: object) -> int:
    """-1 for what is no number, or none that JSON carries everywhere."""
    return value if isinstance(value, int) and abs(value) < 1 << 53 else -1


def _text(value: object) -> str | None:
    """Text whatever was stored; bytes that are not UTF-8 come back as they were by surrogateescape."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)
