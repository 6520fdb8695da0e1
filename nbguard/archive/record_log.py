"""The record log: what was executed, kept the moment it is seen, in append-only segments of JSON lines.

Each process that writes has a segment of its own and holds a flock on it as long as it lives; a segment that nobody
holds is sealed, and the packer takes it. One write and one fsync are the acknowledgement. A segment that took a write
badly is never written again, so that no line is ever torn but the last one of a segment, which nobody was told of.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.archive.appending import append_durably, check_room, is_ours
from nbguard.archive.spool import Reserve
from nbguard.clock import Clock
from nbguard.durable import free_space, fsync_folder, make_private_folder, unlink_quietly
from nbguard.errors import Busy, Refused, StorageTrouble, storage_trouble
from nbguard.executed import Record
from nbguard.ports import Outside
from nbguard.records import encode_lines

SUFFIX = ".jsonl"
_BEING_MADE = ".new"


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a segment lies, and its bytes when it was listed."""

    folder: str
    name: str
    size: int

    @property
    def path(self) -> str:
        return os.path.join(self.folder, self.name)


class _OpenSegment:
    """One segment being written by this process."""

    def __init__(self, folder: str, name: str, began_at: float) -> None:
        self.folder = folder
        self.path = os.path.join(folder, name)
        self.began_at = began_at
        self.size = 0
        making = self.path + _BEING_MADE
        self._fd = os.open(
            making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(making, self.path)  # from its first moment it is seen to be held
            fsync_folder(folder)
        except BaseException:
            os.close(self._fd)
            unlink_quietly(making)
            raise

    def append(self, data: bytes) -> None:
        """Durable when it returns. Raises OSError; the segment is then as it was, and must not be used again."""
        append_durably(self._fd, data, self.size)
        self.size += len(data)

    def is_in_place(self) -> bool:
        """Whether our path still leads to what we write: a wiped folder must not swallow what comes."""
        try:
            there, here = os.stat(self.path, follow_symlinks=False), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def whole(self) -> bytes:
        """Every byte that was acknowledged, also when the path is gone. Raises OSError."""
        found = bytearray()
        while len(found) < self.size and (chunk := os.pread(self._fd, self.size - len(found), len(found))):
            found += chunk
        return bytes(found)

    def close(self) -> None:
        os.close(self._fd)


class Holding:
    """Holds a segment that nobody writes. Raises Busy while its writer lives, OSError when it is gone."""

    def __init__(self, path: str) -> None:
        # For writing, though nothing is written: network file systems lock no file that is open for reading alone.
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Busy(f"{path} is being written", hint="it is packed once its process ends") from None
            raise

    def __enter__(self) -> Holding:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class RecordSegments:
    """The record log of this installation: ``folder``, and ``emergency`` where it spills. Append from any thread."""

    def __init__(
        self,
        folder: str,
        *,
        clock: Clock,
        emergency: str | None = None,
        reserve: Reserve | None = None,
        most_bytes: int = 8_000_000,
        most_seconds: float = 900.0,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._reserve = reserve or Reserve()
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._lock = threading.Lock()
        self._open: _OpenSegment | None = None
        self._rescued = b""
        self._folders = [folder]
        self._refused: StorageTrouble | None = None
        self.outside: Outside | None = None
        if emergency is not None:
            self.spill_to(emergency)

    def spill_to(self, emergency: str) -> None:
        """Spill there from now on."""
        self._folders = [self.folder, os.path.join(emergency, "spool", "records")]

    def make(self) -> None:
        """Create the folder (0700). Raises StorageTrouble."""
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise storage_trouble(error, "cannot make the record log") from error

    def append(self, records: Sequence[Record]) -> None:
        """Keep records, in order; durable when it returns. Raises StorageTrouble (then none of them counts)."""
        if not records:
            return
        data = encode_lines(records)
        with self._lock:
            self._rescue()
            self._append_where_it_can_be(self._rescued + data)
            self._rescued = b""

    def tend(self) -> None:
        """Write again what stood in our segment, where somebody took that away. Cheap. Raises StorageTrouble."""
        with self._lock:
            self._rescue()
            if self._rescued:
                self._append_where_it_can_be(self._rescued)
                self._rescued = b""

    def seal(self) -> None:
        """End this process's segment: the packer may take it, the next append begins another."""
        with self._lock:
            self._rescue()
            self._end()

    def sweep_leftovers(self) -> None:
        """Remove segments whose writer died before its first record."""
        for folder in self._our_folders():
            try:
                names = [name for name in os.listdir(folder) if name.endswith(SUFFIX + _BEING_MADE)]
            except OSError:
                continue
            for name in names:
                path = os.path.join(folder, name)
                try:
                    with Holding(path):
                        if os.lstat(path).st_size == 0:
                            unlink_quietly(path)
                except (OSError, Busy):
                    continue

    def trouble(self) -> StorageTrouble | None:
        """Why the log's own disk took no records at the last append, also when the emergency place did."""
        return self._refused

    def segments(self) -> list[Segment]:
        """Every segment, the oldest first, in both places. Raises StorageTrouble."""
        found: list[Segment] = []
        for folder in self._our_folders():
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.name.endswith(SUFFIX) or not entry.name.isascii():
                            continue
                        try:
                            if entry.is_file(follow_symlinks=False):
                                found.append(Segment(folder, entry.name, entry.stat(follow_symlinks=False).st_size))
                        except FileNotFoundError:
                            continue  # packed since the folder was read
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_trouble(error, "cannot read the record log") from error
        found.sort(key=lambda segment: segment.name)
        return found

    def _append_in(self, folder: str, data: bytes) -> None:
        try:
            check_room(folder, len(data), self._reserve, is_emergency=folder != self.folder, what="executed cells")
        except OSError as error:
            raise storage_trouble(error, "cannot keep executed cells", free_inodes=_free_inodes(folder)) from error
        segment = self._open
        if segment is not None and (segment.folder != folder or self._is_old(segment)):
            self._end()
            segment = None
        try:
            if segment is None:
                segment = self._open = _OpenSegment(folder, self._name(), self._clock.monotonic())
                if self.outside is not None:
                    self.outside.hold(segment.path)
            segment.append(data)
        except OSError as error:
            self._end()  # never written again: a line after a torn one would be lost with it
            raise storage_trouble(error, "cannot keep executed cells", free_inodes=_free_inodes(folder)) from error

    def _append_where_it_can_be(self, data: bytes) -> None:
        first: StorageTrouble | None = None
        for folder in self._folders:
            try:
                self._append_in(folder, data)
            except StorageTrouble as trouble:
                first = first or trouble
            except Refused:  # somebody else made the emergency place: as good as none
                continue
            else:
                self._refused = first
                return
        self._refused = first
        assert first is not None
        raise first

    def _rescue(self) -> None:
        """Take over what stood in our segment, where somebody took it away: it is written again."""
        segment = self._open
        if segment is not None and not segment.is_in_place():
            try:
                self._rescued += segment.whole()
            except OSError:
                pass  # the disk went with the path: there is nothing left to take
            self._end()

    def _our_folders(self) -> list[str]:
        return [folder for folder in self._folders if folder == self.folder or is_ours(folder)]

    def _is_old(self, segment: _OpenSegment) -> bool:
        return segment.size >= self._most_bytes or self._clock.monotonic() - segment.began_at >= self._most_seconds

    def _end(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _name(self) -> str:
        return f"{self._clock.now():%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{os.urandom(8).hex()}{SUFFIX}"


def _free_inodes(folder: str) -> int | None:
    try:
        return free_space(folder)[2]
    except OSError:
        return None
