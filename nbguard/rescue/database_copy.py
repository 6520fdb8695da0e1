"""A private copy of an SQLite database, taken without opening it: its bytes, with its journal or its log.

Opening a database that others use can lock them out, roll their journal back, or leave files beside it; reading its
bytes does none of this.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep

from nbguard.rescue.reading import MOST_BYTES, open_regular

_TRIES = 12
_PAUSE_SECONDS = 0.05
_BESIDE = ("-journal", "-wal")
_CHUNK = 1 << 20

Opener = Callable[[str], int]
"""Opens the file of one name (the database's own, with "" or an ending of its companions). Raises OSError."""


@contextmanager
def private_copy(path: str) -> Iterator[str]:
    """The path of a copy of the database at ``path``, gone afterwards. Raises OSError."""
    with copy_of(lambda ending: open_regular(path + ending)) as copied:
        yield copied


@contextmanager
def copy_of(opener: Opener) -> Iterator[str]:
    """The path of a copy, gone afterwards; a database that is written meanwhile is copied again. Raises OSError."""
    folder = tempfile.mkdtemp(prefix="nbguard-rescue-")  # 0700
    try:
        target = os.path.join(folder, "copy.sqlite")
        for attempt in range(_TRIES):
            if attempt:
                sleep(_PAUSE_SECONDS)
            if _copied(opener, target):
                break  # nobody wrote; otherwise what was copied last is taken, and judged by what it holds
        yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(opener: Opener, target: str) -> bool:
    """Copy once; whether nothing changed while we did. Raises OSError when there is no database."""
    before = _look(opener)
    _copy(opener, "", target)
    for ending in _BESIDE:
        try:
            _copy(opener, ending, target + ending)
        except OSError:
            try:
                os.unlink(target + ending)
            except FileNotFoundError:
                pass
    return before == _look(opener)


def _look(opener: Opener) -> list[tuple[int, int, int] | None]:
    seen: list[tuple[int, int, int] | None] = []
    for ending in ("", *_BESIDE):
        try:
            fd = opener(ending)
        except OSError:
            seen.append(None)
            continue
        status = os.fstat(fd)
        os.close(fd)
        seen.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return seen


def _copy(opener: Opener, ending: str, target: str) -> None:
    with open(opener(ending), "rb") as source, open(target, "wb") as copy:
        copied = 0
        while block := source.read(_CHUNK):
            copied += len(block)
            if copied > 4 * MOST_BYTES:
                raise OSError(27, "too large a database", target)
            copy.write(block)
