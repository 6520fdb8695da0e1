"""Everything kept, in memory: a Library with a Keep that reads the real disk, for tests of what stands on them."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from nbguard.errors import NothingMatched, Refused
from nbguard.model import DraftKind, Moment, NotebookEntry, Status, Trigger, Version
from nbguard.notebook import measure

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class MemoryLibrary:
    """Versions in the order they were given; ``now`` moves a minute per version unless told otherwise."""

    def __init__(self, *, root: str = "/") -> None:
        self.root = root
        self.now = START
        self.versions: list[Version] = []
        self.data: dict[str, bytes] = {}
        self.kept: list[tuple[str, Trigger]] = []
        self._numbers = itertools.count(1)

    # What tests put in.

    def add(
        self,
        path: str,
        data: bytes,
        *,
        at: datetime | None = None,
        status: Status | None = None,
        trigger: Trigger = Trigger.WATCH,
        renamed_from: str | None = None,
        tip: bool = True,
    ) -> Version:
        """Keep ``data`` as the newest version of ``path``."""
        found = measure(data)
        judged = status or (Status.OK if found else Status.DAMAGED)
        return self._append(
            path,
            data,
            at=at,
            status=judged,
            trigger=trigger,
            renamed_from=renamed_from,
            tip=tip,
            cells=found.cells if found else None,
        )

    def delete(self, path: str, *, at: datetime | None = None) -> Version:
        """Put a tombstone at ``path``."""
        return self._append(path, None, at=at, status=Status.DELETED, trigger=Trigger.SWEEP)

    def decide(self, kind: DraftKind, version: Version) -> None:
        """A human's word on a version."""
        at = next(at for at, known in enumerate(self.versions) if known.id == version.id)
        known = self.versions[at]
        self.versions[at] = (
            replace(known, pinned=True)
            if kind is DraftKind.PIN
            else replace(known, accepted=True, status=Status.OK if known.status is Status.EMPTIED else known.status)
        )

    def keep(self, path: str, trigger: Trigger) -> Version:
        """The Keep port: read the disk now; the same version again when nothing changed."""
        self.kept.append((path, trigger))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Refused(f"cannot read {path!r}: {error.strerror}") from error
        latest = self._latest(path)
        if latest is not None and latest.sha256 == sha256(data).hexdigest():
            return latest
        return self.add(path, data, trigger=trigger)

    # The Library port.

    def entries(self, *, deleted: bool) -> list[NotebookEntry]:
        found = []
        for notebook in {version.notebook for version in self.versions}:
            log = self.log(notebook)
            if (log[0].status is Status.DELETED) == deleted:
                found.append(NotebookEntry(notebook=notebook, path=log[0].path, versions=len(log), latest=log[0]))
        return sorted(found, key=lambda entry: entry.latest.moment, reverse=True)

    def named(self, path: str) -> list[tuple[str, str]]:
        newest_first = [version for version in reversed(self.versions) if version.path == path]
        present = [version for version in newest_first if self.log(version.notebook)[0].path == path]
        return [(path, notebook) for notebook in dict.fromkeys(v.notebook for v in (*present, *newest_first))]

    def ending(self, tail: str) -> list[tuple[str, str]]:
        latest = [self.log(notebook)[0] for notebook in dict.fromkeys(v.notebook for v in self.versions)]
        return [(version.path, version.notebook) for version in latest if version.path.endswith("/" + tail)]

    def log(self, notebook: str) -> list[Version]:
        return [version for version in reversed(self.versions) if version.notebook == notebook]

    def version(self, version_id: str) -> Version | None:
        return next((version for version in self.versions if version.id == version_id), None)

    def everything_at(self, when: datetime) -> list[Version]:
        then: dict[str, Version] = {}
        for version in self.versions:
            if version.saved_at <= when and version.tip:
                if version.renamed_from:
                    then.pop(version.renamed_from, None)
                then[version.path] = version
        return [version for version in then.values() if version.status is not Status.DELETED]

    def read(self, version: Version) -> bytes:
        if version.sha256 is None:
            raise NothingMatched("a tombstone has no bytes")
        return self.data[version.id]

    def close(self) -> None:
        """As the real one."""

    def _latest(self, path: str) -> Version | None:
        return next((version for version in reversed(self.versions) if version.path == path), None)

    def _append(
        self,
        path: str,
        data: bytes | None,
        *,
        at: datetime | None,
        status: Status,
        trigger: Trigger,
        renamed_from: str | None = None,
        tip: bool = True,
        cells: int | None = None,
    ) -> Version:
        path = os.fspath(path)
        number = next(self._numbers)
        self.now = at or self.now + timedelta(minutes=1)
        identity = sha256(f"version {number}".encode()).hexdigest()[:32]
        before = self._latest(renamed_from or path)
        version = Version(
            id=identity,
            notebook=before.notebook if before else identity,
            path=path,
            moment=Moment(1, number, 0),
            saved_at=self.now,
            size=len(data or b""),
            sha256=None if data is None else sha256(data).hexdigest(),
            cells=cells,
            source_chars=cells,
            status=status,
            trigger=trigger,
            tip=tip,
            root=self.root,
            install="test",
            boot="boot",
            previous=before.id if before else None,
            renamed_from=renamed_from,
        )
        self.versions.append(version)
        if data is not None:
            self.data[identity] = data
        return version
