"""Canaries: something of ours is written the way notebooks are, made durable, read back, compared, taken away.

No canary is ever a version: it lies beside the spool's drafts, where no packer and no catalog looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Protocol

from nbguard.durable import fsync_folder, unlink_quietly, write_all
from nbguard.errors import ArchiveTrouble, StorageTrouble, storage_trouble

FOLDER = "canary"
_LEFTOVER = re.compile(r"\.nbguard-[0-9a-f]{12}\.tmp")
_OLD_SECONDS = 3_600.0


class Nest(Protocol):
    """A spool of its own, by the spool's code: ``keep`` makes bytes durable and names them, ``give_back`` reads what
    was kept under a name (None: it is not there), ``forget`` takes it away."""

    def keep(self, data: bytes) -> str: ...
    def give_back(self, name: str) -> bytes | None: ...
    def forget(self, name: str) -> None: ...


def fly(nest: Callable[[], Nest]) -> None:
    """Keep a canary and ask for it back. Raises StorageTrouble, ArchiveTrouble."""
    song = (
        b'{"cells": [], "metadata": {"canary": "%s"}, "nbformat": 4, "nbformat_minor": 5}\n'
        % os.urandom(512).hex().encode()
    )
    kept = nest()
    name = kept.keep(song)
    found = kept.give_back(name)
    if found != song:
        what = "is not there" if found is None else "came back as something else"
        raise ArchiveTrouble(f"what was just kept {what}", hint="check the disk (dmesg, smartctl)", code="io-error")
    kept.forget(name)


def write_and_read(folder: str) -> None:
    """Write a small file in a folder of ours, make it durable, and read it back. Raises StorageTrouble."""
    song = os.urandom(512)
    path = os.path.join(folder, f".nbguard-{os.urandom(6).hex()}.tmp")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            write_all(fd, song)
            os.fsync(fd)
            fsync_folder(folder)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            found = os.pread(fd, len(song) + 1, 0)
        finally:
            os.close(fd)
            unlink_quietly(path)
    except OSError as error:
        raise storage_trouble(error, f"cannot write in {folder}", free_inodes=inodes_left(folder)) from error
    if found != song:
        raise StorageTrouble(f"what was written in {folder} reads back as something else", hint="check the disk")


def clear_leftovers(folder: str, now: float) -> None:
    """Take away what writers left half done in a folder of ours an hour ago or more (they were killed)."""
    try:
        names = [name for name in os.listdir(folder) if _LEFTOVER.fullmatch(name)]
        for path in (os.path.join(folder, name) for name in names):
            if now - os.lstat(path).st_mtime > _OLD_SECONDS:
                unlink_quietly(path)
    except OSError:
        return  # the proof that follows says what is wrong with the folder


def inodes_left(path: object) -> int | None:
    """Free inodes where a path of ours is, or would be; None when that cannot be told."""
    folder = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes) else "/"
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_favail if status.f_files else None
