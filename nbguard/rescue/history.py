"""IPython's history databases, of every profile and every generation; damaged ones give what can be cut out of them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from nbguard.executed import Confidence, ExecutedCell, session_id
from nbguard.rescue.carving import history_rows, session_rows
from nbguard.rescue.database_copy import private_copy
from nbguard.rescue.findings import Finding, Look, Session, SourceName, Unavailable, Wanted
from nbguard.rescue.reading import at_seconds, read_regular, reason


@dataclass(frozen=True, slots=True)
class RawSession:
    """One row of ``sessions``, as the database has it."""

    number: int
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class NamedSession:
    """A session with the generation it belongs to, and its times in UTC."""

    number: int
    generation: str
    started_at: datetime | None
    ended_at: datetime | None


Choose = Callable[[Sequence[RawSession], Mapping[int, int]], set[int]]
"""Which sessions are worth reading, by their numbers and the count of their cells."""

Understand = Callable[[tuple[int, int], Sequence[RawSession]], Sequence[NamedSession]]
"""Which generation each session of a file (device, inode) belongs to, and when it was."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read: sessions, and (session, line, source, output) of each cell; ``trouble`` says what was lost."""

    sessions: tuple[RawSession, ...]
    cells: tuple[tuple[int, int, str, str | None], ...]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Histories:
    """The databases at ``paths``; more than one may hold the same session.

    Those below ``own`` are copies of nbguard's: of these, only sessions count that hold more cells than are ``known``
    (by id) to have been kept one by one.
    """

    paths: Callable[[], Iterable[str]]
    understand: Understand
    own: str = ""
    known: Callable[[], Mapping[str, int]] = dict

    @property
    def name(self) -> SourceName:
        return SourceName.HISTORY

    def look(self, wanted: Wanted) -> Look:
        """Every session; which notebook it belongs to is decided later."""
        found: list[Finding] = []
        unavailable: list[Unavailable] = []
        for path in dict.fromkeys(self.paths()):
            try:
                status = os.stat(path)
                file = (status.st_dev, status.st_ino)
                is_own = bool(self.own) and path.startswith(self.own + "/")
                with private_copy(path) as copy:
                    rows = read_rows(copy, partial(self._is_more, file) if is_own else None)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                unavailable.append(Unavailable(self.name, reason(error)))
                continue
            if rows.trouble:
                unavailable.append(Unavailable(self.name, f"{path}: {rows.trouble}"))
            written = at_seconds(status.st_mtime)
            found += session_findings(self.name, path, rows, self.understand(file, rows.sessions), written)
        return Look(tuple(each for each in found if is_wanted(wanted, each)), tuple(unavailable))

    def _is_more(self, file: tuple[int, int], sessions: Sequence[RawSession], counts: Mapping[int, int]) -> set[int]:
        known = self.known()
        ids = {each.number: session_id(each.generation, each.number) for each in self.understand(file, sessions)}
        return {number for number, cells in counts.items() if known.get(ids.get(number, ""), 0) < cells}


def is_wanted(wanted: Wanted, finding: Finding) -> bool:
    """Whether a session is asked for: all are, unless one is named."""
    return not wanted.session or finding.id == wanted.session or finding.id.startswith(wanted.session)


def read_rows(copy: str, choose: Choose | None = None) -> Rows:
    """Everything in a private copy of a database, or the sessions that are chosen; never raises for what is in it."""
    try:
        connection = sqlite3.connect(copy, timeout=0)
        try:
            return _selected(connection, choose)
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError, MemoryError) as error:
        carved = _carved(copy)
        said = f"damaged ({error})"
        if carved.cells:
            return Rows(carved.sessions, carved.cells, f"{said}; {len(carved.cells)} cells were cut out of its pages")
        return Rows((), (), said)


def _selected(connection: sqlite3.Connection, choose: Choose | None) -> Rows:
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA trusted_schema = OFF")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "history" not in tables:
        return Rows((), ())
    outputs: dict[tuple[object, object], str] = {}
    if "output_history" in tables:
        for session, line, output in connection.execute("SELECT session, line, output FROM output_history"):
            if isinstance(output, str):
                outputs[session, line] = output
    sessions = []
    if "sessions" in tables:
        for number, start, end in connection.execute("SELECT session, start, end FROM sessions ORDER BY session"):
            if isinstance(number, int):
                sessions.append(RawSession(number, _text(start), _text(end)))
    numbers: Iterable[int | None] = (None,)
    if choose is not None:
        counts = connection.execute("SELECT session, count(*) FROM history GROUP BY session").fetchall()
        numbers = sorted(choose(sessions, {number: cells for number, cells in counts if isinstance(number, int)}))
    statement = "SELECT session, line, source_raw FROM history WHERE session = ?1 OR ?1 IS NULL ORDER BY 1, 2"
    cells = [
        (session, line, _text(source), outputs.get((session, line)))
        for number in numbers
        for session, line, source in connection.execute(statement, (number,))
        if isinstance(session, int) and isinstance(line, int)
    ]
    return Rows(tuple(sessions), tuple(cells))


def _carved(copy: str) -> Rows:
    try:
        data = read_regular(copy)
    except (OSError, MemoryError):
        return Rows((), ())
    sessions = tuple(RawSession(*row) for row in session_rows(data))
    return Rows(sessions, tuple((*row, None) for row in history_rows(data)))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def session_findings(
    source: SourceName, path: str, rows: Rows, named: Sequence[NamedSession], written: datetime | None
) -> list[Finding]:
    """One finding for each session with cells, the oldest first; sessions without a row of their own too."""
    by_number = {each.number: each for each in named}
    cells: dict[int, list[tuple[int, str, str | None]]] = {}
    for session, line, text, output in rows.cells:
        cells.setdefault(session, []).append((line, text, output))
    stray = next(iter(by_number.values())).generation if by_number else "unknown"
    return [
        session_finding(
            source,
            path,
            by_number.get(number) or NamedSession(number, stray, None, None),
            lines,
            written,
        )
        for number, lines in sorted(cells.items())
    ]


def session_finding(
    source: SourceName,
    path: str,
    session: NamedSession,
    lines: Sequence[tuple[int, str, str | None]],
    written: datetime | None,
) -> Finding:
    """One session as a finding; nothing is known of its notebook."""
    identity = session_id(session.generation, session.number)
    time = session.ended_at or session.started_at or written
    seen_at = session.started_at or written or datetime.fromtimestamp(0).astimezone()
    cells = tuple(
        ExecutedCell(
            generation=session.generation,
            session=session.number,
            line=line,
            source=text,
            seen_at=seen_at,
            output=output,
        )
        for line, text, output in lines
    )
    return Finding(
        source=source,
        path=path,
        time=time,
        size=sum(len(cell.source.encode("utf-8", "surrogatepass")) for cell in cells),
        cells=len(cells),
        notebook=None,
        confidence=Confidence.UNKNOWN,
        content=Session(identity, cells),
        id=identity,
    )
