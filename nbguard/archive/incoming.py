"""An archive made of branches that come from elsewhere: a mirror, a copy outside HOME, what is sound of a broken one.

It is made beside its place, under a lock that dies with us, and put there in one step; what a killed attempt left is
removed by the next one.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from types import TracebackType

from nbguard.archive.repository import (
    FORMAT,
    MAIN,
    RECORDS,
    RECORDS_VERIFIED,
    VERIFIED,
    Archive,
    lay_out,
    records_of,
)
from nbguard.durable import FileLock, fsync_folder, make_private_folder, replace_durably
from nbguard.errors import Busy, Refused, storage_trouble
from nbguard.git import GitFolder

_MAKING = ".incoming"
MIRRORED = {"main": MAIN, "records": RECORDS}
"""The branches that a mirror has, and the refs they are here."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What was put in place: the tips of both branches (None: there is no such branch)."""

    main: str | None
    records: str | None


class Incoming:
    """Use as a context manager: unless :meth:`put` returned, nothing of it is left.

    Raises OSError as StorageTrouble, ArchiveTrouble.
    """

    def __init__(self, archive: Archive, *, archive_format: int = FORMAT) -> None:
        self._archive = archive
        self._format = archive_format
        self._identity = archive.identity() if archive.was_made() else ""
        if len(self._identity) != 32:
            self._identity = os.urandom(16).hex()
        self.folder = f"{archive.folder}.{os.urandom(4).hex()}{_MAKING}"
        self.git = GitFolder(self.folder)
        self._lock = FileLock(os.path.join(self.folder, "nbguard.lock"))

    def __enter__(self) -> Incoming:
        try:
            make_private_folder(os.path.dirname(self.folder))
            tidy(self._archive)
            make_private_folder(self.folder)
            self._lock.acquire()
            lay_out(self.folder, self._identity, self._format)
        except OSError as error:
            self._drop()
            raise storage_trouble(error, f"cannot make the archive {self._archive.folder}") from error
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def arrived(self) -> Arrived:
        """The tips that were fetched so far."""
        return Arrived(self.git.tip(MAIN), self.git.tip(RECORDS))

    def check(self) -> None:
        """Every object that the branches need is there, and every commit of ours can be understood. Raises
        ArchiveTrouble."""
        tips = [tip for tip in (self.git.tip(MAIN), self.git.tip(RECORDS)) if tip is not None]
        if tips:
            self.git.ask("rev-list", "--objects", "--quiet", *tips, timeout_seconds=7200.0)
        if (main := self.git.tip(MAIN)) is not None:
            for _ in records_of(self.git, main):
                pass

    def put(self) -> Arrived:
        """Make it the archive; where there is one, it must have been moved aside. It keeps its id, if there was one."""
        there = self.arrived()
        try:
            for tip, ref in ((there.main, VERIFIED), (there.records, RECORDS_VERIFIED)):
                if tip is not None:
                    replace_durably(os.path.join(self.folder, ref), tip.encode("ascii") + b"\n")
            make_private_folder(self._archive.places.state)
            self._archive.put_in_place(self.folder, self._identity)
        except OSError as error:
            raise storage_trouble(error, f"cannot put the archive {self._archive.folder} in place") from error
        return there

    def _drop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)  # gone already where it was put in place
        self._lock.release()


def tidy(archive: Archive) -> None:
    """Remove what killed attempts left beside the archive. Raises OSError."""
    base, name = os.path.split(archive.folder)
    for found in os.listdir(base):
        if not (found.startswith(f"{name}.") and found.endswith(_MAKING)):
            continue
        folder = os.path.join(base, found)
        if os.path.islink(folder) or not os.path.isdir(folder):
            continue
        try:
            with FileLock(os.path.join(folder, "nbguard.lock")):
                shutil.rmtree(folder, ignore_errors=True)
        except Busy:
            continue  # somebody is at it


def is_empty(archive: Archive) -> bool:
    """Whether an archive holds nothing: no version, no executed cell."""
    return archive.tip() is None and archive.git.tip(RECORDS) is None


def refuse_to_replace(archive: Archive) -> None:
    """Raises Refused where an archive with versions is already here, ArchiveTrouble where that cannot be told."""
    if archive.exists() and not is_empty(archive):
        raise Refused(
            f"there is an archive with versions here: {archive.folder}",
            hint="nothing was changed. To look at the other one beside it: NBGUARD_HOME=DIR nbguard adopt URL, with an "
            "empty DIR; to use it instead of this one, move this one away first",
        )


def move_aside(archive: Archive, why: str) -> str:
    """Move what lies where the archive should be out of the way, whole; returns where it is. Raises StorageTrouble,
    Busy while somebody writes to it."""
    number, aside = 1, f"{archive.folder}.{why}"
    while os.path.lexists(aside):
        number += 1
        aside = f"{archive.folder}.{why}-{number}"
    try:
        with FileLock(archive.lock_path):
            os.rename(archive.folder, aside)
            fsync_folder(os.path.dirname(aside))
    except OSError as error:
        raise storage_trouble(error, f"cannot move {archive.folder} aside") from error
    return aside
