"""A whole archive room in a folder: spool, archive, catalog, packer, library, with a clock that tests hold."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from nbguard.archive.catalog import Catalog
from nbguard.archive.folding import Folder, Reading
from nbguard.archive.library import ArchiveLibrary
from nbguard.archive.packer import Packer
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve, Spool
from nbguard.model import Draft, DraftKind, Measure, Moment, Signature, Status, Trigger, Version
from nbguard.notebook import measure
from nbguard.places import Places, find_places

OPENED: list[Catalog] = []
"""Closed after each test; Python 3.13 complains about databases that are left open."""

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NO_RESERVE = Reserve(bytes=0, percent=0.0)


class HeldClock:
    """Moves a second per look, and wherever a test sets it."""

    def __init__(self) -> None:
        self.wall = START
        self.boottime = 1_000_000_000

    def now(self) -> datetime:
        self.wall += timedelta(seconds=1)
        return self.wall

    def boottime_ns(self) -> int:
        self.boottime += 1_000_000
        return self.boottime

    def monotonic(self) -> float:
        return self.boottime / 1e9


def judge(found: Measure | None, fullest: Measure | None) -> Status:
    """As the real judge in kind: not readable, under half of the fullest, or fine."""
    if found is None:
        return Status.DAMAGED
    if fullest is not None and found.cells * 2 < fullest.cells and found.source_chars * 2 < fullest.source_chars:
        return Status.EMPTIED
    return Status.OK


def measure_file(path: str, offset: int, size: int) -> Reading:
    """The measure of a spooled draft."""
    del size
    with open(path, "rb") as file:
        file.seek(offset)
        return Reading(measure(file.read()))


class Rig:
    """``crash`` and ``open`` throw the objects away and make new ones, as a new process would."""

    def __init__(
        self,
        base: str | os.PathLike[str],
        *,
        clock: HeldClock | None = None,
        places: Places | None = None,
        reserve: Reserve = NO_RESERVE,
        batch_bytes: int = 256_000_000,
    ) -> None:
        self.places = places or find_places(home=os.fspath(base))
        self.clock = clock or HeldClock()
        self.archive = Archive(self.places)
        self._reserve = reserve
        self._batch_bytes = batch_bytes
        self._numbers = itertools.count(1)
        self.archive.ensure()
        self.open()
        self.spool.make()

    def open(self) -> None:
        """All objects anew."""
        self.archive = Archive(self.places)
        self.spool = Spool(
            self.places.spool,
            clock=self.clock,
            install="test",
            emergency=self.places.emergency or None,
            reserve=self._reserve,
        )
        self.catalog = Catalog(self.places.catalog)
        OPENED.append(self.catalog)
        self.folder = self.new_folder(self.catalog)
        self.packer = Packer(
            archive=self.archive,
            spool=self.spool,
            catalog=self.catalog,
            folder=self.folder,
            batch_bytes=self._batch_bytes,
            reserve=self._reserve,
        )

    def new_folder(self, catalog: Catalog) -> Folder:
        return Folder(catalog=catalog, archive=self.archive, spool=self.spool, measuring=measure_file, judge=judge)

    def close(self) -> None:
        self.catalog.close()

    def crash(self) -> None:
        """Everything in memory is lost."""
        self.catalog.close()
        self.open()

    # -- what capture does -----------------------------------------------------------------------------------------

    def draft(
        self,
        path: str,
        data: bytes | None,
        *,
        trigger: Trigger = Trigger.WATCH,
        moment: Moment | None = None,
        renamed_from: str | None = None,
        tip: bool = True,
        observed_at: datetime | None = None,
    ) -> Draft:
        number = next(self._numbers)
        return self.spool.draft(
            kind=DraftKind.VERSION if data is not None else DraftKind.TOMBSTONE,
            path=path,
            moment=moment or self.spool.moment(),
            trigger=trigger,
            root=os.path.dirname(path),
            size=len(data or b""),
            sha256=None if data is None else hashlib.sha256(data).hexdigest(),
            signature=None if data is None else Signature(1, number, len(data), number, number),
            tip=tip,
            renamed_from=renamed_from,
            observed_at=observed_at,
        )

    def save(
        self,
        path: str,
        data: bytes,
        *,
        trigger: Trigger = Trigger.WATCH,
        moment: Moment | None = None,
        renamed_from: str | None = None,
        tip: bool = True,
        observed_at: datetime | None = None,
    ) -> Draft:
        """Keep bytes; durable when it returns."""
        draft = self.draft(
            path,
            data,
            trigger=trigger,
            moment=moment,
            renamed_from=renamed_from,
            tip=tip,
            observed_at=observed_at,
        )
        return self.spool.keep(draft, data)

    def delete(self, path: str, *, moment: Moment | None = None) -> Draft:
        """Keep a tombstone."""
        return self.spool.keep(self.draft(path, None, moment=moment), b"")

    def decide(self, kind: DraftKind, about: str, path: str = "/n.ipynb") -> Draft:
        """Keep a human's word."""
        draft = self.spool.draft(
            kind=kind, path=path, moment=self.spool.moment(), trigger=Trigger.SNAPSHOT, root="/", about=about
        )
        return self.spool.keep(draft, b"")

    # -- what readers do -------------------------------------------------------------------------------------------

    def library(self) -> ArchiveLibrary:
        """Caught up."""
        self.folder.catch_up()
        return ArchiveLibrary(catalog=self.catalog, archive=self.archive, spool=self.spool)

    def read(self, version_id: str) -> bytes:
        """The bytes of one version."""
        library = self.library()
        try:
            version = library.version(version_id)
            assert version is not None, f"{version_id} is not known"
            return library.read(version)
        finally:
            library.close()

    def log(self, path: str) -> list[Version]:
        """All versions of the notebook that is at ``path``, newest first."""
        library = self.library()
        (_, notebook), *_ = library.named(path)
        return library.log(notebook)

    def answers(self) -> object:
        """Everything a person can ask the catalog, without what only says where the bytes lie."""
        library = self.library()
        entries = {deleted: library.entries(deleted=deleted) for deleted in (False, True)}
        notebooks = sorted({entry.notebook for found in entries.values() for entry in found})
        return {
            "list": [[(e.notebook, e.path, e.versions, row_of(e.latest)) for e in entries[d]] for d in (False, True)],
            "log": {notebook: [row_of(version) for version in library.log(notebook)] for notebook in notebooks},
            "heads": sorted(
                (h.path, h.notebook, h.version, h.sha256 or "", str(h.status), str(h.moment))
                for h in self.catalog.heads()
            ),
        }

    # -- the archive, through stock git ----------------------------------------------------------------------------

    def git(self, *arguments: str, data: bytes | None = None) -> bytes:
        return git(self.archive.folder, *arguments, data=data)

    def fsck(self) -> None:
        """AssertionError unless `git fsck --strict` has nothing to say."""
        fsck(self.archive.folder)

    def tree(self) -> dict[bytes, bytes]:
        """path in main's tree → object id."""
        return ls_tree(self.archive.folder, "refs/heads/main")


