"""The boots a spool has seen, in order: what makes CLOCK_BOOTTIME comparable across restarts of the machine."""

from __future__ import annotations

import os

from nbguard.durable import FileLock, fsync_folder, make_private_folder, write_all


def epoch_of(boot: str, folder: str) -> int:
    """The number (from 1) of this boot in ``folder/boots``; appended durably when it is new. Raises OSError."""
    make_private_folder(folder)
    path = os.path.join(folder, "boots")
    boots = _read(path)
    if boot in boots:
        return boots.index(boot) + 1
    lock = FileLock(path + ".lock")
    lock.acquire(wait=True)
    try:
        boots = _read(path)
        if boot not in boots:
            _append(path, boot)
            fsync_folder(folder)
            boots.append(boot)
        return boots.index(boot) + 1
    finally:
        lock.release()


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def _append(path: str, boot: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, boot.encode("ascii") + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
