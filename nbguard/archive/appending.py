"""Appending to a file of ours so that a failure tears nothing that stood before; and where it may be done."""

from __future__ import annotations

import errno
import os

from nbguard.archive.spool import Reserve
from nbguard.durable import free_space, make_private_folder, write_all
from nbguard.errors import Refused, StorageTrouble
from nbguard.places import check_private

_SLACK = 1 << 16


def append_durably(fd: int, data: bytes, size: int) -> None:
    """Append to a file of ``size`` bytes; durable when it returns.

    Raises OSError; the file is then as long as before if the disk allows it, and must not be written again: an error of
    fsync is told once, and a line behind a torn one would be lost with it.
    """
    try:
        write_all(fd, data)
        os.fsync(fd)
    except BaseException:
        try:
            os.ftruncate(fd, size)
        except OSError:
            pass  # the same disk again; what is torn stands at the end, where readers expect it
        raise


def check_room(folder: str, size: int, reserve: Reserve, *, is_emergency: bool, what: str) -> None:
    """Raises StorageTrouble when so many bytes would leave too little to the user, Refused, OSError.

    Only the emergency place is made here: a spool that vanished is not made anew under the user's hands.
    """
    if is_emergency:
        if not os.path.isdir(place := os.path.dirname(os.path.dirname(os.path.dirname(folder)))):
            # All that is ours was removed with what it lay in: it is not made anew under whoever did that.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        make_private_folder(folder)
        check_private(os.path.dirname(os.path.dirname(folder)))  # /var/tmp is open to everybody
    free, total, inodes = free_space(folder)
    reserved = reserve.of(total)
    if free < size + reserved + _SLACK or inodes < 1:
        raise StorageTrouble(
            f"no room for {size} bytes of {what} in {folder}: {free} bytes and {inodes} inodes are free, and "
            f"{reserved} bytes are left to you",
            hint="free some space; what could not be kept is retried by itself",
            code="no-space" if inodes >= 1 else "no-inodes",
        )


def is_ours(folder: str) -> bool:
    """Whether what lies in that folder of the emergency place can be ours: in /var/tmp anybody may make one."""
    try:
        check_private(os.path.dirname(os.path.dirname(folder)))
    except (OSError, Refused):
        return False
    return True
