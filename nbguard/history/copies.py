"""Whole copies of history databases, taken so that no kernel can feel it.

The bytes are copied without any lock, and count only if nothing was written meanwhile. Where something always is, the
copy is compared under a shared lock that is given back after a moment, done or not, and mended. Never in steps: a
stepped backup begins anew at each write, and never ends. A copy is opened, brought in order and checked before it gets
its name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from nbguard.clock import Clock
from nbguard.durable import fsync_file, fsync_folder, make_private_folder, unlink_quietly
from nbguard.errors import Busy, Refused, StorageTrouble, storage_trouble
from nbguard.history.copying import MOST_TRIES, PARTS, copy_unlocked, mend_locked, put_in_order, size_of

_log = logging.getLogger(__name__)
UNKNOWN = "unknown"
"""Stands for the generation of a database that we could not read."""
_KEPT_OF_EACH = 3
_DAY_SECONDS = 86_400.0
_COPYING = "cannot copy a history database"
_BEING_MADE = ".making-"


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
                self._check_room(folder, size_of(parts))
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
            written_ns = copy_unlocked(parts, making, tries=1 if is_mendable else MOST_TRIES)
        except Busy:
            if not is_mendable or not os.path.exists(making):  # nothing of it was copied: then it is copied later
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


def _remove(making: str) -> None:
    for suffix in (*PARTS, "-shm"):
        try:
            unlink_quietly(making + suffix)
        except OSError as error:
            _log.warning("%s is left over: %s", making, error)
