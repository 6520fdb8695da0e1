"""The boots a spool has seen, in order: what makes CLOCK_BOOTTIME comparable across restarts of the machine.

A boot's number (its epoch) is greater than that of every boot before it, and at least the second since 1970 in which
it was first seen: so the order goes on where the list is lost, and does not go back where the clock is set back.
"""

from __future__ import annotations

import os

from nbguard.durable import FileLock, fsync_folder, make_private_folder, replace_durably, write_all

_HIGHEST = (1 << 32) - (1 << 20)
_ELSEWHERE = "elsewhere-"


def epoch_of(boot: str, folder: str, now_seconds: int) -> int:
    """The epoch of this boot, from ``folder/boots``; appended durably when it is new. Raises OSError."""
    make_private_folder(folder)
    path = os.path.join(folder, "boots")
    epochs = _read(path)
    if boot in epochs:
        return epochs[boot]
    lock = FileLock(path + ".lock")
    lock.acquire(wait=True)
    try:
        epochs = _read(path)
        if boot not in epochs:
            now = now_seconds if 0 < now_seconds < _HIGHEST else 1  # a clock that cannot be right
            epochs[boot] = max([now, *(epoch + 1 for epoch in epochs.values())])
            _append(path, f"{boot} {epochs[boot]}")
            fsync_folder(folder)
        return epochs[boot]
    finally:
        lock.release()


def remember(boot: str, epoch: int, folder: str) -> int:
    """The epoch of this boot in a list that was removed, or made anew by others, since it was learnt: it is entered
    again where it is missing; where another one stands there now, the later of both counts. When another machine with
    this home has kept something under a later number, ours is given anew, for what we keep from now on comes after it.
    Raises OSError, also when the folder is gone."""
    path = os.path.join(folder, "boots")
    epochs = _read(path)
    found = epochs.get(boot)
    if found is None:
        _append(path, f"{boot} {epoch}")
        fsync_folder(folder)
    mine = epoch if found is None else max(found, epoch)
    newest = max(epochs.values(), default=0)
    if newest <= mine:
        return mine
    outrank(newest, boot, folder)
    return epoch_of(boot, folder, 1)


def outrank(epoch: int, boot: str, folder: str) -> None:
    """What is kept here from now on comes after all that was kept in that epoch, on another machine. Raises OSError."""
    make_private_folder(folder)
    path = os.path.join(folder, "boots")
    lock = FileLock(path + ".lock")
    lock.acquire(wait=True)
    with lock:
        epochs = _read(path)
        if max(epochs.values(), default=0) < epoch:
            name = f"{_ELSEWHERE}{os.urandom(8).hex()}"
            _append(path, f"{name} {epoch}")
            epochs[name] = epoch
        if epochs.get(boot, epoch + 1) <= epoch:  # this boot's number is too low: it is forgotten, and given anew
            del epochs[boot]
            lines = [f"{name} {number}\n" for name, number in epochs.items()]
            replace_durably(path, "".join(lines).encode("ascii"))
        fsync_folder(folder)


def _read(path: str) -> dict[str, int]:
    """A line that a power cut tore is passed over."""
    epochs: dict[str, int] = {}
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                boot, _, epoch = line.strip().partition(" ")
                if line.endswith("\n") and epoch.isdigit():
                    epochs.setdefault(boot, int(epoch))
    except FileNotFoundError:
        pass
    return epochs


def _append(path: str, line: str) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        write_all(fd, (b" torn\n" if torn else b"") + line.encode("ascii") + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
