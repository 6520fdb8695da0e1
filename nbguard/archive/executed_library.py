"""Everything executed that was kept, for reading: the index, caught up with record log and archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, TypeVar

from nbguard.archive.catalog_file import CatalogBroken
from nbguard.archive.executed_index import ExecutedIndex
from nbguard.archive.record_log import SUFFIX, RecordSegments, Segment
from nbguard.archive.repository import RECORDS, RECORDS_VERIFIED, Archive
from nbguard.errors import ArchiveTrouble, StorageTrouble
from nbguard.executed import ExecutedCell, Generation, HistorySession, Link, Record, Recorded, Run
from nbguard.ports import Progress
from nbguard.records import decode_lines

EXECUTED = "executed"
MEMORY = ":memory:"
_MOST_AT_ONCE = 4_000_000

_Answer = TypeVar("_Answer")


class ExecutedArchive:
    """Reads segments and branch ``records``; what :meth:`catch_up` found is what is answered. Use it from one thread.

    Every method raises ArchiveTrouble, StorageTrouble or Busy.
    """

    def __init__(self, *, path: str, archive: Archive, log: RecordSegments) -> None:
        self._archive = archive
        self._log = log
        self._index = _opened(path)
        self._broken: set[str] = set()

    def catch_up(self, progress: Progress | None = None) -> None:
        """Read what was kept since the last time, by whoever."""
        try:
            try:
                self._catch_up(progress)
            except CatalogBroken:  # it was thrown away: a new one is filled
                self._catch_up(progress)
        except StorageTrouble:
            if self._index.path == MEMORY:
                raise
            self._index.close()
            self._index = ExecutedIndex(MEMORY)  # what was kept must be readable on a full disk too
            self._catch_up(progress)

    def generations(self) -> list[Generation]:
        """Every generation, in the order in which they were first seen."""
        return self._ask(lambda index: index.generations())

    def sessions(self) -> list[HistorySession]:
        """Every session, oldest first; also those of which only cells were seen."""
        return self._ask(lambda index: index.sessions())

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        """The cells of one session by line; where a line was seen twice with other text, both, as they were seen."""
        return self._ask(lambda index: index.cells(generation, session))

    def links(self) -> list[Link]:
        """Every link that counts, oldest first."""
        return self._ask(lambda index: index.links())

    def runs(self, *, kernel: str | None = None, path: str | None = None) -> list[Run]:
        """Recorded runs, oldest first: all, or those of one kernel, or of one notebook's path."""
        return self._ask(lambda index: index.runs(kernel=kernel, path=path))

    def seen(self, generation: str, session: int) -> tuple[datetime, datetime] | None:
        """When the first line and the last line of a session were seen; None for a session without cells."""
        return self._ask(lambda index: index.seen(generation, session))

    def recorded(self) -> list[Recorded]:
        """Which kernels' runs were recorded, of which sessions, and when."""
        return self._ask(lambda index: index.recorded())

    def unreadable(self) -> int:
        """How many lines are no records (damaged, or of a newer nbguard), and how many files no disk gives back."""
        return self._ask(lambda index: index.unreadable()) + len(self._broken)

    def close(self) -> None:
        self._index.close()

    def _ask(self, question: Callable[[ExecutedIndex], _Answer]) -> _Answer:
        """A broken index is thrown away while it is asked; a new one has the answer."""
        try:
            return question(self._index)
        except CatalogBroken:
            self._catch_up(None)
            return question(self._index)

    def _catch_up(self, progress: Progress | None) -> None:
        index = self._index
        if index.path != MEMORY and not index.is_current():
            index.reopen()
        self._broken = set()
        segments = self._log.segments()  # before the archive is looked at: what is packed meanwhile is found there
        known = index.read_up_to()
        new = [segment for segment in segments if segment.size > known.get(segment.name, 0)]
        tip = self._tip()
        if tip is not None and (since := index.tip) not in (None, tip) and not self._archive.contains(str(since), tip):
            index.clear()  # another branch than the one we know
            new = segments
        for done, segment in enumerate(new):
            if progress is not None:
                progress(done, len(new))
            self._read_segment(segment)
        tip = self._tip()
        if tip is not None and tip != index.tip:
            self._read_archive(index.tip, tip, progress)

    def _tip(self) -> str | None:
        if not self._archive.exists():
            return None
        return self._archive.readable_tip(self._index.tip, ref=RECORDS, verified_ref=RECORDS_VERIFIED)

    def _read_segment(self, segment: Segment) -> None:
        start = self._index.read_up_to_of(segment.name)
        try:
            with open(segment.path, "rb", opener=_at_once) as file:
                while data := _whole_lines_at(file, start):
                    self._enter(segment.name, start, data)
                    start += len(data)
        except FileNotFoundError:
            return  # packed meanwhile: the archive has it
        except OSError:
            self._broken.add(segment.name)  # the others are read

    def _read_archive(self, since: str | None, tip: str, progress: Progress | None) -> None:
        changed = list(self._changed(since, tip))
        objects = self._archive.git.cat_file()
        try:
            for done, (oid, name) in enumerate(changed):
                if progress is not None:
                    progress(done, len(changed))
                try:
                    data = objects.read(oid)
                except ArchiveTrouble:  # an object that is broken ends git, and costs no other
                    self._broken.add(name)
                    objects.close()
                    objects = self._archive.git.cat_file()
                    continue
                start = self._index.read_up_to_of(name)
                if whole := data[start : data.rfind(b"\n") + 1]:
                    self._enter(name, start, whole)
        finally:
            objects.close()
        if not self._broken:  # else it is looked at again: somebody may repair it
            self._index.begin()
            self._index.set_tip(tip)
            self._index.commit()

    def _changed(self, since: str | None, tip: str) -> Iterator[tuple[bytes, str]]:
        """(blob, name) of every segment that was added, or grew."""
        if since is None:
            rows = self._archive.git.lines("ls-tree", "-r", "-z", tip, "--", f"{EXECUTED}/", separator=b"\0")
            for row in rows:
                head, _, path = row.partition(b"\t")
                if path.endswith(SUFFIX.encode()):
                    yield head.split()[2], os.path.basename(path.decode("utf-8", "replace"))
            return
        words = iter(
            self._archive.git.ask(
                "diff-tree", "-r", "-z", "--no-renames", "--diff-filter=AMT", since, tip, "--", f"{EXECUTED}/"
            ).split(b"\0")
        )
        for head in words:
            path = next(words, b"")
            if head.startswith(b":") and path.endswith(SUFFIX.encode()):
                yield head.split()[3], os.path.basename(path.decode("utf-8", "replace"))

    def _enter(self, name: str, start: int, data: bytes) -> None:
        records: list[Record] = []
        unreadable = 0
        for found in decode_lines(data):
            if isinstance(found, ArchiveTrouble):
                unreadable += 1
            else:
                records.append(found)
        self._index.begin()
        try:
            if self._index.read_up_to_of(name) == start:  # else another process was quicker
                self._index.add(records)
                self._index.note_read(name, start + len(data), unreadable)
            self._index.commit()
        except BaseException:
            self._index.rollback()
            raise


def _opened(path: str) -> ExecutedIndex:
    """The index; one in memory where the disk takes none: what was kept must be readable on a full disk too."""
    try:
        return ExecutedIndex(path)
    except (StorageTrouble, OSError):
        return ExecutedIndex(MEMORY)


def _whole_lines_at(file: IO[bytes], start: int) -> bytes:
    """Some whole lines from ``start`` on; a writer may be in the middle of the last one."""
    file.seek(start)
    data = file.read(_MOST_AT_ONCE)
    if not data.endswith(b"\n"):
        data += file.readline()
    return data[: data.rfind(b"\n") + 1]


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
