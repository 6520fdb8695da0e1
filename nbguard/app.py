"""The one composition root: it wires the rooms for each command, and imports them only where they are used.

`app_health` and `app_daemon` are its further pages: what `status` looks at, and the daemon's cast.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve, Spool
from nbguard.clock import SystemClock
from nbguard.errors import NbguardError
from nbguard.model import DraftKind, Measure, Status, Trigger, Version
from nbguard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbguard.archive.catalog import Catalog
    from nbguard.archive.folding import Folder, Reading
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.capture.keep import Keeper
    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.first_import import FirstImport, ImportReport
    from nbguard.heads import Heads
    from nbguard.keep_now import KeepNow
    from nbguard.ports import Progress
    from nbguard.watch.scope import Scope


@dataclass(frozen=True, slots=True)
class Store:
    """Archive, spool and catalog of one installation, opened for one thread."""

    archive: Archive
    spool: Spool
    catalog: Catalog
    folder: Folder


def archive_of(context: Context) -> Archive:
    """The archive, whether it exists or not."""
    return Archive(context.places)


def reserve_of(settings: Settings) -> Reserve:
    """What is left free on the user's disk."""
    return Reserve(bytes=settings.limits.reserve_bytes, percent=settings.limits.reserve_percent)


def spool_of(context: Context, clock: Clock | None = None) -> Spool:
    """The spool; its folders are made by whoever writes."""
    places, settings = context.places, context.settings or Settings()
    return Spool(
        places.spool,
        clock=clock or SystemClock(),
        install=install_id(context),
        emergency=places.emergency or None,
        reserve=reserve_of(settings),
    )


def ensure_archive(context: Context) -> bool:
    """Make the archive (and the spool) if none was ever made here; True when it was made. Raises NoArchive."""
    made = archive_of(context).ensure()
    if made:
        context.look_again()
    spool_of(context).make()
    return made


def open_store(context: Context, spool: Spool | None = None) -> Store:
    """Archive, spool and a catalog that may be behind them."""
    from nbguard.archive.catalog import Catalog

    archive = archive_of(context)
    spool = spool or spool_of(context)
    catalog = Catalog(context.places.catalog)
    return Store(archive, spool, catalog, folder_of(catalog, archive, spool))


def folder_of(catalog: Catalog, archive: Archive, spool: Spool) -> Folder:
    """What keeps a catalog in step with archive and spool."""
    from nbguard.archive.folding import Folder

    return Folder(catalog=catalog, archive=archive, spool=spool, measuring=_measuring, judge=_judge)


def open_library(context: Context, progress: Progress | None = None) -> ArchiveLibrary:
    """Everything kept, for reading. Raises NoArchive."""
    from nbguard.archive.library import ArchiveLibrary

    archive_of(context).require()
    store = open_store(context)
    store.folder.catch_up(progress)
    return ArchiveLibrary(catalog=store.catalog, archive=store.archive, spool=store.spool)


def keeper(context: Context) -> KeepNow:
    """Keep one path now: ``keep(path, trigger)`` gives its version, durable."""
    from time import sleep

    from nbguard.heads import Heads
    from nbguard.keep_now import KeepNow

    store = open_store(context)
    store.spool.make()
    store.folder.catch_up()
    heads = Heads(store.catalog.heads())

    def version_of(identity: str) -> Version | None:
        found = store.catalog.version(identity)
        if found is None:
            store.folder.catch_up()
            found = store.catalog.version(identity)
        return found

    return KeepNow(keeper=new_keeper(context, store, heads), version_of=version_of, wait=sleep)


def record_decision(context: Context, kind: DraftKind, version: Version) -> None:
    """Keep a human's word on a version (accept, pin), durably."""
    archive_of(context).require()
    store = open_store(context)
    store.spool.make()
    draft = store.spool.draft(
        kind=kind,
        path=version.path,
        moment=store.spool.moment(),
        trigger=Trigger.SNAPSHOT,
        root=version.root,
        about=version.id,
    )
    store.spool.keep(draft, b"")
    store.folder.catch_up()


