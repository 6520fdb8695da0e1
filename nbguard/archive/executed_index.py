"""The index over all records: disposable, made from the archive's branch ``records`` and the segments beside it.

A record's line is stored as it was kept; the columns beside it only find it. What counts among several records of one
thing is decided by what they say, never by the order in which they were read: so the answers are the same whether the
index grew with the days or was made anew a moment ago.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from nbguard.archive.catalog_file import CatalogFile
from nbguard.executed import ExecutedCell, Generation, HistorySession, Link, Record, Recorded, Run
from nbguard.records import FORMAT, decode, encode

SCHEMA_VERSION = 200 + FORMAT  # a new format must be read anew by whoever can

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, unreadable INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE generations (id TEXT PRIMARY KEY, first INTEGER NOT NULL, seen INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE sessions (
  generation TEXT NOT NULL, session INTEGER NOT NULL, seen INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (generation, session)
);
CREATE TABLE cells (
  generation TEXT NOT NULL, session INTEGER NOT NULL, line INTEGER NOT NULL, said BLOB NOT NULL, seen INTEGER NOT NULL,
  record BLOB NOT NULL, PRIMARY KEY (generation, session, line, said)
);
CREATE TABLE links (what BLOB PRIMARY KEY, seen INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE runs (
  id TEXT PRIMARY KEY, ended INTEGER NOT NULL, bytes INTEGER NOT NULL, started INTEGER NOT NULL, kernel BLOB NOT NULL,
  path BLOB, generation TEXT, session INTEGER, record BLOB NOT NULL
);
CREATE INDEX runs_kernel ON runs (kernel, generation, session, path, started);
CREATE INDEX runs_path ON runs (path, started);
"""

