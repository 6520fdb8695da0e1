"""Whole copies of history databases, taken so that no kernel can feel it.

The bytes are copied without any lock, and count only if nothing was written meanwhile. Where something always is, the
copy is compared under a shared lock that is given back after a moment, done or not, and mended. Never in steps: a
stepped backup begins anew at each write, and never ends. A copy is opened, brought in order and checked before it gets
its name.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from urllib.parse import quote

from nbguard.clock import Clock
from nbguard.durable import fsync_file, fsync_folder, make_private_folder, unlink_quietly
from nbguard.errors import Busy, Refused, StorageTrouble, storage_trouble
from nbguard.history.open_database import MOST_LOCKED_SECONDS
from nbguard.history.reading import TOUCHING

_log = logging.getLogger(__name__)
PARTS = ("", "-wal", "-journal")
WRITTEN = ("", "-wal")
UNKNOWN = "unknown"
"""Stands for the generation of a database that we could not read."""
_KEPT_OF_EACH = 3
_DAY_SECONDS = 86_400.0
_COPYING = "cannot copy a history database"
_TRIES = 3
_PIECE = 1 << 20
_PAGE = 4096
_FLUSHED_BYTES = 8 << 20
_MOST_DIFFERING_PAGES = 2000
_BEING_MADE = ".making-"
_COUNTER = slice(24, 28)
# Two writes within one tick of the file system's clock have the same time.
TICK_NS = 20_000_000


def parts_of(path: str) -> dict[str, str]:
    """The database at ``path`` with the log or journal beside it: suffix to the path where its bytes are."""
    return {suffix: path + suffix for suffix in PARTS if os.path.isfile(path + suffix)}


def parts_held_by(pid: int, device: int, inode: int) -> dict[str, str]:
    """The same for a database that a process holds open and that may have no name any more; empty when it does not.

    The paths lead into /proc; they are good while the process keeps the files open.
    """
    folder = f"/proc/{pid}/fd"
    names: dict[str, str] = {}
    main = ""
    try:
        for descriptor in os.listdir(folder):
            link = os.path.join(folder, descriptor)
            try:
                target = os.readlink(link).removesuffix(" (deleted)")
                if not target.startswith("/"):
                    continue
                names.setdefault(target, link)
                found = os.stat(link) if not main else None
            except OSError:
                continue
            if found is not None and (found.st_dev, found.st_ino) == (device, inode):
                main = link
                name = target
    except OSError:
        return {}
    if not main:
        return {}
    return {"": main, **{suffix: names[name + suffix] for suffix in PARTS[1:] if name + suffix in names}}


def stamps_of(parts: Mapping[str, str]) -> tuple[tuple[int, ...], ...]:
    """What stat and the header say of the parts; equal stamps mean equal bytes. Raises OSError."""
    found = []
    for suffix in sorted(parts):
        status = os.stat(parts[suffix])
        found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, _counter(parts[suffix])))
    return tuple(found)


def copy_unlocked(parts: Mapping[str, str], target: str, *, tries: int = _TRIES) -> int:
    """Copy the parts to ``target`` and its -wal or -journal; when they were last written (ns). Raises Busy, OSError."""
    for _ in range(tries):
        before = _stamps_now(parts)
        for suffix, path in parts.items():
            _copy(path, target + suffix)
        is_settled = min(abs(time.time_ns() - stamp[3]) for stamp in before) > TICK_NS
        if is_settled and _stamps_now(parts) == before:
            return max(stamp[3] for suffix, stamp in zip(sorted(parts), before, strict=True) if suffix in WRITTEN)
    raise _being_written()


def mend_locked(path: str, target: str) -> int:
    """Make an unlocked copy equal to a database of one file; when that was last written (ns). Raises Busy, OSError.

    Under a shared lock both are only read and compared; what differs is written when the lock is given back, for a disk
    may let a writer wait for seconds. Busy also when it would take too long.
    """
    with TOUCHING:
        source = _open_source(path)
        try:
            with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, timeout=0)) as locking:
                locking.isolation_level = None
                locking.execute("BEGIN")
                locking.execute("SELECT count(*) FROM sqlite_master").fetchone()
                size, written_ns = os.fstat(source).st_size, os.fstat(source).st_mtime_ns
                differing = _differing(source, size, target, time.monotonic() + MOST_LOCKED_SECONDS)
        except sqlite3.Error as error:
            raise Busy(f"{path}: {error}", hint="it is copied later") from error
        finally:
            os.close(source)  # only now: it would take the lock with it
    into = os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(into, size)
        for offset, piece in differing:
            os.pwrite(into, piece, offset)
    finally:
        os.close(into)
    return written_ns


def _differing(source: int, size: int, target: str, deadline: float) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    copy = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for start in range(0, size, _PIECE):
            wanted, there = os.pread(source, _PIECE, start), os.pread(copy, _PIECE, start)
            if wanted != there:
                found += [
                    (start + at, wanted[at : at + _PAGE])
                    for at in range(0, len(wanted), _PAGE)
                    if wanted[at : at + _PAGE] != there[at : at + _PAGE]
                ]
            if time.monotonic() > deadline or len(found) > _MOST_DIFFERING_PAGES:
                raise Busy("the database is too large to be copied while it is written", hint="it is copied later")
    finally:
        os.close(copy)
    return found


def put_in_order(path: str) -> bool:
    """Roll back or take in what lies beside a private copy, so that it is one file; whether it is sound."""
    try:
        connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=rw", uri=True, timeout=1)
    except sqlite3.Error:
        return False
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()
        return bool(found == ("ok",))
    except sqlite3.Error:
        return False
    finally:
        connection.close()
        for suffix in (*PARTS[1:], "-shm"):
            unlink_quietly(path + suffix)


class DatabaseCopies:
    """The copies in the first of ``folders`` that takes them, some of each generation. From any thread.

    ``check_room`` is told a folder and how many bytes are to come; it raises StorageTrouble, Refused or OSError.
    """

    def __init__(self, folders: Sequence[str], *, clock: Clock, check_room: Callable[[str, int], None]) -> None:
        self._folders = tuple(folders)
        self._clock = clock
        self._check_room = check_room

    def make(self) -> None:
        """Create the first folder (0700) and remove what a process that was killed left half made.

        Only now: a folder that vanishes later is not made anew in a home that was wiped. Raises StorageTrouble.
        """
        try:
            make_private_folder(self._folders[0])
        except OSError as error:
            raise storage_trouble(error, "cannot make the folder of database copies") from error
        for path in self._listed():
            if os.path.basename(path).startswith(_BEING_MADE):
                unlink_quietly(path)

    def newest(self, generation: str) -> str | None:
        """The path of the newest copy of a generation."""
        found = self._of(generation)
        return found[-1] if found else None

    def is_due(self, generation: str, mtime_ns: int) -> bool:
        """Whether a database that was last written at ``mtime_ns`` has changed since its copy, a day or more ago."""
        newest = self.newest(generation)
        if newest is None:
            return True
        try:
            is_same = os.stat(newest).st_mtime_ns == mtime_ns
        except OSError:
            return True
        return not is_same and (self._clock.now() - _taken_at(newest)).total_seconds() >= _DAY_SECONDS

    def take(self, parts: Mapping[str, str], generation: str) -> str:
        """Copy a database and check the copy; its path. Raises Busy (later, then), StorageTrouble.

        The copy of one that is damaged is kept as well, and named so. It has the time of what it was copied from.
        """
        with self.borrow(parts) as making:
            try:
                written_ns = os.stat(making).st_mtime_ns
                is_sound = put_in_order(making)
                os.utime(making, ns=(written_ns, written_ns))
                fsync_file(making)
                folder = os.path.dirname(making)
                final = os.path.join(folder, self._name(generation, is_sound=is_sound))
                os.rename(making, final)
                fsync_folder(folder)
            except OSError as error:
                raise storage_trouble(error, "cannot keep a copy of a history database") from error
        for path in self._of(generation)[:-_KEPT_OF_EACH]:
            unlink_quietly(path)
        return final

    @contextmanager
    def borrow(self, parts: Mapping[str, str]) -> Generator[str]:
        """A private copy of the bytes, gone after the block. Raises Busy (later, then), StorageTrouble."""
        making = self._copied(parts)
        try:
            yield making
        finally:
            _remove(making)

    def _copied(self, parts: Mapping[str, str]) -> str:
        first: StorageTrouble | None = None
        for folder in self._folders:
            making = os.path.join(folder, f"{_BEING_MADE}{os.urandom(6).hex()}")
            try:
                self._check_room(folder, sum(stamp[2] for stamp in _stamps_now(parts)))
                self._copy(parts, making)
            except (StorageTrouble, Refused, OSError) as error:
                _remove(making)
                if not isinstance(error, Refused):
                    trouble = storage_trouble(error, _COPYING) if isinstance(error, OSError) else error
                    first = first or trouble
            except BaseException:
                _remove(making)
                raise
            else:
                return making
        raise first or StorageTrouble(_COPYING, hint="check who owns the emergency folder")

    def _copy(self, parts: Mapping[str, str], making: str) -> None:
        is_mendable = "-wal" not in parts and not parts[""].startswith("/proc/")
        try:
            written_ns = copy_unlocked(parts, making, tries=1 if is_mendable else _TRIES)
        except Busy:
            if not is_mendable:
                raise
            for suffix in PARTS[1:]:
                unlink_quietly(making + suffix)
            written_ns = mend_locked(parts[""], making)
        os.utime(making, ns=(written_ns, written_ns))

    def _of(self, generation: str) -> list[str]:
        start = f"{generation[:16]}-"
        found = [path for path in self._listed() if os.path.basename(path).startswith(start)]
        return sorted((path for path in found if path.endswith(".sqlite")), key=os.path.basename)

    def _listed(self) -> list[str]:
        found = []
        for folder in self._folders:
            try:
                found += [os.path.join(folder, name) for name in os.listdir(folder)]
            except OSError:
                continue
        return found

    def _name(self, generation: str, *, is_sound: bool) -> str:
        when = f"{self._clock.now():%Y%m%dT%H%M%S.%fZ}"
        return f"{generation[:16]}-{when}{'' if is_sound else '-damaged'}.sqlite"


def _taken_at(path: str) -> datetime:
    words = os.path.basename(path).removesuffix(".sqlite").split("-")
    try:
        return datetime.strptime(words[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def _being_written() -> Busy:
    return Busy("the database is being written", hint="it is copied later")


def _stamps_now(parts: Mapping[str, str]) -> tuple[tuple[int, ...], ...]:
    """As stamps_of; a journal that was there a moment ago may be gone. Raises Busy, OSError."""
    try:
        return stamps_of(parts)
    except FileNotFoundError:
        raise _being_written() from None


def _open_source(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _being_written() from None


def _copy(path: str, target: str) -> None:
    with TOUCHING:
        source = _open_source(path)
    try:
        _copy_from(source, target)
    finally:
        with TOUCHING:
            os.close(source)


def _copy_from(source: int, target: str) -> None:
    into = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        offset = 0
        while sent := os.sendfile(into, source, offset, _PIECE):
            offset += sent
            if offset % _FLUSHED_BYTES < _PIECE:  # all at once would make a kernel's own fsync wait for seconds
                os.fdatasync(into)
    finally:
        os.close(into)


def _remove(making: str) -> None:
    for suffix in (*PARTS, "-shm"):
        try:
            unlink_quietly(making + suffix)
        except OSError as error:
            _log.warning("%s is left over: %s", making, error)


def _counter(path: str) -> int:
    with TOUCHING:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return int.from_bytes(os.pread(fd, 28, 0)[_COUNTER], "big")
        finally:
            os.close(fd)