def row_of(version: Version) -> tuple[object, ...]:
    """All of a version but its commit."""
    return (
        version.id, version.notebook, version.path, str(version.moment), version.saved_at, version.size,
        version.sha256, version.cells, version.source_chars, version.status, version.trigger, version.tip,
        version.root, version.install, version.boot, version.previous, version.renamed_from, version.signature,
        version.pinned, version.accepted,
    )  # fmt: skip


def git(folder: str, *arguments: str, data: bytes | None = None) -> bytes:
    """Stock git with an environment of its own, as a person would run it."""
    done = subprocess.run(
        ["git", "-c", "user.name=somebody", "-c", "user.email=else@localhost", f"--git-dir={folder}", *arguments],
        input=data,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def fsck(folder: str) -> None:
    """AssertionError unless `git fsck --strict` has nothing to say."""
    done = subprocess.run(
        ["git", f"--git-dir={folder}", "fsck", "--strict", "--no-dangling", "--no-progress"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    said = [
        line for line in (done.stdout + done.stderr).splitlines() if b"unborn" not in line and b"No default" not in line
    ]
    assert (done.returncode, said) == (0, []), (done.returncode, said[:20])


def ls_tree(folder: str, treeish: str) -> dict[bytes, bytes]:
    """path → object id, from `git ls-tree -r -z`."""
    found = {}
    for row in git(folder, "ls-tree", "-r", "-z", "--full-tree", treeish).split(b"\0")[:-1]:
        head, _, path = row.partition(b"\t")
        found[path] = head.split()[2]
    return found


def blob_id(data: bytes) -> bytes:
    """git's name of a blob, as hex."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest().encode()


def leftovers(places: Places) -> list[str]:
    """Files that only a crash leaves behind."""
    found = []
    for folder in _folders(places):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        found += [
            os.path.join(folder, name)
            for name in names
            if (name.endswith(".lock") and name not in ("nbguard.lock", "boots.lock"))
            or name.startswith(("tmp_", ".tmp-", ".nbguard-"))
            or folder.endswith("/tmp")
            or (name.endswith(".pack") and name[:-5] + ".idx" not in names)
        ]
    return found


def _folders(places: Places) -> Iterable[str]:
    for part in ("", "refs/heads", "refs/nbguard", "objects/pack", "objects/info"):
        yield os.path.join(places.archive, part)
    for spool in (places.spool, os.path.join(places.emergency, "spool")):
        yield os.path.join(spool, "tmp")
