"""A vanished or broken archive is made anew: from the best copy there is, and from what of the broken one can be read.

The copy gives the history up to some commit. Every version that the catalog knows beyond it is read from the broken
archive, compared with its SHA-256, and put back into the spool under its own id, from where it is packed again. Only
then is the broken archive moved aside, whole, and the new one put in its place. What nobody has is named.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from nbguard.archive.catalog import Catalog
from nbguard.archive.incoming import Incoming, move_aside
from nbguard.archive.names import tree_path
from nbguard.archive.repository import MAIN, RECORDS, Archive, records_of
from nbguard.archive.spool import Spool
from nbguard.cat_file import CatFile
from nbguard.durable import make_private_folder, replace_durably
from nbguard.errors import ArchiveTrouble, NoArchive, storage_trouble
from nbguard.git import GitFolder
from nbguard.model import Draft, DraftKind, Version

BRANCHES = {"main": MAIN, "records": RECORDS}
CAREFUL = ("transfer.fsckObjects=true", "fetch.unpackLimit=1", "core.fsync=all", "maintenance.auto=false")
_MOST_TIPS = 200


@dataclass(frozen=True, slots=True)
class Source:
    """A copy of the archive: its name for people, and ``fetch``, which brings its branches into the bare repository of
    that path as ``<prefix>main`` and ``<prefix>records`` (those it has). Raises ArchiveTrouble."""

    name: str
    fetch: Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was done: the copy that was used, where the broken archive lies now (None: there was none), how many
    versions came back through the spool, and which nobody has any more."""

    source: str
    aside: str | None
    back: int
    lost: tuple[Version, ...]


def broken(archive: Archive) -> str:
    """What is wrong with the objects of an archive, as git says it; empty when all of them are sound. Slow."""
    try:
        archive.git.ask("fsck", "--full", "--no-dangling", "--no-progress", timeout_seconds=7200.0)
    except ArchiveTrouble as trouble:
        return trouble.message
    return ""


def rebuild(archive: Archive, *, spool: Spool, catalog: Catalog, records: str, sources: Sequence[Source]) -> Rebuilt:
    """Make the archive anew; ``records`` is the folder of the record log. Use it where nothing else packs.

    Raises NoArchive, or ArchiveTrouble, where no copy answers, StorageTrouble, Busy; then what was there still is, and
    what was put into the spool meanwhile is only there twice.
    """
    is_there = os.path.lexists(archive.folder)
    with Incoming(archive) as incoming:
        source = _take_best(incoming, sources, _own_copies(archive) if is_there else ())
        if source is None:  # then an empty one would take its place
            raise _no_copy(archive, is_there=is_there)
        incoming.check()
        with _Salvage(archive, incoming, catalog, spool) as salvage:
            back, lost = salvage.versions()
            salvage.records(records)
        aside = move_aside(archive, "broken") if is_there else None
        incoming.put()
    return Rebuilt(source=source.name, aside=aside, back=back, lost=tuple(lost))


def _no_copy(archive: Archive, *, is_there: bool) -> NoArchive | ArchiveTrouble:
    if is_there:
        return ArchiveTrouble(
            f"the archive {archive.folder} is damaged, and neither it nor any copy gives a sound history",
            hint="check the disk, and git (`nbguard doctor`); a mirror mends it; nothing is let go from the spool",
        )
    return NoArchive(
        f"the archive {archive.folder} has vanished, and no copy of it answers",
        hint="bring it back, or a mirror of it; what was kept since lies in the spool and is not lost",
    )


def _take_best(incoming: Incoming, sources: Sequence[Source], own: Iterable[Source]) -> Source | None:
    """Fetch from each, and from the first of our ``own`` that is sound; let the branches of the one with the longest
    history stand. None when none answers."""
    best: tuple[int, Source, str] | None = None
    for number, source in enumerate(itertools.chain(sources, own)):
        prefix = f"refs/copies/{number}/"
        try:
            source.fetch(incoming.folder, prefix)
            tips = [tip for name in BRANCHES if (tip := incoming.git.tip(prefix + name)) is not None]
            length = int(incoming.git.ask("rev-list", "--count", *tips)) if tips else 0
        except ArchiveTrouble:
            continue
        if length and (best is None or length > best[0]):
            best = (length, source, prefix)
        if number >= len(sources):
            break
    if best is not None:
        for name, ref in BRANCHES.items():
            if (tip := incoming.git.tip(best[2] + name)) is not None:
                incoming.git.run("update-ref", ref, tip)
    for line in incoming.git.ask("for-each-ref", "--format=%(refname)", "refs/copies/").decode().split():
        incoming.git.run("update-ref", "-d", line)
    return best[1] if best is not None else None


def _own_copies(archive: Archive) -> Iterator[Source]:
    """The broken archive itself, at tips from before the damage: what was verified last, then further and further back
    in what the branch named."""
    tips = list(dict.fromkeys([*_tips_named(archive), archive.verified_tip() or ""]))
    tips = [tip for tip in tips if tip]
    step = at = 0
    while at < len(tips):
        yield Source("what is sound of the broken archive", _fetching(archive, tips[at]))
        step = max(1, 2 * step)
        at += step


