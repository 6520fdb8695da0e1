"""Putting bytes at a path: whole or not at all, and never over something that was not kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256

from nbguard.errors import ArchiveTrouble, Refused, storage_trouble
from nbguard.model import Trigger, Version
from nbguard.ports import Keep
from nbguard.recover.folder import Folder, open_file, symlink_refused
from nbguard.recover.wording import shown

_ATTEMPTS = 5

BeforeReplacing = Callable[[Version | None], None]
"""Called with what was there (kept by then; None: nothing), when nothing has been changed yet."""


def refuse_to_replace(path: str, status: os.stat_result) -> Refused | None:
    """Why what is at ``path`` must not be replaced; None for a regular file."""
    if stat.S_ISREG(status.st_mode):
        return None
    if stat.S_ISLNK(status.st_mode):
        return symlink_refused(path)
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    return Refused(f"{shown(path)} is {what} now", hint="restore without `--in-place`, or name a place with `--to`")


def digest_on_disk(path: str) -> str | None:
    """sha256 of the regular file at ``path``; None when there is none, or it cannot be read."""
    try:
        fd = open_file(path)
    except OSError:
        return None
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        hashed = sha256()
        while block := file.read(1 << 20):
            hashed.update(block)
        return hashed.hexdigest()


def place_new(folder: Folder, names: Callable[[int], str | None], data: bytes, like: os.stat_result | None) -> str:
    """Write ``data`` under the first of ``names`` (called with 0, 1, …) that is free; return it.

    Raises Refused when the names run out (None), StorageTrouble.
    """
    try:
        temporary = folder.write_new(data, like=like)
        try:
            attempt = 0
            while (name := names(attempt)) is not None:
                if folder.place(temporary, name):
                    _check(folder, name, data)
                    return name
                attempt += 1
        finally:
            folder.unlink(temporary)
    except OSError as error:
        raise storage_trouble(error, f"cannot write in {shown(folder.path)}") from error
    last = names(attempt - 1) if attempt else None
    raise Refused(
        f"{shown(os.path.join(folder.path, last or ''))} exists already",
        hint="nothing was overwritten; name another place with `--to`",
    )


def replace_kept(folder: Folder, name: str, data: bytes, keep: Keep, before: BeforeReplacing) -> Version | None:
    """Put ``data`` in the place of ``name`` in one step, after keeping what is there; return that version.

    What is there is kept first, also when it is damaged; a writer that comes between is noticed, and what it wrote
    is kept in its turn. Raises Refused, StorageTrouble, and what ``keep`` raises.
    """
    path = os.path.join(folder.path, name)
    for _ in range(_ATTEMPTS):
        status = folder.status(name)
        try:
            if status is None:
                before(None)
                if _placed(folder, name, data):
                    return None
                continue
            if refusal := refuse_to_replace(path, status):
                raise refusal
            kept = keep(path, Trigger.SNAPSHOT)
            if kept.sha256 != sha256(folder.read(name)).hexdigest():
                continue
            before(kept)
            if _swapped(folder, name, data, status):
                _check(folder, name, data)
                return kept
        except OSError as error:
            raise storage_trouble(error, f"cannot write {shown(path)}") from error
    raise Refused(f"{shown(path)} is being written to again and again", hint="stop what writes it, then try again")


def _placed(folder: Folder, name: str, data: bytes) -> bool:
    temporary = folder.write_new(data)
    try:
        if folder.place(temporary, name):
            _check(folder, name, data)
            return True
        return False
    finally:
        folder.unlink(temporary)


def _swapped(folder: Folder, name: str, data: bytes, status: os.stat_result) -> bool:
    """Replace ``name`` by ``data`` if it still is what ``status`` says; a write that slips in is put back."""
    temporary = folder.write_new(data, like=status)
    # A second name for the old file lets us see, after the swap, whether somebody wrote to it at the last moment.
    witness = folder.second_name(name)
    try:
        if not _same(folder.status(name), status):
            return False
        folder.rename(temporary, name)
        if witness is not None and not _same(folder.status(witness), status):
            folder.rename(witness, name)
            return False
        return True
    finally:
        folder.unlink(temporary)
        if witness is not None:
            folder.unlink(witness)


def _same(now: os.stat_result | None, then: os.stat_result) -> bool:
    return now is not None and (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
        then.st_dev,
        then.st_ino,
        then.st_size,
        then.st_mtime_ns,
    )


def _check(folder: Folder, name: str, data: bytes) -> None:
    if folder.read(name) != data:
        raise ArchiveTrouble(
            f"{shown(os.path.join(folder.path, name))} does not read back as it was written",
            hint="the disk may be failing, or something else writes there; the version itself is safe",
            code="io-error",
        )
