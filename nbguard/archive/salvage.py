"""What can still be read of an archive whose history is broken: each commit by itself, whatever leads to it."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.archive.catalog import Catalog
from nbguard.archive.folding import Folder
from nbguard.archive.repository import Archive
from nbguard.archive.trailers import Decision, records_in
from nbguard.errors import ArchiveTrouble
from nbguard.git import EMAIL
from nbguard.model import Version


def salvage(archive: Archive, catalog: Catalog, folder: Folder) -> None:
    """Fill an empty catalog, which ``folder`` works on, with every commit and every draft that can be read.

    Raises ArchiveTrouble when not even the list of objects can be, StorageTrouble.
    """
    records = sorted(_records(archive), key=lambda record: (record.moment, record.id)) if archive.exists() else []
    catalog.begin()
    try:
        for record in records:
            if isinstance(record, Version):
                catalog.add(record)
            else:
                catalog.decide(record)
        folder.fold_spool_anew()
        catalog.commit()
    except BaseException:
        catalog.rollback()
        raise


def _records(archive: Archive) -> Iterator[Version | Decision]:
    objects = archive.git.cat_file()
    try:
        for commit in _commits(archive):
            try:
                head, _, message = objects.read(commit).partition(b"\n\n")
            except ArchiveTrouble:
                objects.close()  # git ends at an object that is broken
                objects = archive.git.cat_file()
                continue
            if f"<{EMAIL}>".encode() not in head:
                continue
            try:
                yield from records_in(message.decode("utf-8", "replace"), commit.decode("ascii"))
            except ArchiveTrouble:
                continue
    finally:
        objects.close()


def _commits(archive: Archive) -> list[bytes]:
    found = []
    rows = archive.git.lines("cat-file", "--batch-all-objects", "--batch-check", "--unordered", separator=b"\n")
    try:
        for row in rows:
            fields = row.split()
            if len(fields) == 3 and fields[1] == b"commit":
                found.append(fields[0])
    except ArchiveTrouble:
        if not found:
            raise
    return found
