"""Where a package's files go while it is made: the zip, their rows in the manifest, what is missing or not made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime

from nbguard.package.aside import Aside
from nbguard.package.contents import Member, Missing
from nbguard.package.manifest import Rows, member_row
from nbguard.package.members import EscapeComponent, Names
from nbguard.package.zip_writing import ZipWriting

OURS = "nbguard"
"""The source of what nbguard itself puts in."""


class Sink:
    """One package in the making. Methods raise OSError."""

    def __init__(self, aside: Aside, escape: EscapeComponent, known_missing: Iterable[Missing]) -> None:
        self.aside = aside
        self.names = Names(escape)
        self.missing = list(known_missing)
        self.not_made: list[Missing] = []
        self.tops: set[str] = set()
        self.members = Rows(aside.path("members"))
        self.versions = Rows(aside.path("versions"))
        self.notebooks = Rows(aside.path("notebooks"))
        self.sessions = Rows(aside.path("sessions"))
        self.zip = ZipWriting(aside.path("package"))

    def add(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        size: int,
        time: datetime,
        source: str,
        original_path: str | None = None,
        packed: bool = False,
    ) -> None:
        """Write one file of about ``size`` bytes; ``packed`` bytes are not deflated again."""
        self._note(
            self.zip.add(name, chunks, size=size, time=time, source=source, original_path=original_path, packed=packed)
        )

    def add_bytes(
        self, name: str, data: bytes, *, time: datetime, source: str = OURS, original_path: str | None = None
    ) -> None:
        """Write one file whose bytes are at hand."""
        self.add(name, [data], size=len(data), time=time, source=source, original_path=original_path)

    def add_file(
        self,
        name: str,
        path: str,
        *,
        time: datetime,
        source: str = OURS,
        original_path: str | None = None,
        packed: bool = False,
    ) -> None:
        """Write one file from the disk; a symlink is not followed."""
        with open(path, "rb", opener=_as_it_is) as file:
            chunks = iter(lambda: file.read(1 << 20), b"")
            size = os.fstat(file.fileno()).st_size
            self.add(name, chunks, size=size, time=time, source=source, original_path=original_path, packed=packed)

    def close(self) -> None:
        self.zip.abandon()
        for rows in (self.members, self.versions, self.notebooks, self.sessions):
            rows.close()

    def _note(self, member: Member) -> None:
        self.members.add(member_row(member))
        self.tops.add(member.path.partition("/")[0])


def _as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
