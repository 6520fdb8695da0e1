"""What a broken archive can still give: versions go back to the spool, executed cells to the record log."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from nbguard.archive.catalog import Catalog
from nbguard.archive.incoming import Incoming
from nbguard.archive.names import tree_path
from nbguard.archive.repository import MAIN, RECORDS, Archive, records_of
from nbguard.archive.spool import Spool
from nbguard.cat_file import CatFile
from nbguard.durable import make_private_folder, replace_durably
from nbguard.errors import ArchiveTrouble, storage_trouble
from nbguard.git import GitFolder
from nbguard.model import Draft, DraftKind, Version


class Salvage:
    """Puts back into the spool what a new archive lacks and the old one can still give."""

    def __init__(self, archive: Archive, incoming: Incoming, catalog: Catalog, spool: Spool) -> None:
        self._archive = archive
        self._incoming = incoming
        self._catalog = catalog
        self._spool = spool
        self._objects: CatFile | None = None

    def __enter__(self) -> Salvage:
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
