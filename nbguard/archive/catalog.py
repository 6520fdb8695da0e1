"""The catalog: a disposable SQLite index over archive and spool.

Deleting it costs time, never data. Every write is one transaction and may be repeated. Where another process made or
removed the file meanwhile, :meth:`Catalog.is_current` says so and the holder opens it anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nbguard.archive.rows import (
    COLUMNS,
    INSERT,
    SCHEMA,
    SCHEMA_VERSION,
    head_of,
    microseconds,
    row_of,
    stat_text,
    version_of,
)
from nbguard.archive.trailers import Decision
from nbguard.durable import make_private_folder, unlink_quietly
from nbguard.errors import storage_trouble
from nbguard.model import DraftKind, Head, Measure, Moment, Version

_FULLEST_WINDOW_US = timedelta(days=30) // timedelta(microseconds=1)
_COLUMNS_V = ", ".join(f"v.{name.strip()}" for name in COLUMNS.split(","))


class Catalog:
    """One connection to the catalog; use it from one thread. Raises sqlite3.Error only where it is broken."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = self._open()
        self._file = self._identity()

    def _open(self) -> sqlite3.Connection:
        make_private_folder(os.path.dirname(self.path))
        db = self._connect()
        try:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found == SCHEMA_VERSION:
                return db
            fresh = found == 0 and not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            fresh = False
        if not fresh:  # of another time, or garbage: it is only an index
            db.close()
            self._remove()
            db = self._connect()
        self._create(db)
        return db

    def _connect(self) -> sqlite3.Connection:
        # check_same_thread: a worker that is restarted by its supervisor inherits the connection, one at a time.
        mask = os.umask(0o077)
        try:
            db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise storage_trouble(OSError(5, str(error)), f"cannot open the catalog {self.path}") from error
        finally:
            os.umask(mask)
        return db

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

    # -- transactions ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # -- what has been read ----------------------------------------------------------------------------------------

    @property
    def tip(self) -> str | None:
        """The archive's commit up to which the catalog knows everything."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'tip'").fetchone()
        return row[0] if row else None

    def set_tip(self, tip: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('tip', ?)", (tip,))

    def clear(self) -> None:
        """Forget everything (before a rebuild)."""
        for table in ("meta", "versions", "heads", "notebooks", "decisions"):
            self._db.execute(f"DELETE FROM {table}")

    def spooled_ids(self) -> set[str]:
        """Ids of versions and decisions known only from the spool."""
        return {
            row[0]
            for row in self._db.execute(
                "SELECT id FROM versions WHERE commit_id IS NULL UNION SELECT id FROM decisions WHERE commit_id IS NULL"
            )
        }

    def commit_of(self, identity: str) -> str | None:
        """The commit that holds a version or decision; None when it is unknown or only spooled."""
        row = self._db.execute(
            "SELECT commit_id FROM versions WHERE id = ? UNION ALL SELECT commit_id FROM decisions WHERE id = ?",
            (identity, identity),
        ).fetchone()
        return row[0] if row else None

    # -- adding ----------------------------------------------------------------------------------------------------

    def add(self, version: Version) -> bool:
        """Add a version and move the heads; False when it was known (then only its commit is noted)."""
        if self._db.execute(INSERT, row_of(version)).rowcount == 0:
            if version.commit is not None:
                self._db.execute("UPDATE versions SET commit_id = ? WHERE id = ?", (version.commit, version.id))
            return False
        self._move_heads(version)
        self._db.execute(
            "INSERT INTO notebooks VALUES (?, ?, ?, ?, 1) ON CONFLICT (notebook) DO UPDATE SET versions = versions + 1,"
            " path = iif(excluded.ord > ord, excluded.path, path),"
            " latest = iif(excluded.ord > ord, excluded.latest, latest), ord = max(excluded.ord, ord)",
            (version.notebook, os.fsencode(version.path), version.id, version.moment.sortable()),
        )
        return True

    def _move_heads(self, version: Version) -> None:
        path, order = os.fsencode(version.path), version.moment.sortable()
        latest = (version.sha256, str(version.status), stat_text(version.signature))
        row = (path, version.notebook, version.id, order, *(latest if version.tip else (None, "deleted", None)))
        if version.tip:
            self._db.execute(
                "INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET"
                " notebook = excluded.notebook, version = excluded.version, ord = excluded.ord,"
                " sha256 = excluded.sha256, status = excluded.status, stat = excluded.stat WHERE excluded.ord > ord",
                row,
            )
            if version.renamed_from is not None:
                self._db.execute(
                    "DELETE FROM heads WHERE path = ? AND notebook = ? AND ord < ?",
                    (os.fsencode(version.renamed_from), version.notebook, order),
                )
        else:  # bytes that never were the latest state: they only reserve the path for their lineage
            self._db.execute("INSERT OR IGNORE INTO heads VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def decide(self, decision: Decision) -> None:
        """Apply a human's word; repeating it changes nothing."""
        self._db.execute(
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET commit_id = coalesce(excluded.commit_id, commit_id)",
            (
                decision.id,
                str(decision.kind),
                decision.about,
                decision.moment.sortable(),
                microseconds(decision.decided_at),
                decision.commit,
            ),
        )
        if decision.kind is DraftKind.PIN:
            self._db.execute("UPDATE versions SET pinned = 1 WHERE id = ?", (decision.about,))
        else:
            self._db.execute(
                "UPDATE versions SET accepted = 1, status = iif(status = 'emptied', 'ok', status) WHERE id = ?",
                (decision.about,),
            )
            self._db.execute(
                "UPDATE heads SET status = 'ok' WHERE version = ? AND status = 'emptied'", (decision.about,)
            )

    def packed(self, commits: Iterable[tuple[str, str]], tip: str) -> None:
        """Note (id, commit) of what was packed and read back, and the new tip."""
        pairs = [(commit, identity) for identity, commit in commits]
        self._db.executemany("UPDATE versions SET commit_id = ? WHERE id = ?", pairs)
        self._db.executemany("UPDATE decisions SET commit_id = ? WHERE id = ?", pairs)
        self.set_tip(tip)

    # -- asking ----------------------------------------------------------------------------------------------------

    def head(self, path: str) -> Head | None:
        row = self._db.execute("SELECT * FROM heads WHERE path = ?", (os.fsencode(path),)).fetchone()
        return head_of(row) if row else None

    def heads(self) -> list[Head]:
        """All of them, deleted ones too."""
        return [head_of(row) for row in self._db.execute("SELECT * FROM heads")]

    def version(self, identity: str) -> Version | None:
        row = self._db.execute(f"SELECT {COLUMNS} FROM versions WHERE id = ?", (identity,)).fetchone()
        return version_of(row) if row else None

    def log(self, notebook: str) -> list[Version]:
        """All versions of a lineage, newest first."""
        rows = self._db.execute(
            f"SELECT {COLUMNS} FROM versions WHERE notebook = ? ORDER BY ord DESC, id DESC", (notebook,)
        )
        return [version_of(row) for row in rows]

    def before(self, notebook: str, moment: Moment) -> Version | None:
        """The newest version of a lineage observed before ``moment``."""
        row = self._db.execute(
            f"SELECT {COLUMNS} FROM versions WHERE notebook = ? AND ord < ? ORDER BY ord DESC LIMIT 1",
            (notebook, moment.sortable()),
        ).fetchone()
        return version_of(row) if row else None

    def fullest(self, notebook: str, moment: Moment) -> Measure | None:
        """The fullest ``ok`` version that a new one at ``moment`` is judged by.

        Of the 30 days before the newest ok version (so that an emptied state never ages out of its own judgement),
        and not of the time before an accepted one. None when there is no ok version.
        """
        # The partial index is in the order of fullness: the first row that is young enough ends the search.
        row = self._db.execute(
            "SELECT cells, chars FROM versions WHERE notebook = ?1 AND status = 'ok' AND chars IS NOT NULL AND ord < ?2"
            " AND saved_at >= (SELECT saved_at FROM versions WHERE notebook = ?1 AND ord < ?2 AND status = 'ok'"
            "   ORDER BY ord DESC LIMIT 1) - ?3"
            " AND ord >= coalesce("
            "   (SELECT max(ord) FROM versions WHERE notebook = ?1 AND accepted = 1 AND ord < ?2), x'')"
            " ORDER BY chars DESC, cells DESC LIMIT 1",
            (notebook, moment.sortable(), _FULLEST_WINDOW_US),
        ).fetchone()
        return Measure(row[0], row[1]) if row else None

    def entries(self, *, deleted: bool) -> Sequence[tuple[int, Version]]:
        """(number of versions, latest version) per lineage, newest change first.

        A lineage is deleted when no path has it as its living head (a tombstone, or overwritten by another).
        """
        living = "EXISTS (SELECT 1 FROM heads h WHERE h.notebook = n.notebook AND h.sha256 IS NOT NULL)"
        rows = self._db.execute(
            f"SELECT n.versions, {_COLUMNS_V} FROM notebooks n JOIN versions v ON v.id = n.latest"
            f" WHERE {'NOT ' if deleted else ''}{living} ORDER BY n.ord DESC"
        )
        return [(row[0], version_of(row[1:])) for row in rows]

    def named(self, path: str) -> list[tuple[str, str]]:
        """(path, notebook) of every lineage that is or was at ``path``, the present one first."""
        raw = os.fsencode(path)
        rows = self._db.execute(
            "SELECT notebook, 0 AS former, x'' AS o FROM heads WHERE path = ?1 UNION ALL"
            " SELECT notebook, 1, max(ord) FROM versions WHERE path = ?1 GROUP BY notebook ORDER BY 2, 3 DESC",
            (raw,),
        )
        found = dict.fromkeys(row[0] for row in rows)
        return [(path, notebook) for notebook in found]

    def ending(self, tail: str) -> list[tuple[str, str]]:
        """(path, notebook) of every lineage whose latest path is, or ends with ``/``, ``tail``."""
        raw = os.fsencode(tail)
        rows = self._db.execute(
            "SELECT path, notebook FROM notebooks WHERE substr(path, -?2) = ?1 ORDER BY ord DESC",
            (b"/" + raw, len(raw) + 1),
        )
        return [(os.fsdecode(path), notebook) for path, notebook in rows]

    def everything_at(self, when: datetime) -> list[Version]:
        """Per path: its newest version observed not later than ``when``, without tombstones and renamed-away ones."""
        limit = microseconds(when)
        rows = self._db.execute(
            f"SELECT {_COLUMNS_V} FROM versions v JOIN ("
            "  SELECT path AS p, max(ord) AS o FROM versions WHERE saved_at <= ?1 AND tip = 1 GROUP BY path"
            ") ON v.path = p AND v.ord = o WHERE v.status != 'deleted' AND NOT EXISTS ("
            "  SELECT 1 FROM versions m WHERE m.renamed_from = v.path AND m.notebook = v.notebook AND m.ord > v.ord"
            "  AND m.saved_at <= ?1) ORDER BY v.path",
            (limit,),
        )
        return [version_of(row) for row in rows]

    def knows(self, path: str, sha256: str) -> bool:
        """Whether the notebook at ``path`` has a version with these bytes."""
        row = self._db.execute(
            "SELECT 1 FROM versions WHERE sha256 = ?2"
            " AND notebook = (SELECT notebook FROM heads WHERE path = ?1) LIMIT 1",
            (os.fsencode(path), sha256),
        ).fetchone()
        return row is not None

    def spooled(self) -> list[Version]:
        """Versions that are only in the spool, in the order of observation."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM versions WHERE commit_id IS NULL ORDER BY ord, id")
        return [version_of(row) for row in rows]

    def sample(self) -> Version | None:
        """One random packed version with bytes (for restore drills)."""
        row = self._db.execute(
            f"SELECT {COLUMNS} FROM versions WHERE commit_id IS NOT NULL AND sha256 IS NOT NULL"
            " ORDER BY random() LIMIT 1"
        ).fetchone()
        return version_of(row) if row else None

    def count(self) -> int:
        """How many versions are known."""
        return int(self._db.execute("SELECT count(*) FROM versions").fetchone()[0])