# The latest that was seen counts; of a cell, the first time that it was.
_INSERT = {
    Generation: "INSERT INTO generations VALUES (?1, ?2, ?2, ?3) ON CONFLICT DO UPDATE SET first = min(first, ?2),"
    " seen = max(seen, ?2), record = CASE WHEN (?2, ?3) > (seen, record) THEN ?3 ELSE record END",
    HistorySession: "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET seen = ?3, record = ?4"
    " WHERE (?3, ?4) > (seen, record)",
    ExecutedCell: "INSERT INTO cells VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET seen = ?5, record = ?6"
    " WHERE (?5, ?6) < (seen, record)",
    Link: "INSERT INTO links VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET seen = ?2, record = ?3"
    " WHERE (?2, ?3) > (seen, record)",
    Run: "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET ended = ?2,"
    " bytes = ?3, started = ?4, kernel = ?5, path = ?6, generation = ?7, session = ?8, record = ?9"
    " WHERE (?2, ?3, ?9) > (ended, bytes, record)",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_Row = tuple[object, ...]
_Kind = TypeVar("_Kind", Generation, HistorySession, ExecutedCell, Link, Run)


class ExecutedIndex(CatalogFile):
    """One connection to the index at ``path`` (``:memory:`` for one of this process); raises as CatalogFile does."""

    def __init__(self, path: str) -> None:
        super().__init__(path, schema=SCHEMA, version=SCHEMA_VERSION, name="the index of executed cells")

    # -- how far it was read ---------------------------------------------------------------------------------------

    @property
    def tip(self) -> str | None:
        """The commit of branch ``records`` up to which everything is in."""
        row = self._row("SELECT value FROM meta WHERE key = 'tip'")
        return row[0] if row else None

    def set_tip(self, tip: str) -> None:
        self._do("INSERT OR REPLACE INTO meta VALUES ('tip', ?)", (tip,))

    def read_up_to(self) -> dict[str, int]:
        """How many bytes of each segment are in."""
        return dict(self._rows("SELECT name, bytes FROM segments"))

    def read_up_to_of(self, name: str) -> int:
        """How many bytes of one segment are in."""
        row = self._row("SELECT bytes FROM segments WHERE name = ?", (name,))
        return int(row[0]) if row else 0

    def unreadable(self) -> int:
        """How many lines could not be read: damaged, or of a newer nbguard."""
        row = self._row("SELECT sum(unreadable) FROM segments")
        return int(row[0] or 0) if row else 0

    def note_read(self, name: str, size: int, unreadable: int) -> None:
        """``size`` bytes of a segment are in; ``unreadable`` more lines were not records."""
        self._do(
            "INSERT INTO segments VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET bytes = ?2,"
            " unreadable = unreadable + ?3",
            (name, size, unreadable),
        )

    def clear(self) -> None:
        """Forget everything (before it is read anew)."""
        for table in ("meta", "segments", "generations", "sessions", "cells", "links", "runs"):
            self._do(f"DELETE FROM {table}")

    def add(self, records: Iterable[Record]) -> None:
        """Enter records; those that are known, or outdone by others, change nothing."""
        rows: dict[type[Record], list[_Row]] = {}
        for record in records:
            rows.setdefault(type(record), []).append(_row_of(record))
        for kind, found in rows.items():
            self._do_each(_INSERT[kind], found)

    # -- answers ---------------------------------------------------------------------------------------------------

    def generations(self) -> list[Generation]:
        return list(_only(Generation, self._records("SELECT record FROM generations ORDER BY first, id")))

    def sessions(self) -> list[HistorySession]:
        """As last seen; also those that are only known by their cells."""
        found = list(_only(HistorySession, self._records("SELECT record FROM sessions")))
        for generation, session in self._rows(
            "SELECT DISTINCT generation, session FROM cells EXCEPT SELECT generation, session FROM sessions"
        ):
            (seen,) = self._row(
                "SELECT min(seen) FROM cells WHERE generation = ? AND session = ?", (generation, session)
            ) or (0,)
            seen_at = _moment(seen)
            found.append(
                HistorySession(generation=generation, session=session, started_at=None, ended_at=None, seen_at=seen_at)
            )
        return sorted(found, key=lambda one: (one.started_at or one.seen_at, one.generation, one.session))

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        """By line; another text on the same line is another cell."""
        statement = "SELECT record FROM cells WHERE generation = ? AND session = ? ORDER BY line, seen, record"
        found: dict[tuple[int, str], ExecutedCell] = {}
        for cell in _only(ExecutedCell, self._records(statement, (generation, session))):
            key = cell.line, cell.source
            found[key] = cell if key not in found else _completed(found[key], cell)
        return list(found.values())

    def links(self) -> list[Link]:
        return list(_only(Link, self._records("SELECT record FROM links ORDER BY seen, record")))

    def runs(self, *, kernel: str | None, path: str | None) -> list[Run]:
        where, values = [], []
        if kernel is not None:
            where.append("kernel = ?")
            values.append(_bytes_of(kernel))
        if path is not None:
            where.append("path = ?")
            values.append(_bytes_of(path))
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        return list(_only(Run, self._records(f"SELECT record FROM runs{condition} ORDER BY started, id", values)))

    def seen(self, generation: str, session: int) -> tuple[datetime, datetime] | None:
        """When the first line and the last line of a session were seen first; found without reading the others."""
        whose, values = "FROM cells WHERE generation = ?1 AND session = ?2", (generation, session)
        ends = [
            self._row(f"SELECT {end}(seen) {whose} AND line = (SELECT {end}(line) {whose})", values)
            for end in ("min", "max")
        ]
        times = [_moment(row[0]) for row in ends if row is not None and row[0] is not None]
        return (times[0], times[1]) if len(times) == len(ends) else None

    def recorded(self) -> list[Recorded]:
        """Which kernels' runs were recorded, and of which sessions."""
        rows = self._rows(
            "SELECT kernel, generation, session, path, min(started), max(started) FROM runs"
            " GROUP BY kernel, generation, session, path"
        )
        return [
            Recorded(
                kernel=os.fsdecode(kernel),
                generation=generation,
                session=session,
                path=None if path is None else os.fsdecode(path),
                first_at=_moment(first),
                last_at=_moment(last),
            )
            for kernel, generation, session, path, first, last in rows
        ]

    def _records(self, statement: str, values: Iterable[object] = ()) -> Iterator[Record]:
        return (decode(record) for (record,) in self._rows(statement, values))


def _row_of(record: Record) -> _Row:
    line = encode(record)
    match record:
        case Generation():
            return record.id, _microseconds(record.seen_at), line
        case HistorySession():
            return record.generation, record.session, _microseconds(record.seen_at), line
        case ExecutedCell():
            said = _digest(record.source, record.transformed, record.output)
            return record.generation, record.session, record.line, said, _microseconds(record.seen_at), line
        case Link():
            return _what(record), _microseconds(record.seen_at), line
        case Run():
            return (
                record.id,
                -(1 << 62) if record.ended_at is None else _microseconds(record.ended_at),
                record.output_bytes,
                _microseconds(record.started_at),
                _bytes_of(record.kernel),
                None if record.path is None else _bytes_of(record.path),
                record.generation,
                record.session,
                line,
            )


def _what(link: Link) -> bytes:
    """What a link ties to what: of a session (or of a kernel's life without one) and a path only the newest counts."""
    life = (None, link.kernel, link.pid) if link.generation is None else (link.generation, link.session, None)
    return _digest(*(None if part is None else str(part) for part in (*life, link.path)))


def _digest(*texts: str | None) -> bytes:
    digest = hashlib.sha256()
    for text in texts:
        raw = b"" if text is None else b"=" + _bytes_of(text)
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return digest.digest()[:16]


def _completed(cell: ExecutedCell, other: ExecutedCell) -> ExecutedCell:
    """The same cell seen twice: first from the database, say, then with its output from the kernel."""
    from dataclasses import replace

    return replace(
        cell,
        transformed=other.transformed if cell.transformed is None else cell.transformed,
        output=other.output if cell.output is None else cell.output,
    )


def _only(kind: type[_Kind], records: Iterable[Record]) -> Iterator[_Kind]:
    return (record for record in records if isinstance(record, kind))


def _bytes_of(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
