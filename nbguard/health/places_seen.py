"""What disk and process tables say of folders, locks and file systems."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence

from nbguard.durable import free_space
from nbguard.health.facts import RootFacts, SpaceFacts
from nbguard.health.forecast import seconds_left
from nbguard.health.remembered import Covered, Sample

_LOCK_FOLDERS = ("", "refs/heads", "refs/nbguard", "objects/pack", "objects/info")
OUR_LOCK = "nbguard.lock"


def look_at_root(path: str, before: Covered | None) -> RootFacts:
    """Whether a root is there and can be read, and whether its file system is the one it was on."""
    device = before.device if before is not None else None
    seen = before.notebooks if before is not None else None
    try:
        with os.scandir(path) as entries:
            is_empty = next(entries, None) is None
            found = os.stat(path).st_dev
    except (FileNotFoundError, NotADirectoryError) as error:
        is_unmounted = device is not None and _nearest_device(path) != device
        reason = "its file system is not mounted" if is_unmounted else error.strerror or "gone"
        return RootFacts(path=path, trouble="root-gone", reason=reason, is_unmounted=is_unmounted, before=seen)
    except OSError as error:
        return RootFacts(path=path, trouble="root-unreadable", reason=error.strerror or "unreadable", before=seen)
    if is_empty and device is not None and found != device and seen:
        reason = "its file system is not mounted"
        return RootFacts(path=path, trouble="root-gone", reason=reason, is_unmounted=True, before=seen)
    return RootFacts(path=path, device=found, before=seen)


def _nearest_device(path: str) -> int | None:
    """The device of the nearest folder above that is there."""
    folder = os.path.dirname(path)
    while True:
        try:
            return os.stat(folder).st_dev
        except OSError:
            if folder == "/":
                return None
            folder = os.path.dirname(folder)


def is_locked(path: str) -> bool:
    """Whether a process holds the flock on ``path``. On Linux without touching the lock, so that no daemon that is
    just starting finds it taken by us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        inode = os.fstat(fd).st_ino
        try:
            with open("/proc/locks", encoding="ascii", errors="replace") as file:
                # "3: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"; the device is not compared (btrfs shows another)
                return any(" FLOCK " in line and f":{inode} " in line for line in file)
        except OSError:
            return refuses_share(fd)
    finally:
        os.close(fd)


def refuses_share(fd: int) -> bool:
    """Whether another process holds the flock on an open file; takes a shared one for a moment to find out."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    return False


def stale_locks(archive: str, now: float, older_than_seconds: float) -> tuple[str, ...]:
    """git's own locks in the archive that are so old while nobody holds ours: whoever made them is gone."""
    found = []
    for folder in _LOCK_FOLDERS:
        try:
            names = os.listdir(os.path.join(archive, folder))
        except OSError:
            continue
        for name in names:
            if name.endswith(".lock") and name != OUR_LOCK:
                try:
                    made = os.lstat(os.path.join(archive, folder, name)).st_mtime
                except OSError:
                    continue
                if now - made > older_than_seconds:
                    found.append(os.path.join(folder, name))
    if not found or is_locked(os.path.join(archive, OUR_LOCK)):
        return ()
    return tuple(sorted(found))


def look_at_space(
    roles: Sequence[tuple[str, str]],
    samples: Mapping[str, Sequence[Sample]],
    reserve: Callable[[int], int],
    *,
    least_seconds: float,
) -> tuple[SpaceFacts, ...]:
    """Each file system once, by the first (role, path) that lies on it. A folder that is not there yet is looked for
    above."""
    found: dict[int, tuple[str, list[str]]] = {}
    for role, path in roles:
        there = path
        while not os.path.isdir(there) and there != "/":
            there = os.path.dirname(there)
        try:
            found.setdefault(os.stat(there).st_dev, (there, []))[1].append(role)
        except OSError:
            continue
    facts = []
    for path, names in found.values():
        try:
            free, total, inodes = free_space(path)
        except OSError:
            continue
        kept, floor = samples.get(path, ()), reserve(total)
        facts.append(
            SpaceFacts(
                path=path,
                roles=tuple(dict.fromkeys(names)),
                free_bytes=free,
                total_bytes=total,
                free_inodes=inodes,
                reserve_bytes=floor,
                full_in_seconds=seconds_left(
                    [(each.at, each.bytes) for each in kept], floor=floor, total=total, least_seconds=least_seconds
                ),
                no_inodes_in_seconds=seconds_left(
                    [(each.at, each.inodes) for each in kept],
                    floor=0.0,
                    total=_all_inodes(path),
                    least_seconds=least_seconds,
                ),
            )
        )
    return tuple(facts)


def _all_inodes(path: str) -> float:
    try:
        return float(os.statvfs(path).f_files)
    except OSError:
        return 0.0
