"""One notebook into the package: every version, and itself at its own path in its last good state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nbguard.clock import iso
from nbguard.errors import NbguardError
from nbguard.model import Status, Version
from nbguard.package.bundle import BundleFailed, FreshHistory
from nbguard.package.contents import Chosen, Missing
from nbguard.package.manifest import path_fields, version_row
from nbguard.package.members import NOTEBOOKS, PAGES, VERSIONS, stamp
from nbguard.package.selection import faces, is_deleted
from nbguard.package.sink import Sink
from nbguard.package.staging import Staged
from nbguard.package.timeline_page import Event

ReadVersion = Callable[[Version], Iterator[bytes]]
"""The bytes of a version, piece by piece, not yet checked. Raises NbguardError."""
AsPage = Callable[[bytes, str, str], str]
"""A notebook as an inert HTML page (bytes, name, subtitle). Raises NbguardError when it is none."""

_LARGEST_PAGE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of one notebook: its best version and where it lies (None: nothing could be read), its timeline."""

    face: Version | None
    member: str | None
    page: str | None
    versions: int
    events: list[Event]


class NotebookPacking:
    """Puts notebooks in, one after the other. Methods raise OSError."""

    def __init__(self, sink: Sink, *, read: ReadVersion, as_page: AsPage, history: FreshHistory | None) -> None:
        self._sink, self._read, self._as_page, self.history = sink, read, as_page, history

    def pack(self, chosen: Chosen, versions: Sequence[Version], each: Callable[[], None]) -> Packed:
        """``versions`` are oldest first; ``each`` is called before every one of them."""
        folder = self._sink.names.folder_for(VERSIONS, chosen.path) if versions else ""
        where: dict[str, str] = {}
        events: list[Event] = []
        count = 0
        for version in versions:
            each()
            member = self._version(version, folder, where)
            self._sink.versions.add(version_row(version, member, source_of(version)))
            events.append(_event(version, member))
            count += member is not None
        face, member, page = self._face(chosen, [version for version in faces(versions) if version.sha256 in where])
        self._sink.notebooks.add(
            {
                "notebook": chosen.notebook or None,
                **path_fields(chosen.path),
                "member": member,
                "version": face.id if face is not None else None,
                "saved_at": iso(face.saved_at) if face is not None else None,
                "versions": len(versions),
                "deleted": is_deleted(versions),
                "newest_status": str(versions[-1].status) if versions else None,
            }
        )
        return Packed(face=face, member=member, page=page, versions=count, events=events)

    def drop_history(self, error: BundleFailed) -> None:
        """Go on without the bundle."""
        if self.history is not None:
            self.history.close()
            self.history = None
        self._sink.missing.append(Missing(what="git bundle", reason=str(error)))

    def _version(self, version: Version, folder: str, where: dict[str, str]) -> str | None:
        """The member that holds its bytes; None for a tombstone, and where they cannot be read."""
        if version.sha256 is None or version.sha256 in where:  # equal bytes are there once
            self._remember(version, None)
            return where.get(version.sha256 or "")
        staged = self._staged(version)
        if staged is None:
            return None
        with staged:
            stem, extension = f"{stamp(version.saved_at)}-{version.id[:8]}", _extension(version.path)
            name = self._sink.names.inside(folder, stem, extension)
            self._write(name, staged, version, version.path)
            self._remember(version, staged)
        where[version.sha256] = name
        return name

    def _face(self, chosen: Chosen, candidates: Sequence[Version]) -> tuple[Version | None, str | None, str | None]:
        """The notebook at its own path, in its last good state, and as a page to read."""
        for version in candidates[:1]:
            staged = self._staged(version)
            if staged is None:
                continue
            with staged:
                name = self._sink.names.file(NOTEBOOKS, chosen.path)
                self._write(name, staged, version, chosen.path)
                return version, name, self._page(chosen, staged, version)
        return None, None, None

    def _page(self, chosen: Chosen, staged: Staged, version: Version) -> str | None:
        if staged.size > _LARGEST_PAGE_BYTES:
            reason = f"the notebook has {staged.size:,} bytes, and pages are made of up to {_LARGEST_PAGE_BYTES:,}"
            self._sink.not_made.append(
                Missing(what="page to read", reason=reason, path=chosen.path, time=version.saved_at)
            )
            return None
        try:
            subtitle = f"as of {version.saved_at:%Y-%m-%d %H:%M:%S} UTC ({version.status})"
            text = self._as_page(b"".join(staged.chunks()), chosen.path, subtitle)
        except (NbguardError, ValueError, RecursionError):
            return None  # no readable notebook: its bytes are in the package, a page of them there cannot be
        name = self._sink.names.file(PAGES, f"{chosen.path}.html")
        self._sink.add_bytes(name, text.encode("utf-8", "replace"), time=version.saved_at)
        return name

    def _staged(self, version: Version) -> Staged | None:
        try:
            return Staged(self._read(version), version, self._sink.aside.path("staged"))
        except NbguardError as error:
            self._sink.missing.append(
                Missing(what="version", reason=error.message, path=version.path, id=version.id, time=version.saved_at)
            )
            return None

    def _write(self, name: str, staged: Staged, version: Version, original_path: str) -> None:
        source = f"{source_of(version)} version {version.id}"
        self._sink.add(
            name,
            staged.chunks(),
            size=staged.size,
            time=version.saved_at,
            source=source,
            original_path=original_path,
        )

    def _remember(self, version: Version, staged: Staged | None) -> None:
        """For the bundle; ``staged`` is None when git has the bytes already."""
        if self.history is None:
            return
        try:
            self.history.add(version, *((staged.size, staged.chunks()) if staged is not None else (0, ())))
        except BundleFailed as error:
            self.drop_history(error)


def source_of(version: Version) -> str:
    """Where nbguard has the bytes of a version."""
    return "archive" if version.commit is not None else "spool"


def _event(version: Version, member: str | None) -> Event:
    remark = "" if version.status is Status.OK else str(version.status)
    if version.renamed_from is not None:
        remark += f" was {version.renamed_from}"
    cells = "" if version.cells is None else f", {version.cells} cells"
    return Event(
        at=version.saved_at,
        what="deleted" if version.sha256 is None else f"version {version.id[:8]} ({version.trigger}){cells}",
        size="" if version.sha256 is None else f"{version.size:,} B",
        remark=remark.strip()
        if member is not None or version.sha256 is None
        else f"{remark} could not be read".strip(),
        links=(("open", member),) if member is not None else (),
    )


def _extension(path: str) -> str:
    return ".ipynb" if path.endswith(".ipynb") else ""