def import_roots(context: Context, roots: Sequence[str], progress: Progress) -> ImportReport:
    """First versions of every notebook under ``roots`` that has none yet."""
    from nbguard.heads import Heads

    store = open_store(context)
    store.spool.make()
    store.folder.catch_up()
    heads = Heads(store.catalog.heads())
    report = first_import(context, store, heads).run(scopes_of(context, roots), progress)
    store.folder.catch_up()
    return report


def notebooks_in(context: Context, folder: str) -> list[str]:
    """Notebooks below a folder that are not skipped by default or by configuration."""
    from nbguard.watch.walk import walk

    (scope,) = scopes_of(context, [folder])
    return sorted(path for path, _ in walk(scope))


def scopes_of(context: Context, roots: Sequence[str]) -> list[Scope]:
    """What is watched under each root."""
    from nbguard.watch.scope import Scope

    ignore, own = (context.settings or Settings()).ignore, context.places.own_folders()
    return [Scope(root, ignore=ignore, own_folders=own) for root in roots]


def new_keeper(context: Context, store: Store, heads: Heads) -> Keeper:
    """The keeper of a command (the daemon's is wired with its watcher)."""
    from nbguard.capture.keep import Keeper

    settings = context.settings or Settings()
    return Keeper(
        store=store.spool,
        heads=heads,
        clock=SystemClock(),
        limits=settings.limits,
        root_of=lambda path: _innermost(settings.roots, path),
        knows=knowing(store),
    )


def knowing(store: Store) -> Callable[[str, str], bool]:
    """Whether a notebook has a version with some bytes, also one that was kept a moment ago; in doubt, no."""
    import sqlite3

    def knows(path: str, sha256: str) -> bool:
        try:
            store.folder.catch_up()  # the catalog is written behind the capturing
            return store.catalog.knows(path, sha256)
        except (NbguardError, sqlite3.Error, OSError):
            return False

    return knows


def first_import(context: Context, store: Store, heads: Heads) -> FirstImport:
    """The first import of one process."""
    from nbguard.archive.importer import Importer
    from nbguard.capture.first import FirstVersions
    from nbguard.first_import import FirstImport
    from nbguard.notebook import measure

    settings = context.settings or Settings()
    importer = Importer(
        archive=store.archive,
        catalog=store.catalog,
        folder=store.folder,
        measure=measure,
        reserve=reserve_of(settings),
    )
    return FirstImport(
        heads=heads,
        first=FirstVersions(store=store.spool, heads=heads, clock=SystemClock(), limits=settings.limits),
        keeper=new_keeper(context, store, heads),
        import_drafts=importer.import_all,
        clock=SystemClock(),
    )


def _innermost(roots: Sequence[str], path: str) -> str | None:
    holding = [root for root in roots if path.startswith(root.rstrip("/") + "/")]
    return max(holding, key=len, default=None)


def install_id(context: Context) -> str:
    """The id of this installation; made at the first use, and not the archive's."""
    from nbguard.durable import make_private_folder, read_plain, replace_durably

    path = os.path.join(context.places.state, "install-id")
    try:
        if (identity := read_plain(path, 4_096).decode("ascii").strip()[:200]).isalnum():
            return identity
    except UnicodeDecodeError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # EINVAL: it is no small plain file
            raise
    identity = os.urandom(8).hex()
    try:
        make_private_folder(context.places.state)
        replace_durably(path, identity.encode("ascii") + b"\n")
    except OSError:
        return identity  # a reader on a full or read-only disk: it writes nothing that carries the id
    return identity


def _measuring(path: str, offset: int, size: int) -> Reading:
    """How the catalog learns what a spooled draft holds; big ones in a child that may fail."""
    from nbguard.archive.folding import Reading
    from nbguard.capture.measuring import Finding, measure_file
    from nbguard.notebook import measure

    if size <= Settings().limits.stream_over_bytes:
        with open(path, "rb") as file:
            file.seek(offset)
            return Reading(measure(file.read()))
    found = measure_file(path, offset)
    return Reading(found.measure, known=found.finding is not Finding.COULD_NOT_TELL)


def _judge(measure: Measure | None, fullest: Measure | None) -> Status:
    from nbguard.capture.judge import judge

    return judge(measure, fullest)
