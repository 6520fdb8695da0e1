"""Where the desk's state lies: one file, replaced durably, under a lock; copies for when its place is gone or full.

A copy in the emergency place outlives a wiped home; one in memory (the runtime folder) does until the machine restarts,
and takes a write also when every disk is full. The highest revision counts.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, sleep

from nbguard.alert.state import State
from nbguard.alert.state_json import NewerFormat, decode, encode
from nbguard.durable import FileLock, replace_durably, unlink_quietly, write_all
from nbguard.errors import Busy, Refused, StorageTrouble, storage_trouble
from nbguard.places import is_private

_log = logging.getLogger(__name__)

LOCK = "alerts.lock"
BALLAST = "alerts.ballast"
_MOST_BYTES = 32_000_000
_BALLAST_BYTES = 262_144
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Mark = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was read. ``state`` is None where there is none yet; ``damaged`` says what was put aside unread."""

    state: State | None
    damaged: str = ""


class AlertStore:
    """``path`` is the file; ``copies`` are further ones, each used while its folder is there and ours alone, and
    ``last_resort`` is one that is there only while no other could be written.

    Nothing here makes a folder: where one of ours was removed, it is the refuge that decides. ``patience_seconds``: how
    long the lock is waited for, which is held for milliseconds by whoever is not stuck.
    """

    def __init__(
        self, path: str, copies: Sequence[str] = (), *, last_resort: str = "", patience_seconds: float = 5.0
    ) -> None:
        self.path = path
        self._copies = tuple(copies)
        self._last_resort = last_resort
        self._patience_seconds = patience_seconds
        self._all = tuple(place for place in (path, *copies, last_resort) if place)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the state. Held for milliseconds, never while something is sent. Where no lock can be made (the
        folder is gone, the disk full), or somebody who was stopped has it, work goes on without: told twice is better
        than not at all."""
        lock = self._lock()
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def mark(self) -> Mark:
        """Changes whenever any of the files was replaced; costs a stat each."""
        marks = []
        for path in self._all:
            try:
                found = os.lstat(path)
                marks.append((found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                marks.append((0, 0, 0))
        return tuple(marks)

    def load(self, *, only_looks: bool = False) -> Loaded:
        """The newest readable state of all copies. A file that cannot be read is put aside under another name, unless
        the caller ``only_looks``: then whoever writes next finds it, and tells.

        Raises Refused for a state that a newer nbguard wrote, StorageTrouble for one that is there and cannot be read
        by fault of the disk.
        """
        newest: State | None = None
        damaged = []
        for path in self._all:
            if path != self.path and not is_private(os.path.dirname(path)):
                continue
            try:
                data = _read(path)
                state = None if data is None else decode(data)
            except NewerFormat as error:
                raise Refused(f"{path} was written by a newer nbguard: {error}", hint="update nbguard") from error
            except ValueError as error:
                kept = "" if only_looks else f"; it was kept as {_put_aside(path)}"
                damaged.append(f"{path}: {error}{kept}")
                continue
            if state is not None and (newest is None or state.revision > newest.revision):
                newest = state
        return Loaded(state=newest, damaged="; ".join(damaged))

    def save(self, state: State) -> State:
        """Write it in its place and in the copies; what was written, with its revision. One place is enough.

        Raises StorageTrouble when none takes it.
        """
        written = replace(state, revision=state.revision + 1)
        data = encode(written)
        trouble = self._put(data)
        saved = trouble is None
        for path in self._copies:
            saved = _copied(path, data) or saved
        if not saved:
            saved = bool(self._last_resort) and _copied(self._last_resort, data)
        elif self._last_resort and os.path.lexists(self._last_resort):
            unlink_quietly(self._last_resort)
        if trouble is not None and not saved:
            raise storage_trouble(trouble, "cannot write what is to be told to whom") from trouble
        return written

    def _put(self, data: bytes) -> OSError | None:
        ballast = os.path.join(os.path.dirname(self.path), BALLAST)
        try:
            try:
                replace_durably(self.path, data)
            except OSError as error:
                if error.errno not in _FULL or not os.path.lexists(ballast):
                    raise
                unlink_quietly(ballast)  # kept for this moment
                replace_durably(self.path, data)
            else:
                _lay(ballast)
        except OSError as error:
            return error
        return None

    def _lock(self) -> FileLock | None:
        for path in (self.path, *self._copies):
            folder = os.path.dirname(path)
            if path != self.path and not is_private(folder):
                continue
            lock = FileLock(os.path.join(folder, LOCK))
            try:
                return lock if self._acquire(lock) else None
            except OSError:
                continue
        return None

    def _acquire(self, lock: FileLock) -> bool:
        ends_at = monotonic() + self._patience_seconds
        while True:
            try:
                lock.acquire()
            except Busy:
                if monotonic() >= ends_at:
                    _log.warning("%s is held for too long; going on without it", lock.path)
                    return False
                sleep(0.02)
            else:
                return True


def _copied(path: str, data: bytes) -> bool:
    if not is_private(os.path.dirname(path)):
        return False
    try:
        replace_durably(path, data)
    except OSError:
        return False
    return True


def _read(path: str) -> bytes | None:
    """None when there is no such file. Raises ValueError for what is no plain file of a sane size, StorageTrouble."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise ValueError("it is no plain file") from error
        if error.errno == errno.ENOTDIR:
            return None
        raise _unreadable(error) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        if found.st_size > _MOST_BYTES:
            raise ValueError(f"it is far too large ({found.st_size:,} bytes)")
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(error) from error
    finally:
        os.close(fd)


def _unreadable(error: OSError) -> StorageTrouble:
    return storage_trouble(error, "cannot read what is to be told to whom")


def _put_aside(path: str) -> str:
    """Give it another name, so that nothing is lost and a new state can take its place; the last few are kept."""
    for number in range(1, 10):
        aside = f"{path}.unreadable-{number}"
        if not os.path.lexists(aside):
            break
    try:
        os.rename(path, aside)
    except OSError:
        return path
    return aside


def _lay(ballast: str) -> None:
    """A little space that can be given up when the disk is full. Real bytes: a hole would hold nothing."""
    try:
        fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return
    try:
        write_all(fd, os.urandom(_BALLAST_BYTES))
    except OSError:
        unlink_quietly(ballast)
    finally:
        os.close(fd)
