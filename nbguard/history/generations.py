"""Which life of a history database does a session belong to, and when was it: decided from numbers and times alone.

IPython numbers sessions from 1 in every new database, so a number says nothing by itself. A session is known again by
its number and its start, which has microseconds: also in a trimmed database, in one that was put back from a copy, and
in one that was moved aside as corrupt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nbguard.executed import Generation, HistorySession

# Starts are stored in local time without an offset. Every offset in use is a multiple of this, so what is left of a
# start is the same whatever the zone it is read in: a laptop travels, and summer ends.
_QUARTER_MICROSECONDS = 15 * 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One row of ``sessions``; the times are text as the database has it, or empty."""

    number: int
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file a database is, whatever its name: kernels hold it open also when the name is gone."""

    device: int
    inode: int


@dataclass(slots=True)
class _Life:
    """What is known of one generation: the mark of each session (None: its start is unknown), and where it lay."""

    file: FileIdentity | None = None
    marks: dict[int, int | None] = field(default_factory=dict)
    highest: int = 0

    def learn(self, number: int, mark: int | None) -> None:
        if mark is not None or number not in self.marks:
            self.marks[number] = mark
        self.highest = max(self.highest, number)


class Lives:
    """Every generation and session that is known; grows by what is assigned."""

    def __init__(self, generations: Iterable[Generation] = (), sessions: Iterable[HistorySession] = ()) -> None:
        self._lives: dict[str, _Life] = {}
        self._of_file: dict[FileIdentity, str] = {}
        self._of_session: dict[tuple[int, int], str] = {}
        for generation in generations:
            self._lay(generation.id, FileIdentity(generation.device, generation.inode))
        for session in sessions:
            self._learn(session.generation, session.session, mark_of(session.started_at))

    def knows(self, generation: str) -> bool:
        return generation in self._lives

    def assign(self, file: FileIdentity, rows: Iterable[SessionRow]) -> Iterator[tuple[SessionRow, str, bool]]:
        """(session, its generation, whether that generation is new) for sessions of one file, in ascending order.

        A session that is known keeps its generation. Another one belongs to the file's own, unless its number was used
        there before: then the file is not what it was, and a new generation begins.
        """
        ordered = sorted(rows, key=lambda row: row.number)
        own = self._of_file.get(file) or self._continued(file, ordered)
        for row in ordered:
            mark = mark_of(naive_or_aware(row.start))
            known = None if mark is None else self._of_session.get((row.number, mark))
            if known is not None:
                yield row, known, False
                continue
            is_new = own is None or self._is_taken(own, row.number, mark)
            if own is None or is_new:
                own = generation_id(file, row)
                is_new = own not in self._lives
                self._lay(own, file)
            self._learn(own, row.number, mark)
            yield row, own, is_new

    def of_stray(self, file: FileIdentity, number: int) -> tuple[str, bool]:
        """(generation, whether it is new) for cells whose session has no row of its own."""
        own = self._of_file.get(file)
        is_new = own is None
        if own is None:
            own = generation_id(file, SessionRow(0, "", ""))
            self._lay(own, file)
        self._learn(own, number, None)
        return own, is_new

    def _is_taken(self, own: str, number: int, mark: int | None) -> bool:
        life = self._lives[own]
        if number in life.marks:
            there = life.marks[number]
            return there is not None and mark is not None
        return number < life.highest

    def _continued(self, file: FileIdentity, rows: list[SessionRow]) -> str | None:
        """The generation that goes on in this file: its device has got another number since (a reboot)."""
        for row in reversed(rows):
            mark = mark_of(naive_or_aware(row.start))
            known = None if mark is None else self._of_session.get((row.number, mark))
            if known is not None:
                life = self._lives[known]
                there = life.file
                if there is None or there.inode != file.inode or life.highest != row.number:
                    return None
                self._lay(known, file)
                return known
        return None

    def _lay(self, generation: str, file: FileIdentity) -> None:
        self._lives.setdefault(generation, _Life()).file = file
        self._of_file[file] = generation

    def _learn(self, generation: str, number: int, mark: int | None) -> None:
        self._lives.setdefault(generation, _Life()).learn(number, mark)
        if mark is not None:
            self._of_session[number, mark] = generation


def generation_id(file: FileIdentity, first: SessionRow) -> str:
    """The same for the same file and first session, also when everything we knew of it is lost."""
    text = f"{file.device}:{file.inode}:{first.number}:{first.start}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def mark_of(started_at: datetime | None) -> int | None:
    """What is left of a start when the zone it was written in is unknown: microseconds within a quarter of an hour."""
    if started_at is None:
        return None
    aware = started_at if started_at.tzinfo is not None else started_at.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) % _QUARTER_MICROSECONDS


def naive_or_aware(text: str) -> datetime | None:
    """A time as IPython stores it: ``start`` is local without offset, ``end`` too in IPython 7 and 8."""
    try:
        return datetime.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        return None


def started_utc(text: str, *, not_before: datetime | None = None, not_after: datetime | None = None) -> datetime | None:
    """A start in UTC; None where there is none that can be read.

    A local time that the end of summer tells twice is the telling between ``not_before`` (the session before it began)
    and ``not_after`` (we have seen it); where both are, the first.
    """
    found = naive_or_aware(text)
    tellings = [] if found is None else _in_utc(found)
    for telling in tellings:
        if (not_before is None or telling >= not_before) and (not_after is None or telling <= not_after):
            return telling
    return tellings[0] if tellings else None


def ended_utc(text: str, *, started_at: datetime | None, not_after: datetime | None = None) -> datetime | None:
    """An end in UTC, by the same rules; None while the session lasts, or when it was killed."""
    return started_utc(text, not_before=started_at, not_after=not_after)


def _in_utc(moment: datetime) -> list[datetime]:
    """The instants a stored time can mean: two in the hour that is told twice."""
    tellings = []
    for fold in (0, 1):
        try:
            there = moment.replace(fold=fold).astimezone(UTC)
        except (OverflowError, ValueError, OSError):
            continue
        if there not in tellings:
            tellings.append(there)
    return tellings
