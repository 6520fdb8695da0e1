"""The catalog's file: made, opened, thrown away when it is of another time or broken; and what SQLite's errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from nbguard.archive.rows import SCHEMA, SCHEMA_VERSION
from nbguard.durable import make_private_folder, unlink_quietly
from nbguard.errors import ArchiveTrouble, Busy, NbguardError, storage_trouble

Row = tuple[Any, ...]

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

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = self._open()
        self._file = self._identity()

    def is_current(self) -> bool:
        """Whether the file at our path is still the one we hold."""
        return self._file is not None and self._identity() == self._file

    def reopen(self) -> None:
        """Open whatever is at our path now (an empty catalog when nothing is)."""
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
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Busy(f"the catalog {self.path} is in use: {error}", hint="try again in a moment")
        if code in _ERRNO and not (code == sqlite3.SQLITE_READONLY and not self.is_current()):
            return storage_trouble(OSError(_ERRNO[code], str(error), self.path), "the catalog")
        # Not a database, malformed, of another schema, or moved away under our hands.
        try:
            self.discard()
        except (sqlite3.Error, OSError):
            self._file = None
        return CatalogBroken(
            f"the catalog {self.path} was broken ({error}) and is built anew", hint="nothing is lost; ask again"
        )

    def _open(self) -> sqlite3.Connection:
        make_private_folder(os.path.dirname(self.path))
        try:
            db = self._connect()
            if not self._is_ours(db):  # of another time, or garbage: it is only an index
                db.close()
                self._remove()
                db = self._connect()
                self._create(db)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy(f"the catalog {self.path} is in use: {error}", hint="try again in a moment") from error
            number = _ERRNO.get(code, errno.EIO)
            raise storage_trouble(OSError(number, str(error), self.path), "cannot open the catalog") from error
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
            return bool(db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return False
            db.close()
            raise

    @staticmethod
    def _create(db: sqlite3.Connection) -> None:
        # NORMAL in WAL: a power cut may cost the last rows, never the file; they are found again in spool and archive.
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            unlink_quietly(self.path + suffix)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino
