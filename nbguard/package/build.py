"""Making a package: choose, read and check every version, write it aside, read the zip back, give it its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from nbguard import __version__
from nbguard.clock import iso
from nbguard.errors import NbguardError, storage_trouble
from nbguard.model import Version
from nbguard.package.aside import Aside
from nbguard.package.bundle import BundleFailed, FreshHistory, MessageOf, TreePath
from nbguard.package.checking import check
from nbguard.package.contents import Chosen, Member, Missing, Order, PackageReport
from nbguard.package.first_words import first_words
from nbguard.package.manifest import FORMAT, Rows, document, member_row, missing_row, path_fields, version_row
from nbguard.package.members import BUNDLE, NOTEBOOKS, VERSIONS, EscapeComponent, Names, stamp
from nbguard.package.restore_script import MAIN, RESTORE
from nbguard.package.selection import as_of, faces, is_deleted
from nbguard.package.staging import Staged
from nbguard.package.zip_writing import ZipWriting
from nbguard.ports import Library, Progress

ReadVersion = Callable[[Version], Iterator[bytes]]
"""The bytes of a version, piece by piece, not yet checked. Raises NbguardError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a package is made from, as the composition root hands it over."""

    library: Library
    read: ReadVersion
    escape: EscapeComponent
    tree_path: TreePath
    message_of: MessageOf
    now: Callable[[], datetime]


def build(parts: Parts, order: Order, target: str, progress: Progress) -> PackageReport:
    """Make the package at the absolute path ``target``, where nothing may be yet.

    It is read back and checked before it has that name; when this is interrupted, nothing has. What cannot be read is
    named in the report and in the package. Raises Refused, StorageTrouble.
    """
    with Aside(target) as aside:
        try:
            building = _Building(parts, order, aside)
            try:
                return building.run(progress)
            finally:
                building.close()
        except OSError as error:
            raise storage_trouble(error, f"cannot make a package in {os.path.dirname(target)}") from error


class _Building:
    """One package in the making."""

    def __init__(self, parts: Parts, order: Order, aside: Aside) -> None:
        self._parts, self._order, self._aside = parts, order, aside
        self._names = Names(parts.escape)
        self._missing = list(order.known_missing)
        self._member_rows = Rows(aside.path("members"))
        self._version_rows = Rows(aside.path("versions"))
        self._notebook_rows = Rows(aside.path("notebooks"))
        self._zip = ZipWriting(aside.path("package"))
        self._history: FreshHistory | None = None
        self._total = sum(chosen.versions for chosen in order.notebooks)
        self._versions = 0
        self._tops: set[str] = set()
        try:
            self._history = FreshHistory(
                aside.path("history.git"), message_of=parts.message_of, tree_path=parts.tree_path
            )
        except BundleFailed as error:
            self._no_bundle(error)

    def run(self, progress: Progress) -> PackageReport:
        for chosen in self._order.notebooks:
            self._notebook(chosen, progress)
        self._bundle()
        manifest = self._last_words()
        self._zip.finish()
        size, digest = check(self._aside.path("package"), self._member_rows, manifest, progress)
        self._aside.place("package")
        return PackageReport(
            written_to=self._aside.target,
            members=self._member_rows.count + 1,
            bytes=size,
            notebooks=self._notebook_rows.count,
            versions=self._versions,
            sessions=0,
            sha256=digest,
            missing=tuple(self._missing),
        )

    def close(self) -> None:
        self._zip.abandon()
        for rows in (self._member_rows, self._version_rows, self._notebook_rows):
            rows.close()
        if self._history is not None:
            self._history.close()

    # -- notebooks -------------------------------------------------------------------------------------------------

    def _notebook(self, chosen: Chosen, progress: Progress) -> None:
        versions = as_of(self._parts.library.log(chosen.notebook), chosen.newest, self._order.at)
        folder = self._names.folder_for(VERSIONS, chosen.path)
        where: dict[str, str] = {}
        for version in versions:
            progress(self._version_rows.count, max(self._total, self._version_rows.count + 1))
            member = self._version(version, folder, where)
            self._version_rows.add(version_row(version, member, _source(version)))
        face = next((version for version in faces(versions) if version.sha256 in where), None)
        member = self._face(chosen, face) if face is not None else None
        self._notebook_rows.add(
            {
                "notebook": chosen.notebook,
                **path_fields(chosen.path),
                "member": member,
                "version": face.id if face is not None and member is not None else None,
                "saved_at": iso(face.saved_at) if face is not None else None,
                "versions": len(versions),
                "deleted": is_deleted(versions),
                "newest_status": str(versions[-1].status) if versions else None,
            }
        )

    def _version(self, version: Version, folder: str, where: dict[str, str]) -> str | None:
        """The member that holds its bytes; None for a tombstone, and where they cannot be read."""
        if version.sha256 is None:
            self._remember(version, None)
            return None
        if version.sha256 in where:
            self._remember(version, None)
            self._versions += 1
            return where[version.sha256]
        try:
            staged = Staged(self._parts.read(version), version, self._aside.path("staged"))
        except NbguardError as error:
            self._missing.append(_missing_version(version, error))
            return None
        with staged:
            name = self._names.inside(folder, f"{stamp(version.saved_at)}-{version.id[:8]}", _extension(version.path))
            self._write(name, staged, version)
            self._remember(version, staged)
        self._versions += 1
        where[version.sha256] = name
        return name

    def _face(self, chosen: Chosen, version: Version) -> str | None:
        """A notebook at its own path, in its last good state."""
        try:
            staged = Staged(self._parts.read(version), version, self._aside.path("staged"))
        except NbguardError as error:
            self._missing.append(_missing_version(version, error))
            return None
        with staged:
            name = self._names.file(NOTEBOOKS, chosen.path)
            self._write(name, staged, version, chosen.path)
        return name

    def _write(self, name: str, staged: Staged, version: Version, original: str | None = None) -> None:
        self._add(
            self._zip.add(
                name,
                staged.chunks(),
                size=staged.size,
                time=version.saved_at,
                source=f"{_source(version)} version {version.id}",
                original_path=original or version.path,
            )
        )

    def _remember(self, version: Version, staged: Staged | None) -> None:
        """For the bundle; ``staged`` is None when git has the bytes already."""
        if self._history is None:
            return
        try:
            self._history.add(version, *((staged.size, staged.chunks()) if staged is not None else (0, ())))
        except BundleFailed as error:
            self._no_bundle(error)

    # -- the rest --------------------------------------------------------------------------------------------------

    def _bundle(self) -> None:
        if self._history is None:
            return
        path = self._aside.path("bundle")
        try:
            if not self._history.finish(self._parts.library.version, path):
                return
        except BundleFailed as error:
            self._no_bundle(error)
            return
        self._add_file(BUNDLE, path, source="nbguard", packed=True)

    def _no_bundle(self, error: BundleFailed) -> None:
        if self._history is not None:
            self._history.close()
            self._history = None
        self._missing.append(Missing(what="git bundle", reason=str(error)))

    def _last_words(self) -> Member:
        made_at = self._parts.now()
        self._add_bytes("restore.py", RESTORE, made_at)
        self._add_bytes("__main__.py", MAIN, made_at)
        self._tops |= {"restore.py", "MANIFEST.json"}
        text = first_words(
            places=sorted(self._tops),
            counts=f"{self._notebook_rows.count} notebooks, {self._versions} versions",
            made_at=made_at,
            made_by=f"nbguard {__version__}",
            at=self._order.at,
            missing=self._missing,
        )
        self._add_bytes("READ-ME-FIRST.txt", text.encode("utf-8"), made_at)
        head: dict[str, object] = {
            "format": FORMAT,
            "made_by": f"nbguard {__version__}",
            "made_at": iso(made_at),
            "everything": self._order.everything,
            "at": None if self._order.at is None else iso(self._order.at),
            "missing": [missing_row(item) for item in self._missing],
        }
        rows = {"notebooks": self._notebook_rows, "versions": self._version_rows, "members": self._member_rows}
        size = sum(os.path.getsize(each.path) for each in rows.values())
        return self._zip.add("MANIFEST.json", document(head, rows), size=size, time=made_at, source="nbguard")

    def _add_bytes(self, name: str, data: bytes, time: datetime) -> None:
        self._add(self._zip.add(name, [data], size=len(data), time=time, source="nbguard"))

    def _add_file(self, name: str, path: str, *, source: str, packed: bool) -> None:
        with open(path, "rb") as file:
            chunks = iter(lambda: file.read(1 << 20), b"")
            size = os.fstat(file.fileno()).st_size
            self._add(self._zip.add(name, chunks, size=size, time=self._parts.now(), source=source, packed=packed))

    def _add(self, member: Member) -> None:
        self._member_rows.add(member_row(member))
        self._tops.add(member.path.partition("/")[0])


def _missing_version(version: Version, error: NbguardError) -> Missing:
    return Missing(what="version", reason=error.message, path=version.path, id=version.id, time=version.saved_at)


def _source(version: Version) -> str:
    return "archive" if version.commit is not None else "spool"


def _extension(path: str) -> str:
    return ".ipynb" if path.endswith(".ipynb") else ""
