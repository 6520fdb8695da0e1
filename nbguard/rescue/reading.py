"""Reading what lies on the disk and never hanging, following or touching it."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime

from nbguard.executed import Confidence
from nbguard.notebook import measure
from nbguard.rescue.findings import File, Finding, SourceName

MOST_BYTES = 512_000_000
"""Larger files are named and not read: what is in memory must fit there."""


class NotAFile(OSError):
    """A pipe, a device, a folder or a symlink lies where a file was expected."""


def open_regular(path: str) -> int:
    """Open a regular file for reading: no last symlink is followed, no pipe is waited for. Raises OSError, NotAFile."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        fd = os.open(path, flags)  # O_NOATIME is for the owner alone
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotAFile(error.errno, "not a regular file", path) from None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise NotAFile(errno.EINVAL, "not a regular file", path)


def read_regular(path: str, most_bytes: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file. Raises OSError, NotAFile; EFBIG for more than ``most_bytes``."""
    fd = open_regular(path)
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        if size > most_bytes:
            raise OSError(errno.EFBIG, f"{size} bytes are too many", path)
        return file.read(most_bytes)


def written_at(status: os.stat_result) -> datetime | None:
    """When a file was last written, in UTC; None for a time no calendar has."""
    return at_seconds(status.st_mtime)


def at_seconds(seconds: float) -> datetime | None:
    """Seconds since 1970 as UTC; None for a time no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def file_finding(
    source: SourceName, path: str, notebook: str | None, confidence: Confidence, *, note: str = ""
) -> Finding | None:
    """A file that lies there, measured; None when it is no file or is empty. Raises OSError when it cannot be read."""
    try:
        status = os.stat(path, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None
        if status.st_size > MOST_BYTES:
            measured = None
            note = note or "too large to look into"
        else:
            measured = measure(read_regular(path))
    except (FileNotFoundError, NotADirectoryError, NotAFile):
        return None
    return Finding(
        source=source,
        path=path,
        time=written_at(status),
        size=status.st_size,
        cells=measured.cells if measured else None,
        notebook=notebook,
        confidence=confidence,
        content=File(lambda: read_regular(path), is_damaged=measured is None),
        note=note or ("" if measured else "not a whole notebook"),
    )


def bytes_finding(
    source: SourceName,
    path: str,
    notebook: str | None,
    confidence: Confidence,
    *,
    data: bytes,
    time: datetime | None,
    id: str = "",  # noqa: A002 - the field's name
    note: str = "",
) -> Finding:
    """Bytes that were read already, and might not be there a second time."""
    measured = measure(data)
    return Finding(
        source=source,
        path=path,
        time=time,
        size=len(data),
        cells=measured.cells if measured else None,
        notebook=notebook,
        confidence=confidence,
        content=File(lambda: data, is_damaged=measured is None),
        id=id,
        note=note or ("" if measured else "not a whole notebook"),
    )


def reason(error: OSError) -> str:
    """What went wrong, in a few words, with the file."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    said = error.strerror or type(error).__name__
    return f"{where}: {said}" if where else said
