"""What a measured machine means for nbguard: values in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

OLDEST_PYTHON = (3, 11)
OLDEST_GIT = (2, 36)
FEW_INODES = 1_000
FEW_INSTANCES = 16
JUMP_SECONDS = 120.0


class Level(StrEnum):
    """``note`` is worth knowing and nothing to mend."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer of the doctor."""

    check: str
    level: Level
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that matters. Bytes and inodes are those free to us; ``reserve`` is what we leave to the user."""

    role: str
    path: str
    kind: str
    is_remote: bool
    device: int
    free_bytes: int
    free_inodes: int
    reserve_bytes: int
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may open something of ours: its permission bits, its owner, what they should be."""

    path: str
    mode: int
    owner: int
    wanted: int
    is_link: bool


def of_python(version: tuple[int, ...]) -> Finding:
    spelled = ".".join(map(str, version[:3]))
    if version[:2] < OLDEST_PYTHON:
        return Finding(check="python", level=Level.WRONG, message=f"Python {spelled}", hint="use Python 3.11 or newer")
    return Finding(check="python", level=Level.OK, message=f"Python {spelled}")


def of_git(path: str | None, version: tuple[int, ...]) -> Finding:
    """``path`` is None when there is no git."""
    hint = "install git 2.36 or newer"
    if path is None:
        return Finding(check="git", level=Level.WRONG, message="git is not on PATH", hint=hint)
    spelled = f"git {'.'.join(map(str, version))} ({path})"
    if version < OLDEST_GIT:
        return Finding(check="git", level=Level.WRONG, message=f"{spelled} is too old", hint=hint)
    return Finding(check="git", level=Level.OK, message=spelled)


def of_packages(versions: Mapping[str, str | None]) -> Finding:
    """Installed versions of what nbguard depends on; None for what is missing."""
    if not versions:
        message = "nbguard runs from a checkout that is not installed"
        return Finding(check="packages", level=Level.NOTE, message=message, hint="python -m pip install -e .")
    missing = sorted(name for name, version in versions.items() if version is None)
    if missing:
        message, hint = f"not installed: {', '.join(missing)}", "install nbguard anew: its dependencies come with it"
        return Finding(check="packages", level=Level.WRONG, message=message, hint=hint)
    listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return Finding(check="packages", level=Level.OK, message=listed)


def of_inotify(folders: int, *, counted_all: bool, watches: int | None, instances: int | None) -> Finding:
    """``folders`` to watch against the kernel's limits (None where there is no inotify)."""
    if watches is None:
        return Finding(check="watching", level=Level.OK, message="this system has no inotify limits")
    count = f"{'' if counted_all else 'over '}{folders:,} folder{'' if folders == 1 else 's'}"
    spelled = f"{count} to watch, {watches:,} allowed by the kernel"
    if folders > watches:
        hint = "sudo sysctl fs.inotify.max_user_watches=1048576 (until then the rest is found by sweeps, minutes later)"
        return Finding(check="watching", level=Level.WRONG, message=spelled, hint=hint)
    if folders > 0.8 * watches or not counted_all:
        hint = "other programs share the limit: sudo sysctl fs.inotify.max_user_watches=1048576"
        return Finding(check="watching", level=Level.NOTE, message=spelled, hint=hint)
    if instances is not None and instances < FEW_INSTANCES:
        hint = "sudo sysctl fs.inotify.max_user_instances=256"
        return Finding(check="watching", level=Level.NOTE, message=f"{spelled}; {instances} watchers", hint=hint)
    return Finding(check="watching", level=Level.OK, message=spelled)


