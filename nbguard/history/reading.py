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
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from nbguard.errors import Busy, ChangedMeanwhile, NbguardError
from nbguard.history.generations import FileIdentity
from nbguard.history.open_database import MOST_IN_ONE_GO_BYTES, OpenDatabase
from nbguard.history.trouble import NeedsCopy, Unreadable

_MAGIC = b"SQLite format 3\0"
_WAL = 2
_TICK_NS = 100_000_000
_AGAIN = "it is read again in a moment"

TOUCHING = threading.RLock()
"""Held while this process opens or closes a database: POSIX drops all locks of a process when it closes any
descriptor of the file, also one that another thread opened."""


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
