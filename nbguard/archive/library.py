"""Everything kept, for reading: the catalog answers, bytes come from spool or archive alike."""

from __future__ import annotations

import hashlib
from datetime import datetime

from nbguard.archive.catalog import Catalog
from nbguard.archive.names import tree_path
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Spool
from nbguard.cat_file import CatFile
from nbguard.errors import ArchiveTrouble, NothingMatched
from nbguard.model import NotebookEntry, Version


class ArchiveLibrary:
    """The Library port over one catalog, one spool and one archive."""

    def __init__(self, *, catalog: Catalog, archive: Archive, spool: Spool) -> None:
        self._catalog = catalog
        self._archive = archive
        self._spool = spool
        self._objects: CatFile | None = None

    def entries(self, *, deleted: bool) -> list[NotebookEntry]:
        return [
            NotebookEntry(notebook=latest.notebook, path=latest.path, versions=count, latest=latest)
            for count, latest in self._catalog.entries(deleted=deleted)
        ]

    def named(self, path: str) -> list[tuple[str, str]]:
        return self._catalog.named(path)

    def ending(self, tail: str) -> list[tuple[str, str]]:
        return self._catalog.ending(tail)

    def log(self, notebook: str) -> list[Version]:
        return self._catalog.log(notebook)

    def version(self, version_id: str) -> Version | None:
        return self._catalog.version(version_id)

    def everything_at(self, when: datetime) -> list[Version]:
        return self._catalog.everything_at(when)

    def read(self, version: Version) -> bytes:
        """The exact bytes, checked. Raises ArchiveTrouble; NothingMatched for a tombstone."""
        if version.sha256 is None:
            raise NothingMatched(
                f"version {version.id[:10]} records a deletion and has no bytes",
                hint="choose an older one from `nbguard log`",
            )
        data = self._bytes(version)
        if hashlib.sha256(data).hexdigest() != version.sha256:
            raise ArchiveTrouble(
                f"version {version.id[:10]} of {version.path} is not what was kept",
                hint="see `nbguard doctor`; choose another version meanwhile",
            )
        return data

    def _bytes(self, version: Version) -> bytes:
        if version.commit is None:
            data = self._spool.read(version.id)
            if data is not None:
                return data
            # Packed since the catalog was asked: it may know by now, or only the archive does.
            again = self._catalog.version(version.id)
            if again is not None and again.commit is not None:
                return self._object(again.commit, version)
            tip = self._archive.tip()
            for record in self._archive.records(tip, after=self._catalog.tip) if tip is not None else ():
                if record.id == version.id and record.commit is not None:
                    return self._object(record.commit, version)
            raise ArchiveTrouble(
                f"version {version.id[:10]} is in neither spool nor archive", hint="see `nbguard doctor`"
            )
        return self._object(version.commit, version)

    def _object(self, commit: str, version: Version) -> bytes:
        name = f"{commit}:{tree_path(version.path)}".encode()
        if self._objects is not None:
            try:
                return self._objects.read(name)
            except ArchiveTrouble:
                self.close()  # git ends at an object that is broken: the next answer comes from a new one
        self._objects = self._archive.git.cat_file()
        try:
            return self._objects.read(name)
        except ArchiveTrouble:
            self.close()
            raise

    def close(self) -> None:
        """End the git child, if one was needed."""
        if self._objects is not None:
            self._objects.close()
            self._objects = None
