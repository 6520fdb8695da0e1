"""The composition root's page for packages: what they are made from, wired from the rooms.

The daemon makes one too, after a home was wiped: :func:`preload` brings in everything that is needed while it is still
there, and :func:`build_package` then asks for no home, no working folder and no file of the installation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbguard.app import Store, archive_of, open_store
from nbguard.clock import SystemClock
from nbguard.errors import NbguardError
from nbguard.model import Version
from nbguard.package.build import Parts, build
from nbguard.package.contents import Chosen, Missing, Order, PackageReport

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.ports import Library, Progress

_STREAM_OVER_BYTES = 16_000_000


def preload() -> None:
    """Import everything a package needs, so that later it can be made without the installation on disk."""
    "".encode("cp437")  # zipfile's names
    import nbguard.archive.library
    import nbguard.archive.streaming
    import nbguard.archive.trailers  # noqa: F401 - imported for later


def package_store(context: Context, progress: Progress) -> tuple[Store, tuple[Missing, ...]]:
    """Archive, spool and catalog, as far as they can be read; and what cannot. Raises NbguardError when nothing can."""
    store = open_store(context)
    missing: list[Missing] = []
    try:
        archive_of(context).require()
        store.folder.catch_up(progress)
    except (NbguardError, sqlite3.Error, OSError) as error:
        missing.append(_missing_archive(error))
        try:
            store.folder.catch_up(progress)
        except (NbguardError, sqlite3.Error, OSError):
            pass  # what the catalog knows already is what there is
    missing += [
        Missing(what="spooled draft", id=name.rpartition("-")[2], reason=trouble.message)
        for name, trouble in store.folder.unreadable.items()
    ]
    return store, tuple(missing)


def parts_of(store: Store) -> Parts:
    """What a package is made from."""
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.archive.names import escape_component, fast_import_path, tree_path
    from nbguard.archive.streaming import stream
    from nbguard.archive.trailers import subject_of, trailers_of

    library = ArchiveLibrary(catalog=store.catalog, archive=store.archive, spool=store.spool)

    def read(version: Version) -> Iterator[bytes]:
        if version.size > _STREAM_OVER_BYTES:
            yield from stream(store.archive, store.spool, version)
        else:
            yield library.read(version)

    return Parts(
        library=library,
        read=read,
        escape=escape_component,
        tree_path=lambda path: fast_import_path(tree_path(path)),
        message_of=lambda version: f"{subject_of(version)}\n\n{trailers_of(version)}",
        now=SystemClock().now,
    )


def everything_in(library: Library) -> tuple[Chosen, ...]:
    """Every notebook, deleted ones too, as it is now."""
    return tuple(
        Chosen(path=entry.path, notebook=entry.notebook, versions=entry.versions)
        for deleted in (False, True)
        for entry in library.entries(deleted=deleted)
    )


def build_package(parts: Parts, order: Order, target: str, progress: Progress) -> PackageReport:
    """Make the package at the absolute path ``target``. Raises Refused, StorageTrouble."""
    return build(parts, order, target, progress)


def _missing_archive(error: Exception) -> Missing:
    return Missing(what="archive", reason=error.message if isinstance(error, NbguardError) else str(error))
