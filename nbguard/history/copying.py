"""The bytes of a database and what lies beside it, copied without a lock, or compared under one for a moment."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import quote

from nbguard.durable import unlink_quietly
from nbguard.errors import Busy
from nbguard.history.open_database import MOST_LOCKED_SECONDS
from nbguard.history.reading import TOUCHING

PARTS = ("", "-wal", "-journal")
WRITTEN = ("", "-wal")
MOST_TRIES = 3
_PIECE = 1 << 20
_PAGE = 4096
_FLUSHED_BYTES = 8 << 20
_MOST_DIFFERING_PAGES = 2000
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


def size_of(parts: Mapping[str, str]) -> int:
    """Their bytes together. Raises Busy, OSError."""
    return sum(stamp[2] for stamp in _stamps_now(parts))


def copy_unlocked(parts: Mapping[str, str], target: str, *, tries: int = MOST_TRIES) -> int:
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


def _counter(path: str) -> int:
    with TOUCHING:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return int.from_bytes(os.pread(fd, 28, 0)[_COUNTER], "big")
        finally:
            os.close(fd)
