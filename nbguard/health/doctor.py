"""The doctor: measures this machine, and reports what stands in nbguard's way."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from nbguard.clock import Clock
from nbguard.durable import free_space
from nbguard.errors import NbguardError
from nbguard.git import GitFolder, find_git, git_version
from nbguard.health.findings import (
    Access,
    Finding,
    Folder,
    Level,
    of_access,
    of_clock,
    of_folders,
    of_git,
    of_inotify,
    of_packages,
    of_python,
    of_servers,
)
from nbguard.model import Heartbeat
from nbguard.names import is_entered_name
from nbguard.places import Places
from nbguard.settings import Settings

COUNT_SECONDS = 3.0
FSCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is examined. ``file_system`` gives a path's kind and whether it is remote; ``reserve`` the bytes left free
    on a disk of so many; ``catalog`` and ``fsck`` raise NbguardError when all is not well; the former returns the
    number of versions."""

    places: Places
    settings: Settings | None
    roots: Sequence[str]
    clock: Clock
    boot: str
    heartbeat: Heartbeat | None
    file_system: Callable[[str], tuple[str, bool]]
    reserve: Callable[[int], int]
    catalog: Callable[[], int]
    fsck: Callable[[], None]
    servers: Callable[[], int]
    bad_configuration: NbguardError | None = None


def examine(patient: Patient) -> tuple[Finding, ...]:
    """Every check, in the order a person would ask."""
    return tuple(_examine(patient))


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong; notes are not."""
    return all(finding.level is not Level.WRONG for finding in findings)


def check_archive(folder: str) -> None:
    """`git fsck --connectivity-only` on the archive. Raises ArchiveTrouble."""
    GitFolder(folder).ask("fsck", "--connectivity-only", "--no-progress", "--no-dangling", timeout_seconds=FSCK_SECONDS)


def _examine(patient: Patient) -> Iterator[Finding]:
    yield of_python(sys.version_info[:3])
    yield _git()
    yield of_packages(installed_packages())
    yield _configuration(patient)
    folders, counted_all = count_folders(patient.roots, patient.clock)
    yield of_inotify(
        folders,
        counted_all=counted_all,
        watches=_limit("max_user_watches"),
        instances=_limit("max_user_instances"),
    )
    yield from of_folders(
        [folder for role, path in _important(patient) if (folder := _folder(patient, role, path))],
        is_mirrored=patient.settings is not None and bool(patient.settings.mirrors),
    )
    for root in patient.roots:
        if not os.path.isdir(root):
            hint = "mount it, or take it out of the configuration"
            yield Finding(check="roots", level=Level.WRONG, message=f"{root} is not there", hint=hint)
    yield from of_access(_accesses(patient.places), os.getuid())
    yield of_clock(_drift(patient), patient.clock.now().year)
    yield from _store(patient)
    yield of_servers(patient.servers())


def _git() -> Finding:
    try:
        path = find_git()
        return of_git(path, git_version(path))
    except NbguardError as error:
        if "PATH" in error.message:
            return of_git(None, ())
        return Finding(check="git", level=Level.WRONG, message=error.message, hint=error.hint)


def installed_packages() -> dict[str, str | None]:
    """Versions of what nbguard requires, as installed."""
    try:
        required = metadata.requires("nbguard") or []
    except metadata.PackageNotFoundError:
        return {}
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in required if "extra ==" not in line]
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _configuration(patient: Patient) -> Finding:
    path, bad = patient.places.config, patient.bad_configuration
    if bad is not None:
        return Finding(check="configuration", level=Level.WRONG, message=bad.message, hint=bad.hint)
    if patient.settings is None:
        hint = "run `nbguard setup`"
        return Finding(check="configuration", level=Level.NOTE, message=f"there is none at {path}", hint=hint)
    if not patient.roots:
        hint = "add folders: nbguard setup --watch DIR"
        return Finding(check="configuration", level=Level.WRONG, message=f"{path} watches no folder", hint=hint)
    folders = f"{len(patient.roots)} folder{'' if len(patient.roots) == 1 else 's'}"
    return Finding(check="configuration", level=Level.OK, message=f"{path}, {folders}")


def count_folders(roots: Sequence[str], clock: Clock, *, budget_seconds: float = COUNT_SECONDS) -> tuple[int, bool]:
    """(folders that would be watched, whether all were counted before time ran out)."""
    deadline = clock.monotonic() + budget_seconds
    waiting, count = list(roots), 0
    while waiting:
        if clock.monotonic() > deadline:
            return count, False
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                waiting += [e.path for e in entries if is_entered_name(e.name) and e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        count += 1
    return count, True


def _limit(name: str) -> int | None:
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _important(patient: Patient) -> Iterator[tuple[str, str]]:
    for root in patient.roots:
        yield "root", root
    places = patient.places
    yield from (("archive", places.archive), ("spool", places.spool), ("state", places.state))


def _folder(patient: Patient, role: str, path: str) -> Folder | None:
    """Measured at the nearest folder above that exists: what is not made yet will be made there."""
    there = path
    while not os.path.isdir(there) and there != "/":
        there = os.path.dirname(there)
    try:
        free, total, inodes = free_space(there)
        device = os.stat(there).st_dev
    except OSError:
        return None
    kind, is_remote = patient.file_system(os.path.realpath(there))
    return Folder(
        role=role,
        path=path,
        kind=kind,
        is_remote=is_remote,
        device=device,
        free_bytes=free,
        free_inodes=inodes,
        reserve_bytes=patient.reserve(total),
        is_ours=role != "root",
    )


def _accesses(places: Places) -> Iterator[Access]:
    private = [places.archive, places.spool, places.state, places.emergency]
    for path, wanted in [*((folder, 0o700) for folder in private), (places.config, 0o600), (places.catalog, 0o600)]:
        try:
            status = os.lstat(path)
        except OSError:
            continue
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link and path == places.config:
            continue  # kept with somebody's dotfiles
        yield Access(path=path, mode=stat.S_IMODE(status.st_mode), owner=status.st_uid, wanted=wanted, is_link=is_link)


def _drift(patient: Patient) -> float | None:
    beat = patient.heartbeat
    if beat is None or beat.boot != patient.boot:
        return None
    wall = (patient.clock.now() - beat.beat_at).total_seconds()
    return wall - (patient.clock.boottime_ns() - beat.beat_boottime_ns) / 1e9


def _store(patient: Patient) -> Iterator[Finding]:
    places = patient.places
    if not os.path.isfile(os.path.join(places.archive, "HEAD")):
        if os.path.exists(places.archive_marker):
            hint = "bring it back before anything else; what was kept since lies in the spool"
            message = f"{places.archive} was made here and has vanished"
            yield Finding(check="archive", level=Level.WRONG, message=message, hint=hint)
        else:
            hint = "`nbguard setup` or `nbguard run --watch DIR` makes it"
            yield Finding(check="archive", level=Level.NOTE, message="there is none yet", hint=hint)
        return
    yield _asked("archive", patient.fsck, "{0} is whole (git fsck --connectivity-only)", places.archive)
    yield _asked("catalog", patient.catalog, "{1:,} versions can be listed")


def _asked(check: str, ask: Callable[[], int | None], message: str, *words: str) -> Finding:
    try:
        answer = ask()
        return Finding(check=check, level=Level.OK, message=message.format(*(words or ("",)), answer))
    except NbguardError as error:
        return Finding(check=check, level=Level.WRONG, message=error.message, hint=error.hint or "see the daemon's log")
