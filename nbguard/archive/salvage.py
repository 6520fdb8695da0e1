"""What can still be read of an archive whose history is broken: each commit by itself, whatever leads to it."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.archive.catalog import Catalog
from nbguard.archive.folding import Folder
from nbguard.archive.repository import Archive
from nbguard.archive.trailers import Decision, records_in
from nbguard.errors import ArchiveTrouble, NbguardError
from nbguard.git import EMAIL
from nbguard.model import Version


def salvage(archive: Archive, catalog: Catalog, folder: Folder) -> list[tuple[str, NbguardError]]:
    """Fill an empty catalog, which ``folder`` works on, with every commit and every draft that can be read.

    Returns what cannot be read at all (``archive``, ``spool``), and why.
    """
    records: list[Version | Decision] = []
    troubles: list[tuple[str, NbguardError]] = []
    try:
        if archive.exists():
            for record in _records(archive):
                records.append(record)  # noqa: PERF402 - what was read before it broke counts
    except NbguardError as error:
        troubles.append(("archive", error))
    catalog.begin()
    for record in sorted(records, key=lambda record: (record.moment, record.id)):
        if isinstance(record, Version):
            catalog.add(record)
        else:
            catalog.decide(record)
    catalog.commit()
    catalog.begin()
    try:
        folder.fold_spool_anew()
        catalog.commit()
    except NbguardError as error:
        catalog.rollback()
        troubles.append(("spool", error))
    return troubles


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
