"""An open history database: short SELECTs, each of which gives its lock back after a moment, and what its rows say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nbguard.history.generations import SessionRow
from nbguard.history.trouble import Unreadable

# Far below what may be felt (0.2 s): on a busy machine each row may wait for its turn on the processor.
MOST_LOCKED_SECONDS = 0.05
MOST_ROWS = 500
MOST_BYTES = 2_000_000
MOST_IN_ONE_GO_BYTES = 16_000_000
MOST_SOURCE_BYTES = 64_000_000
_SLICE_BYTES = 8_000_000
_STEPS_BETWEEN_LOOKS_AT_THE_CLOCK = 500


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

    def last_line(self, session: int) -> int:
        """The highest line of a session; 0 when it has none."""
        self._begin()
        found = self._connection.execute(
            "SELECT coalesce(max(line), 0) FROM history WHERE session = ?", (session,)
        ).fetchone()
        return _number(found[0])

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
