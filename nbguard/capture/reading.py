"""A stable read: bytes that were the whole file at one moment, or the reason why there are none."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from nbguard.model import Signature

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 4096
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Linux stamps files with a clock that ticks at least every 10 ms: a write in the tick of the one before it leaves
# the same times. Some file systems keep whole seconds only.
_TICK_NS = 10_000_000
_COARSE_TICK_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held. ``data`` is None for one that must be streamed; ``ends`` is then its beginning and its tail.

    ``is_certain`` is False when a later write could leave the same signature.
    """

    signature: Signature
    sha256: str
    data: bytes | None
    ends: bytes
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Same:
    """The file's signature is the one that was asked about: not read."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing is at the path."""


@dataclass(frozen=True, slots=True)
class NotAFile:
    """A folder, a symlink or something stranger is at the path."""


@dataclass(frozen=True, slots=True)
class Unstable:
    """The file changed while it was read."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Over the limit; ``size`` in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The file system refused; ``reason`` is for people, ``number`` the errno."""

    reason: str
    number: int


Trouble = Missing | NotAFile | Unstable | TooLarge | Unreadable


def read_stably(
    path: str, *, stream_over: int, refuse_over: int, now_ns: int, known: Signature | None = None
) -> Reading | Same | Trouble:
    """Read a whole file, checking that it did not change meanwhile. Sizes in bytes; ``now_ns`` is the wall clock.

    With ``known``, a file of that very signature is not read again. Never follows a symlink, never waits for a
    writer (a FIFO may be called ``x.ipynb``), never raises OSError.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        return _named(error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return NotAFile()
        before = signature_of(status)
        if before == known:
            return Same()
        if before.size > refuse_over:
            return TooLarge(before.size)
        if before.size > stream_over:
            data = None
            sha256, ends = _hash_stream(fd, before.size)
        else:
            data, ends = os.read(fd, before.size + 1), b""
            sha256 = hashlib.sha256(data).hexdigest()
        if (data is not None and len(data) != before.size) or not _is_unchanged(fd, path, before):
            return Unstable()
        return Reading(before, sha256, data, ends, _is_certain(before, now_ns))
    except OSError as error:
        return _named(error)
    finally:
        os.close(fd)


@contextmanager
def reopened(path: str, signature: Signature) -> Generator[int | None]:
    """A file descriptor on the very file that was read, or None when it has changed. Raises OSError."""
    fd = os.open(path, _FLAGS)
    try:
        yield fd if signature_of(os.fstat(fd)) == signature else None
    finally:
        os.close(fd)


def signature_of(status: os.stat_result) -> Signature:
    """A stat as a Signature."""
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def written_at(reading: Reading) -> datetime:
    """The file's mtime, UTC; the beginning of 1970 when that is no date."""
    try:
        return datetime.fromtimestamp(reading.signature.mtime_ns / 1e9, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _hash_stream(fd: int, size: int) -> tuple[str, bytes]:
    """SHA-256 of the whole file, and its first byte with its tail, without holding more than a chunk."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(fd, _CHUNK_BYTES, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest(), os.pread(fd, 1, 0) + os.pread(fd, _TAIL_BYTES, max(1, size - _TAIL_BYTES))


def _is_unchanged(fd: int, path: str, before: Signature) -> bool:
    """Whether the open file has not changed since ``before``, and the path still names it."""
    if signature_of(os.fstat(fd)) != before:
        return False
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (before.device, before.inode)


def _is_certain(signature: Signature, now_ns: int) -> bool:
    # The ctime, not the mtime: nobody can set it, and every write moves both.
    tick = _COARSE_TICK_NS if signature.ctime_ns % 1_000_000_000 == 0 else _TICK_NS
    return abs(now_ns - signature.ctime_ns) >= tick


def _named(error: OSError) -> Trouble:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Missing()
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
        return NotAFile()
    return Unreadable(error.strerror or str(error), error.errno or 0)
