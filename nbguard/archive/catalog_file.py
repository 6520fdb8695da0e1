"""The catalog's file: made, opened, thrown away when it is of another time or broken; and what SQLite's errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from nbguard.archive.rows import SCHEMA, SCHEMA_VERSION
from nbguard.durable import free_space, make_private_folder, unlink_quietly
from nbguard.errors import ArchiveTrouble, Busy, NbguardError, storage_trouble

Row = tuple[Any, ...]

_ATTEMPTS = 20
_SHARED_MEMORY_BYTES = 32_768
_IN_USE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_ERRNO: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


class CatalogBroken(ArchiveTrouble):
    """The file is not a sound catalog. It has been thrown away; catching up fills a new one."""

    code = "catalog-broken"


class CatalogFile:
    """One connection to the file at ``path``; use it from one thread.

    Every method raises CatalogBroken, StorageTrouble (full, read-only, unreadable disk) or Busy, never sqlite3.Error.
    """

    def __init__(
        self, path: str, *, schema: str = SCHEMA, version: int = SCHEMA_VERSION, name: str = "the catalog"
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._name = name
        if folder := os.path.dirname(path):  # one in memory has none, nor perhaps has this process a working folder
            make_private_folder(folder)
        self._db = self._open()
        self._file = self._identity()

    def is_current(self) -> bool:
        """Whether the file at our path is still the one we hold."""
        return self._file is not None and self._identity() == self._file

    def reopen(self) -> None:
        """Open whatever is at our path now (an empty catalog when nothing is).

        Its folder is not made anew: whoever removes that under our hands shall not meet it again.
        """
        self.close()
        self._db = self._open()
        self._file = self._identity()

    def discard(self) -> None:
        """Throw the file away (it is broken) and begin an empty one; the next catch-up fills it."""
        self.close()
        self._remove()
        self.reopen()

    def close(self) -> None:
        self._db.close()

    def begin(self) -> None:
        self._do("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._do("COMMIT")

    def rollback(self) -> None:
        """Harmless when there is no transaction any more."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the error that made us roll back is the one to tell; SQLite rolls back by itself at the next open

    def _rows(self, statement: str, values: Iterable[object] = ()) -> list[Row]:
        try:
            return self._db.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _row(self, statement: str, values: Iterable[object] = ()) -> Row | None:
        try:
            found: Row | None = self._db.execute(statement, tuple(values)).fetchone()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return found

    def _do(self, statement: str, values: Iterable[object] = ()) -> int:
        """How many rows it changed."""
        try:
            return self._db.execute(statement, tuple(values)).rowcount
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _do_each(self, statement: str, values: Iterable[Row]) -> None:
        try:
            self._db.executemany(statement, values)
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> NbguardError:
        code = _code(error)
        if code in _IN_USE:
            return self._in_use(error)
        is_current = self.is_current()
        if is_current and code in _ERRNO:
            return storage_trouble(OSError(self._number(code), str(error), self.path), self._name)
        try:
            if is_current:  # not a database, malformed, of another schema
                self.discard()
            else:  # moved away under our hands
                self.reopen()
        except (NbguardError, OSError):
            self._file = None
        return CatalogBroken(
            f"{self._name} {self.path} was broken ({error}) and is built anew", hint="nothing is lost; ask again"
        )

    def _number(self, code: int) -> int:
        """SQLite calls it an I/O error when a full disk has no room for its shared memory."""
        number = _ERRNO.get(code, errno.EIO)
        try:
            is_full = number == errno.EIO and free_space(os.path.dirname(self.path))[0] < _SHARED_MEMORY_BYTES
        except OSError:
            return number
        return errno.ENOSPC if is_full else number

    def _in_use(self, error: sqlite3.Error) -> Busy:
        return Busy(f"{self._name} {self.path} is in use: {error}", hint="try again in a moment")

    def _open(self) -> sqlite3.Connection:
        for attempt in range(_ATTEMPTS):
            try:
                return self._open_once()
            except sqlite3.Error as error:
                if _code(error) in _IN_USE:
                    raise self._in_use(error) from error
                # Where one process removes it while another makes it, SQLite meets half of the files, once.
                if attempt == _ATTEMPTS - 1:
                    number = self._number(_code(error))
                    raise storage_trouble(
                        OSError(number, str(error), self.path), f"cannot open {self._name}"
                    ) from error
        raise AssertionError("not reached")

    def _open_once(self) -> sqlite3.Connection:
        self._remove_stale_log()
        db = self._connect()
        try:
            if not self._is_ours(db):  # of another time, or garbage: it is only an index
                db.close()
                self._remove()
                db = self._connect()
                self._create(db)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _connect(self) -> sqlite3.Connection:
        # check_same_thread: a worker that is restarted by its supervisor inherits the connection, one at a time.
        mask = os.umask(0o077)
        try:
            return sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        finally:
            os.umask(mask)

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """True also of an empty file, which becomes a catalog."""
        try:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0 and not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                self._create(db)
            # Asked again: another process may have made it between the two questions.
            return bool(db.execute("PRAGMA user_version").fetchone()[0] == self._version)
        except sqlite3.DatabaseError as error:
            if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return False
            raise

    def _create(self, db: sqlite3.Connection) -> None:
        # NORMAL in WAL: a power cut may cost the last rows, never the file; they are found again in spool and archive.
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            if _code(error) not in _IN_USE:
                raise
            # Another process is just doing that, and SQLite waits for nobody here; it does below.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != self._version:
                for statement in self._schema.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {self._version}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            unlink_quietly(self.path + suffix)

    def _remove_stale_log(self) -> None:
        """A log beside no catalog, or an empty one, is of one that was removed; whoever holds that would be mixed in.

        A log is made after its catalog has its first page, so the log is looked for first.
        """
        logs = [self.path + suffix for suffix in ("-wal", "-shm") if os.path.exists(self.path + suffix)]
        try:
            if not logs or os.stat(self.path).st_size > 0:
                return
        except FileNotFoundError:
            pass
        for log in logs:
            unlink_quietly(log)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN)) & 0xFF