def of_folders(folders: Sequence[Folder], *, is_mirrored: bool = False) -> Iterator[Finding]:
    """File systems, what is free on them, and whether one disk holds both the notebooks and all that is kept."""
    for folder in folders:
        where = f"{folder.role} {folder.path}: {folder.kind or 'unknown file system'}"
        if folder.is_remote and folder.is_ours:
            hint = "a local disk is safer (NBGUARD_HOME, or `archive` in the configuration): locks and fsync hold there"
            yield Finding(check="file-system", level=Level.NOTE, message=f"{where}, on the network", hint=hint)
        elif folder.is_remote:
            hint = "nothing to do: no events come from there, so it is looked at every few seconds"
            yield Finding(check="file-system", level=Level.NOTE, message=f"{where}, on the network", hint=hint)
        else:
            yield Finding(check="file-system", level=Level.OK, message=where)
    yield from _room(folder for folder in folders if folder.is_ours)
    archive = next((folder for folder in folders if folder.role == "archive"), None)
    roots = [folder for folder in folders if not folder.is_ours]
    if archive is not None and not is_mirrored and any(root.device == archive.device for root in roots):
        message = "the archive is on the same disk as notebooks: if the disk dies, both are gone"
        hint = "nbguard mirror add URL: another disk or machine"
        yield Finding(check="same-disk", level=Level.NOTE, message=message, hint=hint)


def of_access(entries: Iterable[Access], user: int) -> Iterator[Finding]:
    """Ours must be ours alone: a notebook's versions are as private as the notebook."""
    wrong = False
    for entry in entries:
        if entry.is_link:
            message, hint = f"{entry.path} is a symlink", "replace it by the folder it leads to"
        elif entry.owner != user:
            message, hint = f"{entry.path} belongs to another user", "move it away; nbguard makes its own"
        elif entry.mode & ~entry.wanted & 0o777:
            message = f"{entry.path} can be opened by others ({entry.mode & 0o777:04o})"
            hint = f"chmod {entry.wanted:04o} '{entry.path}'"
        else:
            continue
        wrong = True
        yield Finding(check="permissions", level=Level.WRONG, message=message, hint=hint)
    if not wrong:
        yield Finding(check="permissions", level=Level.OK, message="our files are readable by their owner alone")


def of_clock(drift_seconds: float | None, year: int) -> Finding:
    """``drift_seconds`` is how far the wall clock moved against the boot clock since the last heartbeat."""
    hint = "versions keep their order all the same; set the clock right (timedatectl)"
    if year < 2026:
        message = f"the clock says it is {year}"
        return Finding(check="clock", level=Level.WRONG, message=message, hint=hint)
    if drift_seconds is not None and abs(drift_seconds) > JUMP_SECONDS:
        message = f"the clock was set {'forward' if drift_seconds > 0 else 'back'} by {abs(drift_seconds):.0f} s"
        return Finding(check="clock", level=Level.WRONG, message=message, hint=hint)
    return Finding(check="clock", level=Level.OK, message="the clock runs evenly")


def of_servers(count: int) -> Finding:
    message = f"{count or 'no'} Jupyter server{'' if count == 1 else 's'} of yours running"
    return Finding(check="jupyter", level=Level.OK, message=message)


def _room(folders: Iterable[Folder]) -> Iterator[Finding]:
    for folder in folders:
        where = f"{folder.role} {folder.path}"
        if folder.free_bytes <= folder.reserve_bytes:
            message = (
                f"{where}: {folder.free_bytes / 1e6:,.0f} MB free, {folder.reserve_bytes / 1e6:,.0f} MB are left to you"
            )
            hint = "free some space; until then new versions spill to the emergency folder"
            yield Finding(check="space", level=Level.WRONG, message=message, hint=hint)
        elif folder.free_inodes < FEW_INODES and folder.free_inodes != 1:
            # 1 is how free_space spells "this file system does not count them" (btrfs).
            message = f"{where}: {folder.free_inodes} inodes free"
            yield Finding(check="space", level=Level.WRONG, message=message, hint="delete some files")
        else:
            message = f"{where}: {folder.free_bytes / 1e9:,.1f} GB free"
            yield Finding(check="space", level=Level.OK, message=message)
