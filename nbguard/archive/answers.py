"""What the catalog is asked: heads, versions, logs, lists, in one place and read-only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from nbguard.archive.catalog_file import CatalogFile
from nbguard.archive.rows import COLUMNS, decision_of_row, head_of, microseconds, version_of
from nbguard.archive.trailers import Decision
from nbguard.model import Head, Measure, Moment, Version

_FULLEST_WINDOW_US = timedelta(days=30) // timedelta(microseconds=1)
_COLUMNS_V = ", ".join(f"v.{name.strip()}" for name in COLUMNS.split(","))


class Answers(CatalogFile):
    """The questions."""

    def head(self, path: str) -> Head | None:
        row = self._row("SELECT * FROM heads WHERE path = ?", (os.fsencode(path),))
        return head_of(row) if row else None

    def heads(self) -> list[Head]:
        """All of them, deleted ones too."""
        return [head_of(row) for row in self._rows("SELECT * FROM heads")]

    def version(self, identity: str) -> Version | None:
        row = self._row(f"SELECT {COLUMNS} FROM versions WHERE id = ?", (identity,))
        return version_of(row) if row else None

    def log(self, notebook: str) -> list[Version]:
        """All versions of a lineage, newest first."""
        rows = self._rows(f"SELECT {COLUMNS} FROM versions WHERE notebook = ? ORDER BY ord DESC, id DESC", (notebook,))
        return [version_of(row) for row in rows]

    def prior(self, path: str, moment: Moment) -> Version | None:
        """The latest state of ``path`` as it was before ``moment``; None when it was moved away by then."""
        raw, order = os.fsencode(path), moment.sortable()
        row = self._row(
            f"SELECT {COLUMNS} FROM versions WHERE path = ? AND ord < ? AND tip = 1 ORDER BY ord DESC LIMIT 1",
            (raw, order),
        )
        if row is None:
            return None
        found = version_of(row)
        away = self._row(
            "SELECT 1 FROM versions WHERE renamed_from = ? AND notebook = ? AND tip = 1 AND ord > ? AND ord < ?",
            (raw, found.notebook, found.moment.sortable(), order),
        )
        return None if away else found

    def moved_away(self, path: str, moment: Moment) -> str | None:
        """The lineage that left ``path`` for another one after ``moment``."""
        row = self._row(
            "SELECT notebook FROM versions WHERE renamed_from = ? AND tip = 1 AND ord > ? ORDER BY ord LIMIT 1",
            (os.fsencode(path), moment.sortable()),
        )
        return row[0] if row else None

    def before(self, notebook: str, moment: Moment) -> Version | None:
        """The newest version of a lineage observed before ``moment``."""
        row = self._row(
            f"SELECT {COLUMNS} FROM versions WHERE notebook = ? AND ord < ? ORDER BY ord DESC LIMIT 1",
            (notebook, moment.sortable()),
        )
        return version_of(row) if row else None

    def fullest(self, notebook: str, moment: Moment) -> Measure | None:
        """The fullest ``ok`` version that a new one at ``moment`` is judged by.

        Of the 30 days before the newest ok version (so that an emptied state never ages out of its own judgement),
        and not of the time before an accepted one. None when there is no ok version.
        """
        # The partial index is in the order of fullness: the first row that is young enough ends the search.
        row = self._row(
            "SELECT cells, chars FROM versions INDEXED BY versions_fullest"
            " WHERE notebook = ?1 AND status = 'ok' AND chars IS NOT NULL AND ord < ?2"
            " AND saved_at >= (SELECT saved_at FROM versions WHERE notebook = ?1 AND ord < ?2 AND status = 'ok'"
            "   ORDER BY ord DESC LIMIT 1) - ?3"
            " AND ord >= coalesce("
            "   (SELECT max(ord) FROM versions WHERE notebook = ?1 AND accepted = 1 AND ord < ?2), x'')"
            " ORDER BY chars DESC, cells DESC LIMIT 1",
            (notebook, moment.sortable(), _FULLEST_WINDOW_US),
        )
        return Measure(row[0], row[1]) if row else None

    def entries(self, *, deleted: bool) -> Sequence[tuple[int, Version]]:
        """(number of versions, latest version) per lineage, newest change first.

        A lineage is deleted when no path has it as its living head (a tombstone, or overwritten by another).
        """
        living = "EXISTS (SELECT 1 FROM heads h WHERE h.notebook = n.notebook AND h.sha256 IS NOT NULL)"
        rows = self._rows(
            f"SELECT n.versions, {_COLUMNS_V} FROM notebooks n JOIN versions v ON v.id = n.latest"
            f" WHERE {'NOT ' if deleted else ''}{living} ORDER BY n.ord DESC"
        )
        return [(row[0], version_of(row[1:])) for row in rows]

    def named(self, path: str) -> list[tuple[str, str]]:
        """(path, notebook) of every lineage that is or was at ``path``, the present one first."""
        raw = os.fsencode(path)
        rows = self._rows(
            "SELECT notebook, 0 AS former, x'' AS o FROM heads WHERE path = ?1 UNION ALL"
            " SELECT notebook, 1, max(ord) FROM versions WHERE path = ?1 GROUP BY notebook ORDER BY 2, 3 DESC",
            (raw,),
        )
        found = dict.fromkeys(row[0] for row in rows)
        return [(path, notebook) for notebook in found]

    def ending(self, tail: str) -> list[tuple[str, str]]:
        """(path, notebook) of every lineage whose latest path is, or ends with ``/``, ``tail``."""
        raw = os.fsencode(tail)
        rows = self._rows(
            "SELECT path, notebook FROM notebooks WHERE substr(path, -?2) = ?1 ORDER BY ord DESC",
            (b"/" + raw, len(raw) + 1),
        )
        return [(os.fsdecode(path), notebook) for path, notebook in rows]

    def everything_at(self, when: datetime) -> list[Version]:
        """Per path: its newest version observed not later than ``when``, without tombstones and renamed-away ones."""
        limit = microseconds(when)
        rows = self._rows(
            f"SELECT {_COLUMNS_V} FROM versions v JOIN ("
            "  SELECT path AS p, max(ord) AS o FROM versions WHERE saved_at <= ?1 AND tip = 1 GROUP BY path"
            ") ON v.path = p AND v.ord = o WHERE v.status != 'deleted' AND NOT EXISTS ("
            "  SELECT 1 FROM versions m WHERE m.renamed_from = v.path AND m.notebook = v.notebook AND m.ord > v.ord"
            "  AND m.saved_at <= ?1) ORDER BY v.path",
            (limit,),
        )
        return [version_of(row) for row in rows]

    def knows_draft(self, identity: str) -> bool:
        """Whether a draft has been folded, into something or into nothing."""
        return (
            self._row(
                "SELECT 1 FROM versions WHERE id = ?1 UNION ALL SELECT 1 FROM decisions WHERE id = ?1"
                " UNION ALL SELECT 1 FROM void WHERE id = ?1 LIMIT 1",
                (identity,),
            )
            is not None
        )

    def commit_of(self, identity: str) -> str | None:
        """The commit that holds a version or decision; None when it is unknown or only spooled."""
        row = self._row(
            "SELECT commit_id FROM versions WHERE id = ?1 UNION ALL SELECT commit_id FROM decisions WHERE id = ?1",
            (identity,),
        )
        return row[0] if row else None

    def knows(self, path: str, sha256: str) -> bool:
        """Whether the notebook at ``path`` has a version with these bytes."""
        row = self._row(
            "SELECT 1 FROM versions WHERE sha256 = ?2"
            " AND notebook = (SELECT notebook FROM heads WHERE path = ?1) LIMIT 1",
            (os.fsencode(path), sha256),
        )
        return row is not None

    def spooled(self) -> list[Version]:
        """Versions that are only in the spool, in the order of observation."""
        rows = self._rows(f"SELECT {COLUMNS} FROM versions WHERE commit_id IS NULL ORDER BY ord, id")
        return [version_of(row) for row in rows]

    def sample(self) -> Version | None:
        """One random packed version with bytes (for restore drills)."""
        row = self._row(
            f"SELECT {COLUMNS} FROM versions WHERE commit_id IS NOT NULL AND sha256 IS NOT NULL"
            " ORDER BY random() LIMIT 1"
        )
        return version_of(row) if row else None

    def count(self) -> int:
        """How many versions are known."""
        row = self._row("SELECT count(*) FROM versions")
        return int(row[0]) if row else 0

    def newest_epoch(self) -> int:
        """The highest number of a boot in which anything known was kept; 0 when nothing is."""
        row = self._row("SELECT max(ord) FROM versions")
        return Moment.from_sortable(row[0]).epoch if row and row[0] is not None else 0

    def roots(self) -> tuple[str, ...]:
        """The folders that notebooks were watched under, sorted."""
        return tuple(sorted(os.fsdecode(row[0]) for row in self._rows("SELECT DISTINCT root FROM versions") if row[0]))

    def heads_from_elsewhere(self, install: str) -> set[str]:
        """Paths whose latest version another installation kept, in an archive that was taken over."""
        rows = self._rows(
            "SELECT h.path FROM heads h JOIN versions v ON v.id = h.version WHERE v.install != ?", (install,)
        )
        return {os.fsdecode(row[0]) for row in rows}

    def packed_ids(self) -> list[str]:
        """Versions that the archive has, in the order of observation."""
        return [row[0] for row in self._rows("SELECT id FROM versions WHERE commit_id IS NOT NULL ORDER BY ord, id")]

    def packed_decisions(self) -> list[Decision]:
        """A human's words that the archive has."""
        rows = self._rows(
            "SELECT id, kind, about, ord, decided_at, commit_id FROM decisions WHERE commit_id IS NOT NULL"
        )
        return [decision_of_row(row) for row in rows]
