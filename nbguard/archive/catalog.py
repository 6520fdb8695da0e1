"""The catalog: a disposable SQLite index over archive and spool.

Deleting it costs time, never data: its rows are a function of the archive's commits, in their order, and of the
spooled drafts, in the order of observation. Every write is one transaction and may be repeated. Where another process
made or removed the file meanwhile, :meth:`Catalog.is_current` says so and the holder opens it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nbguard.archive.answers import Answers
from nbguard.archive.rows import ARCHIVED, AS_ARCHIVED, INSERT, microseconds, row_of, stat_text
from nbguard.archive.trailers import Decision
from nbguard.model import DraftKind, Measure, Moment, Version

RESERVED = Moment(0, 0, 0)
"""The head of a path that only reserves it for a lineage: bytes were kept for it that never were its latest state."""
_SPOOLED = (
    "SELECT {0} FROM versions WHERE commit_id IS NULL UNION ALL SELECT {0} FROM decisions WHERE commit_id IS NULL"
)


class Catalog(Answers):
    """What is known, and how it becomes known. Raises as :class:`CatalogFile` does."""

    @property
    def tip(self) -> str | None:
        """The archive's commit up to which the catalog knows everything."""
        row = self._row("SELECT value FROM meta WHERE key = 'tip'")
        return row[0] if row else None

    def set_tip(self, tip: str) -> None:
        self._do("INSERT OR REPLACE INTO meta VALUES ('tip', ?)", (tip,))

    def clear(self) -> None:
        """Forget everything (before a rebuild)."""
        for table in ("meta", "versions", "heads", "notebooks", "decisions", "void"):
            self._do(f"DELETE FROM {table}")

    # -- what is only in the spool ---------------------------------------------------------------------------------

    def spooled_ids(self) -> set[str]:
        """Ids of all drafts known only from the spool, those that record nothing too."""
        return {row[0] for row in self._rows(f"{_SPOOLED.format('id')} UNION ALL SELECT id FROM void")}

    def newest_spooled(self) -> Moment | None:
        """The last moment of a draft known only from the spool."""
        return self._moment(f"SELECT max(ord) FROM ({_SPOOLED.format('ord')} UNION ALL SELECT ord FROM void)")

    def oldest_spooled(self) -> Moment | None:
        """The first one."""
        return self._moment(f"SELECT min(ord) FROM ({_SPOOLED.format('ord')} UNION ALL SELECT ord FROM void)")

    def _moment(self, statement: str) -> Moment | None:
        row = self._row(statement)
        return Moment.from_sortable(row[0]) if row and row[0] is not None else None

    def measures(self) -> dict[str, tuple[Measure | None, bool]]:
        """What was learnt of spooled bytes: id → (measure, whether it could be told)."""
        return {
            identity: (None if cells is None else Measure(cells, chars), cells is not None or judged != "ok")
            for identity, cells, chars, judged in self._rows(
                "SELECT id, cells, chars, judged FROM versions WHERE commit_id IS NULL AND sha256 IS NOT NULL"
            )
        }

    def nothing_ids(self) -> set[str]:
        """Drafts known to record nothing."""
        return {row[0] for row in self._rows("SELECT id FROM void")}

    def add_nothing(self, identity: str, moment: Moment) -> None:
        """Note a draft that records nothing, so that it is not looked at again and again."""
        self._do("INSERT OR IGNORE INTO void VALUES (?, ?)", (identity, moment.sortable()))

    def forget_nothing(self, identities: Iterable[str]) -> None:
        """Those drafts are gone."""
        self._do_each("DELETE FROM void WHERE id = ?", ((identity,) for identity in identities))

    def forget_spooled(self) -> None:
        """As if no draft had ever been seen in the spool."""
        gone = self._rows("SELECT path, renamed_from, notebook FROM versions WHERE commit_id IS NULL")
        abouts = self._rows("SELECT DISTINCT about FROM decisions WHERE commit_id IS NULL")
        self._do("DELETE FROM versions WHERE commit_id IS NULL")
        self._do("DELETE FROM decisions WHERE commit_id IS NULL")
        self._do("DELETE FROM void")
        for (about,) in abouts:
            self._do("UPDATE versions SET accepted = 0, pinned = 0, status = judged WHERE id = ?", (about,))
            self._apply_decisions(about)
            gone += self._rows("SELECT path, NULL, notebook FROM versions WHERE id = ?", (about,))
        self._settle(gone)

    # -- adding ----------------------------------------------------------------------------------------------------

    def add(self, version: Version) -> bool:
        """Add a version and move the heads; False when it was known (then only its commit is noted).

        A version that comes with its commit is as the archive has it, and wins over what was thought of its draft.
        """
        if self._do(INSERT, row_of(version)) == 0:
            if version.commit is None:
                return False
            if not self._differs(version):
                self._do("UPDATE versions SET commit_id = ? WHERE id = ?", (version.commit, version.id))
                return False
            was = self._rows("SELECT path, renamed_from, notebook FROM versions WHERE id = ?", (version.id,))
            self._do("DELETE FROM versions WHERE id = ?", (version.id,))
            self._do(INSERT, row_of(version))
            self._apply_decisions(version.id)
            self._settle([*was, (os.fsencode(version.path), _raw(version.renamed_from), version.notebook)])
            return True
        decided = self._apply_decisions(version.id)
        self._move_heads(version, decided or version.status)
        self._do(
            "INSERT INTO notebooks VALUES (?, ?, ?, ?, 1) ON CONFLICT (notebook) DO UPDATE SET versions = versions + 1,"
            " path = iif(excluded.ord > ord, excluded.path, path),"
            " latest = iif(excluded.ord > ord, excluded.latest, latest), ord = max(excluded.ord, ord)",
            (version.notebook, os.fsencode(version.path), version.id, version.moment.sortable()),
        )
        return True

    def decide(self, decision: Decision) -> bool:
        """Apply a human's word; False when it was known (repeating it changes nothing)."""
        known = self._row("SELECT 1 FROM decisions WHERE id = ?", (decision.id,))
        self._do(
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
        if not known:
            status = self._apply_decisions(decision.about)
            if status is not None:
                self._do(
                    "UPDATE heads SET status = ? WHERE version = ? AND sha256 IS NOT NULL", (status, decision.about)
                )
        return not known

    def packed(self, commits: Iterable[tuple[str, str]], tip: str) -> None:
        """Note (id, commit) of what was packed and read back, and the new tip."""
        pairs = [(commit, identity) for identity, commit in commits]
        self._do_each("UPDATE versions SET commit_id = ? WHERE id = ?", pairs)
        self._do_each("UPDATE decisions SET commit_id = ? WHERE id = ?", pairs)
        self.set_tip(tip)

    def _differs(self, version: Version) -> bool:
        row = self._row(f"SELECT {AS_ARCHIVED} FROM versions WHERE id = ?", (version.id,))
        return row != row_of(version)[:ARCHIVED]

    def _apply_decisions(self, identity: str) -> str | None:
        """The status after the human's words on a version; None where there are none."""
        kinds = self._rows("SELECT kind FROM decisions WHERE about = ?", (identity,))
        for (kind,) in kinds:
            if kind == DraftKind.PIN:
                self._do("UPDATE versions SET pinned = 1 WHERE id = ?", (identity,))
            else:
                self._do(
                    "UPDATE versions SET accepted = 1, status = iif(status = 'emptied', 'ok', status) WHERE id = ?",
                    (identity,),
                )
        row = self._row("SELECT status FROM versions WHERE id = ?", (identity,)) if kinds else None
        return row[0] if row else None

    def _move_heads(self, version: Version, status: str) -> None:
        path, order = os.fsencode(version.path), version.moment.sortable()
        if not version.tip:  # bytes that never were the latest state: they only reserve the path for their lineage
            self._settle_path(path)
            return
        self._do(
            "INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET"
            " notebook = excluded.notebook, version = excluded.version, ord = excluded.ord,"
            " sha256 = excluded.sha256, status = excluded.status, stat = excluded.stat WHERE excluded.ord > ord",
            (path, version.notebook, version.id, order, version.sha256, str(status), stat_text(version.signature)),
        )
        if version.renamed_from is not None:
            self._do(
                "DELETE FROM heads WHERE path = ? AND notebook = ? AND ord < ?",
                (os.fsencode(version.renamed_from), version.notebook, order),
            )

    def _settle(self, rows: Iterable[tuple[bytes, bytes | None, str]]) -> None:
        """Work out anew the heads and lineages that these (path, renamed_from, notebook) touch."""
        rows = list(rows)
        for path in {part for row in rows for part in row[:2] if part is not None}:
            self._settle_path(path)
        for notebook in {row[2] for row in rows}:
            self._do("DELETE FROM notebooks WHERE notebook = ?", (notebook,))
            self._do(
                "INSERT INTO notebooks SELECT notebook, path, id, ord,"
                " (SELECT count(*) FROM versions WHERE notebook = ?1)"
                " FROM versions WHERE notebook = ?1 ORDER BY ord DESC LIMIT 1",
                (notebook,),
            )

    def _settle_path(self, path: bytes) -> None:
        """The head of a path is its newest latest state, unless that was moved away since."""
        self._do("DELETE FROM heads WHERE path = ?", (path,))
        head = self._row(
            "SELECT path, notebook, id, ord, sha256, status, stat FROM versions WHERE path = ? AND tip = 1"
            " ORDER BY ord DESC LIMIT 1",
            (path,),
        )
        if head is None:
            found = self._row("SELECT notebook, id FROM versions WHERE path = ? ORDER BY ord, id LIMIT 1", (path,))
            if found is not None:
                row = (path, *found, RESERVED.sortable())
                self._do("INSERT INTO heads VALUES (?, ?, ?, ?, NULL, 'deleted', NULL)", row)
            return
        away = self._row(
            "SELECT 1 FROM versions WHERE renamed_from = ? AND notebook = ? AND tip = 1 AND ord > ? LIMIT 1",
            (path, head[1], head[3]),
        )
        if away is None:
            self._do("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?)", head)


def _raw(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)
