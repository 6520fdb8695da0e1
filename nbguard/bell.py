"""Waiting until something comes, goes or is written in some folders, at no cost meanwhile: the kernel rings (inotify).

Only a hint, as every event is: whoever rests looks now and then all the same, and where the system has no such events
he is sent to look as often as without a bell.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import Final

from nbguard.clock import Clock

_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # the values of IN_NONBLOCK and IN_CLOEXEC
_COMES: Final = 0x080 | 0x100  # moved in, created
_LEAVES: Final = 0x400 | 0x800  # the folder itself is deleted, moved
_ANYTHING: Final = _COMES | _LEAVES | 0x002 | 0x004 | 0x040 | 0x200  # modified, attributes, moved out, deleted
_HOW: Final = 0x01000000 | 0x20000000  # only folders; add to what is asked of the same folder already
# What comes seldom comes alone: a journal is made, written and removed before a row is there.
_GATHER_SECONDS: Final = 0.4
_RENEW_SECONDS: Final = 600.0


class Bell:
    """For one thread; only ``stop`` may be called from any. ``tells`` says whether a folder's file system has events
    for every change that can be made to it; after an event a rest goes on for ``gather_seconds``."""

    def __init__(
        self,
        clock: Clock,
        tells: Callable[[str], bool] = lambda folder: True,
        *,
        gather_seconds: float = _GATHER_SECONDS,
    ) -> None:
        self._clock = clock
        self._tells = tells
        self._gather_seconds = gather_seconds
        self._stop_out, self._stop_in = os.pipe()
        self._fd = -1
        self._folders: tuple[str, ...] = ()
        self._renew_at = float("-inf")

    def stop(self) -> None:
        """End every wait, also those to come."""
        os.write(self._stop_in, b"!")

    def wait(self, seconds: float) -> None:
        """Wait so long; nothing is watched meanwhile."""
        self._let_go()
        self._poll(seconds)

    def rest(self, folders: Iterable[str], seconds: float, *, otherwise_seconds: float) -> None:
        """Wait until something happens in one of the folders (or comes to be one), but so long at most; where there are
        no events, ``otherwise_seconds``.

        The first rest after a wait or an event returns at once: look again, now that nothing can pass unheard.
        """
        wanted, now = tuple(folders), self._clock.monotonic()
        is_current = wanted == self._folders and now < self._renew_at
        if not is_current and self._begin(wanted, now):
            return
        if self._fd < 0:
            self._poll(otherwise_seconds)
        elif self._poll(seconds):
            self.wait(self._gather_seconds)

    def _begin(self, folders: tuple[str, ...], now: float) -> bool:
        """Watch them; False when not each can be watched: then none is, and it is tried again after a while."""
        self._let_go()
        if sys.platform == "linux" and all(self._tells(folder) for folder in folders):
            libc = ctypes.CDLL(None, use_errno=True)
            self._fd = libc.inotify_init1(_FLAGS)
            if self._fd >= 0 and not all(_watch(libc, self._fd, os.path.abspath(folder)) for folder in folders):
                self._let_go()
        self._folders, self._renew_at = folders, now + _RENEW_SECONDS
        return self._fd >= 0

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._folders = -1, ()

    def _poll(self, seconds: float) -> bool:
        """Whether a folder rang; a poll, for the daemon may hold more files open than select takes."""
        poll = select.poll()
        poll.register(self._stop_out, select.POLLIN)
        if self._fd >= 0:
            poll.register(self._fd, select.POLLIN)
        return any(fd == self._fd for fd, _ in poll.poll(max(0.0, seconds) * 1000.0))


def _watch(libc: ctypes.CDLL, fd: int, folder: str, mask: int = _ANYTHING) -> bool:
    """Watch a folder; of one that is not there, the nearest above it, in which the way to it would appear."""
    if _add(libc, fd, folder, mask):
        return True
    above = os.path.dirname(folder)
    if ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR) or above == folder:
        return False
    if not _watch(libc, fd, above, _COMES | _LEAVES):
        return False
    _add(libc, fd, folder, mask)  # it may have come just before the one above was watched
    return True


def _add(libc: ctypes.CDLL, fd: int, folder: str, mask: int) -> bool:
    return bool(libc.inotify_add_watch(fd, os.fsencode(folder), ctypes.c_uint32(mask | _HOW)) >= 0)