def _tips_named(archive: Archive) -> list[str]:
    """What main named, the newest first (git's own log of it)."""
    tips = [archive.git.tip(MAIN) or ""]
    try:
        with open(os.path.join(archive.folder, "logs", MAIN), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()[-_MOST_TIPS:]
    except OSError:
        return tips
    return tips + [line.split()[1] for line in reversed(lines) if len(line.split()) > 2]


def _fetching(archive: Archive, tip: str) -> Callable[[str, str], None]:
    def fetch(into: str, prefix: str) -> None:
        _pull(archive, into, tip, f"{prefix}main")
        if (records := archive.git.tip(RECORDS)) is not None:
            try:
                _pull(archive, into, records, f"{prefix}records")
            except ArchiveTrouble:
                return  # executed cells are damaged: those that can be read are salvaged one by one

    return fetch


def _pull(archive: Archive, into: str, tip: str, ref: str) -> None:
    """A commit and all it needs, each object checked on the way: a damaged one ends it. Raises ArchiveTrouble."""
    words = [*archive.git.command()[:3], "-c", "uploadpack.allowAnySHA1InWant=true", "upload-pack"]
    GitFolder(into, CAREFUL).ask(
        *("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--quiet"),
        *(f"--upload-pack={shlex.join(words)}", archive.folder, f"+{tip}:{ref}"),
        timeout_seconds=7200.0,
    )


class _Salvage:
    """Puts back into the spool what a new archive lacks and the old one can still give."""

    def __init__(self, archive: Archive, incoming: Incoming, catalog: Catalog, spool: Spool) -> None:
        self._archive = archive
        self._incoming = incoming
        self._catalog = catalog
        self._spool = spool
        self._objects: CatFile | None = None

    def __enter__(self) -> _Salvage:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def versions(self) -> tuple[int, list[Version]]:
        """How many came back, and which are lost. Raises StorageTrouble."""
        tip = self._incoming.git.tip(MAIN)
        there = {record.id for record in records_of(self._incoming.git, tip)} if tip is not None else set()
        back, lost = 0, []
        for identity in self._catalog.packed_ids():
            if identity in there or (version := self._catalog.version(identity)) is None:
                continue
            if self._spool.find(identity) is not None:
                continue  # an attempt before this one was interrupted
            if self._give_back(version):
                back += 1
            else:
                lost.append(version)
        for decision in self._catalog.packed_decisions():
            about = self._catalog.version(decision.about)
            if decision.id in there or about is None or self._spool.find(decision.id) is not None:
                continue
            draft = _draft(about, decision.id, decision.kind)
            self._spool.keep(replace(draft, moment=decision.moment, observed_at=decision.decided_at), b"")
        return back, lost

    def records(self, folder: str) -> None:
        """Segments of executed cells that only the old archive has go back to the record log. Raises StorageTrouble."""
        before, now = self._archive.git.tip(RECORDS), self._incoming.git.tip(RECORDS)
        if before is None or before == now:
            return
        there = set(_listed(self._incoming.git, now)) if now is not None else set()
        for oid, path in _listed(self._archive.git, before):
            if (oid, path) in there or (data := self._object(oid.encode("ascii"))) is None:
                continue
            target = os.path.join(folder, os.path.basename(path))
            try:
                make_private_folder(folder)
                if not os.path.lexists(target):
                    replace_durably(target, data)
            except OSError as error:
                raise storage_trouble(error, "cannot put executed cells back into the record log") from error

    def _give_back(self, version: Version) -> bool:
        """Put a version back into the spool; False when its bytes cannot be had. Raises StorageTrouble."""
        data: bytes | None = b""
        if version.sha256 is not None:
            data = self._object(f"{version.commit}:{tree_path(version.path)}".encode())
            if data is None or hashlib.sha256(data).hexdigest() != version.sha256:
                return False
        self._spool.keep(_draft(version, version.id, DraftKind.VERSION), data or b"")
        return True

    def _object(self, name: bytes) -> bytes | None:
        """An object of the old archive; None when it cannot be read."""
        if not os.path.isdir(self._archive.folder):
            return None
        if self._objects is None:
            self._objects = self._archive.git.cat_file()
        try:
            return self._objects.read(name)
        except (ArchiveTrouble, OSError):
            self._close()  # git ends at an object that is broken: the next answer comes from a new one
            return None

    def _close(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None


def _draft(version: Version, identity: str, kind: DraftKind) -> Draft:
    """The draft that a version was; a decision is kept beside the version that it is about."""
    is_version = kind is DraftKind.VERSION
    return Draft(
        id=identity,
        kind=DraftKind.TOMBSTONE if is_version and version.sha256 is None else kind,
        path=version.path,
        moment=version.moment,
        boot=version.boot,
        observed_at=version.saved_at,
        trigger=version.trigger,
        root=version.root,
        install=version.install,
        size=version.size if is_version else 0,
        sha256=version.sha256 if is_version else None,
        signature=version.signature if is_version else None,
        tip=version.tip,
        renamed_from=version.renamed_from if is_version else None,
        about=None if is_version else version.id,
    )


def _listed(git: GitFolder, tip: str) -> list[tuple[str, str]]:
    """(blob, path) of every segment; none where the tree cannot be read."""
    try:
        answer = git.ask("ls-tree", "-r", "-z", tip).decode("utf-8", "replace")
    except ArchiveTrouble:
        return []
    rows = [row.partition("\t") for row in answer.split("\0") if row]
    return [(head.split()[2], path) for head, _, path in rows]
