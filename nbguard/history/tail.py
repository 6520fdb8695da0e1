"""Keeping the rows of history databases as they appear, of every generation, each once.

New rows come first, older ones behind them in small pieces, so that a cell that runs while a long history is imported
does not wait for it. When the last row that we read is not there any more, the file is not what it was (an older copy
was put over it, rows were deleted), and all of it is read again and compared with what is kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.clock import Clock
from nbguard.errors import NbguardError
from nbguard.executed import ExecutedCell, Generation, HistorySession, Record
from nbguard.history.generations import FileIdentity, Lives, SessionRow, ended_utc, started_utc
from nbguard.history.open_database import HistoryRow, OpenDatabase
from nbguard.history.positions import START, Position, Positions
from nbguard.history.reading import reading
from nbguard.ports import ExecutedLibrary, RecordLog

_log = logging.getLogger(__name__)
_LAST = (1 << 63) - 1
_SESSIONS_COMPARED_AT_ONCE = 16
_OPEN_SESSIONS_FOLLOWED = 500


@dataclass(frozen=True, slots=True)
class Source:
    """A database to be read: where its bytes are, whose they are, and the name it has (or had)."""

    path: str
    file: FileIdentity
    name: str
    copy: str | None = None


@dataclass(slots=True)
class _File:
    """What we remember of one file. ``compare_up_to``: rows up to there may be kept already."""

    position: Position | None = None
    compare_up_to: int = START
    needs_sessions: bool = True
    numbers: dict[int, str] = field(default_factory=dict)
    lasting: set[int] = field(default_factory=set)
    last: SessionRow | None = None


@dataclass(slots=True)
class _Found:
    """What one look read: sessions, and rows with whether they are to be compared with what is kept."""

    position: Position
    sessions: list[SessionRow]
    rows: list[tuple[HistoryRow, bool]]
    is_all: bool


class Tail:
    """Reads every database it is shown. For one thread."""

    def __init__(
        self,
        *,
        log: RecordLog,
        library: Callable[[], ExecutedLibrary],
        close_library: Callable[[ExecutedLibrary], None] = lambda library: None,
        positions: Positions,
        clock: Clock,
    ) -> None:
        self._log = log
        self._open_library, self._close_library = library, close_library
        self._positions = positions
        self._clock = clock
        self._lives: Lives | None = None
        self._sessions: dict[tuple[str, int], HistorySession] = {}
        self._files: dict[FileIdentity, _File] = {}
        self._library: ExecutedLibrary | None = None
        self._compared: dict[tuple[str, int], set[tuple[int, str, str | None]]] = {}
        self._pending: list[Record] = []
        self.kept = 0

    def look(self, source: Source) -> bool:
        """Keep what is new in one database; True when there is more to be read at once.

        Raises Busy and ChangedMeanwhile (later, then), Unreadable, NeedsCopy, FileNotFoundError; StorageTrouble, and
        then nothing is forgotten.
        """
        self.flush()
        lives = self._known()
        file = self._files.setdefault(source.file, _File())
        with reading(source.path, copy=source.copy) as database:
            found = self._read(database, source.file, file)
        self._pending += self._records(source, file, lives, found)
        file.position, file.needs_sessions = found.position, False
        self._positions.put(source.file, found.position)
        self.flush()
        if found.is_all:
            self._let_go()
        return not found.is_all

    def flush(self) -> None:
        """Keep what could not be kept before. Raises StorageTrouble."""
        if self._pending:
            self._log.append(self._pending)
            self.kept += sum(isinstance(record, ExecutedCell) for record in self._pending)
            self._pending = []

    def save(self) -> None:
        """Note how far everything was read."""
        if not self._pending:
            self._positions.save()

    def generation_of(self, file: FileIdentity, session: int) -> str | None:
        """Whose session that is, for a kernel that has this file open; None while we have not seen it."""
        known = self._files.get(file)
        return None if known is None else known.numbers.get(session)

    def newest_generation(self, file: FileIdentity) -> str | None:
        """The generation of the newest session of a file."""
        known = self._files.get(file)
        return None if known is None or not known.numbers else known.numbers[max(known.numbers)]

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, database: OpenDatabase, identity: FileIdentity, file: _File) -> _Found:
        position = file.position
        if position is None:
            position = self._positions.get(identity)
            file.compare_up_to = database.top()
        if position is None or not _is_anchored(database, position):
            if position is not None:
                _log.info("a history database is not what it was; it is read again and compared")
            position = _from_here(database)
            file.compare_up_to, file.needs_sessions = position.after, True
        new = database.rows(position.after, _LAST)
        said, said_up_to = database.rows_with_outputs(position.outputs_after)
        old = database.rows(position.back_from, position.back_until)
        rows = [(row, row.rowid <= file.compare_up_to) for row in new.rows]
        rows += [(row, False) for row in said.rows]
        rows += [(row, True) for row in old.rows]
        back_from = position.back_until if old.is_all else old.rows[-1].rowid if old.rows else position.back_from
        return _Found(
            position=Position(
                after=new.rows[-1].rowid if new.rows else position.after,
                anchor=_anchor(new.rows[-1]) if new.rows else position.anchor,
                outputs_after=said_up_to,
                back_from=back_from,
                back_until=position.back_until,
            ),
            sessions=_sessions(database, file),  # after the rows: a session is there before them
            rows=rows,
            is_all=new.is_all and said.is_all and back_from >= position.back_until,
        )

    def _records(self, source: Source, file: _File, lives: Lives, found: _Found) -> list[Record]:
        now = self._clock.now()
        records: list[Record] = []
        before: datetime | None = None
        for row, generation, is_new in lives.assign(source.file, found.sessions):
            if is_new:
                records.append(_generation(generation, source, row.start, now))
            file.numbers[row.number] = generation
            if session := self._session(generation, row, before, now):
                records.append(session)
            before = self._sessions[generation, row.number].started_at or before
            (file.lasting.discard if row.end else file.lasting.add)(row.number)
            if file.last is None or row.number >= file.last.number:
                file.last = row
        for history, is_compared in found.rows:
            known = file.numbers.get(history.session)
            if known is None:
                known, is_new = lives.of_stray(source.file, history.session)
                file.numbers[history.session] = known
                if is_new:
                    records.append(_generation(known, source, "", now))
            if is_compared and self._is_kept(known, history):
                continue
            records.append(_cell(known, history, now))
        return records

    def _session(
        self, generation: str, row: SessionRow, before: datetime | None, now: datetime
    ) -> HistorySession | None:
        """What is to be kept of a session, if anything is new about it."""
        known = self._sessions.get((generation, row.number))
        started_at = known.started_at if known is not None else None
        started_at = started_at or started_utc(row.start, not_before=before, not_after=now)
        ended_at = known.ended_at if known is not None else None
        ended_at = ended_at or ended_utc(row.end, started_at=started_at, not_after=now)
        session = HistorySession(
            generation=generation, session=row.number, started_at=started_at, ended_at=ended_at, seen_at=now
        )
        if known is not None and (known.started_at, known.ended_at) == (started_at, ended_at):
            return None
        self._sessions[generation, row.number] = session
        return session

    # -- what is kept already --------------------------------------------------------------------------------------

    def _known(self) -> Lives:
        """Every generation and session that is kept; read once."""
        if self._lives is None:
            try:
                library = self._kept_library()
                generations, sessions = library.generations(), library.sessions()
            except (NbguardError, OSError) as error:
                _log.warning("what is kept cannot be read, so all is kept again: %s", error)
                generations, sessions = [], []
            self._lives = Lives(generations, sessions)
            self._sessions = {(one.generation, one.session): one for one in sessions}
        return self._lives

    def _is_kept(self, generation: str, row: HistoryRow) -> bool:
        key = generation, row.session
        found = self._compared.get(key)
        if found is None:
            if len(self._compared) >= _SESSIONS_COMPARED_AT_ONCE:
                del self._compared[next(iter(self._compared))]
            try:
                cells = self._kept_library().cells(*key)
            except (NbguardError, OSError) as error:
                _log.warning("what is kept cannot be read, so it is kept again: %s", error)
                return False
            found = self._compared[key] = {(cell.line, cell.source, cell.output) for cell in cells}
        return (row.line, row.source, row.output) in found

    def _kept_library(self) -> ExecutedLibrary:
        if self._library is None:
            self._library = self._open_library()
        return self._library

    def _let_go(self) -> None:
        """Nothing is to be compared any more: an open library costs memory."""
        self._compared.clear()
        if self._library is not None:
            self._close_library(self._library)
            self._library = None


def _from_here(database: OpenDatabase) -> Position:
    """Where an unknown database is begun: new rows from now on, and behind them all that is there."""
    top = database.top()
    row = database.row(top) if top else None
    return Position(
        after=top if row is not None else 0,
        anchor=_anchor(row) if row is not None else "",
        outputs_after=database.top_output(),
        back_from=START,
        back_until=top if row is not None else START,
    )


def _is_anchored(database: OpenDatabase, position: Position) -> bool:
    """Whether the last row that we read is still there, and nothing is missing behind it."""
    if not position.anchor:
        return True
    row = database.row(position.after)
    return row is not None and _anchor(row) == position.anchor


def _anchor(row: HistoryRow) -> str:
    text = f"{row.session}:{row.line}:{row.source}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _sessions(database: OpenDatabase, file: _File) -> list[SessionRow]:
    """Sessions that are new, or may have ended; all of them where the file is not what it was."""
    last = file.last
    if not file.needs_sessions and last is not None:
        found = database.sessions(last.number - 1)
        if found and found[0].number == last.number and found[0].start == last.start:
            lasting = sorted(file.lasting)[-_OPEN_SESSIONS_FOLLOWED:]
            ended = [row for row in database.sessions_named(lasting) if row.end]
            return list({row.number: row for row in (*ended, *found)}.values())
    found = []
    while more := database.sessions(found[-1].number if found else START):
        found += more
    file.needs_sessions, file.last = True, None
    return found


def _generation(identity: str, source: Source, first_started_at: str, now: datetime) -> Generation:
    return Generation(
        id=identity,
        path=source.name,
        device=source.file.device,
        inode=source.file.inode,
        first_started_at=first_started_at,
        seen_at=now,
    )


def _cell(generation: str, row: HistoryRow, now: datetime) -> ExecutedCell:
    return ExecutedCell(
        generation=generation,
        session=row.session,
        line=row.line,
        source=row.source,
        seen_at=now,
        transformed=row.transformed,
        output=row.output,
    )
