"""The composition root's page for taking over from a mirror."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.app import archive_of, open_store, spool_of
from nbguard.clock import SystemClock
from nbguard.durable import FileLock, make_private_folder, unlink_quietly
from nbguard.errors import Busy, storage_trouble
from nbguard.mirror.addresses import parse_address
from nbguard.mirror.adopt import AdoptedFrom, outermost, read_note, write_note
from nbguard.mirror.layout import Namespace
from nbguard.mirror.reader import Mirrored
from nbguard.processes import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbguard.cli.context import Context
    from nbguard.mirror.reader import InMirror
    from nbguard.mirror.there import HostRefs
    from nbguard.ports import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What was taken over: notebooks that existed there, versions of all, executed cells' sessions; the folders that
    were watched there, by whether they are here too."""

    source: AdoptedFrom
    archive: str
    notebooks: int
    versions: int
    sessions: int
    roots_here: tuple[str, ...]
    roots_gone: tuple[str, ...]
    is_newer: bool


def mirrored(url: str) -> Mirrored:
    """A mirror for reading, by its address as a person writes it. Raises UsageError."""
    home = os.path.expanduser("~")
    return Mirrored(parse_address(url, home=home, folder=os.getcwd()), environment=os.environ, home=home)


def note_path(context: Context) -> str:
    """Where it is remembered which archive was taken over."""
    return os.path.join(context.places.state, "adopted.json")


def _begun_path(context: Context) -> str:
    """There from before the archive comes in place until all that belongs to taking over is done."""
    return os.path.join(context.places.state, "adopting.json")


def look(context: Context, mirror: Mirrored) -> InMirror:
    """What lies in the mirror, once it is sure that nothing here is in its way. Raises Refused, MirrorUnreachable."""
    from nbguard.archive.incoming import refuse_to_replace

    if _unfinished(context) is None:
        refuse_to_replace(archive_of(context))
    return mirror.look()


def _unfinished(context: Context) -> AdoptedFrom | None:
    """What was being taken over when it was interrupted, where its archive is in place and nothing came to it since."""
    from nbguard.archive.repository import RECORDS

    begun, archive = read_note(_begun_path(context)), archive_of(context)
    if begun is None or not archive.exists():
        return None
    return begun if (archive.tip(), archive.git.tip(RECORDS)) == (begun.main, begun.records) else None


def adopt(
    context: Context, mirror: Mirrored, host: HostRefs, *, is_newer: bool, bar: Callable[[str], Progress]
) -> Adopted:
    """Bring a host's archive here, whole, and read it. Raises NbguardError; then nothing is left of it."""
    archive = archive_of(context)
    places = context.places
    try:
        make_private_folder(places.state)
        lock = FileLock(places.daemon_lock)
        lock.acquire()
    except Busy:
        raise Busy("a daemon runs here", hint="end it first: what is taken over is read anew by it") from None
    except OSError as error:
        raise storage_trouble(error, f"cannot write in {places.state}") from error
    with lock:
        begun = _unfinished(context)
        if begun is not None and begun.namespace == host.namespace:
            source = begun
        else:
            source = _take(context, mirror, host, is_newer=is_newer, bar=bar)
        context.look_again()
        adopted = _read(context, source, archive.folder, is_newer=is_newer, bar=bar)
        unlink_quietly(_begun_path(context))
        return adopted


def _take(
    context: Context, mirror: Mirrored, host: HostRefs, *, is_newer: bool, bar: Callable[[str], Progress]
) -> AdoptedFrom:
    from nbguard.archive.incoming import MIRRORED, Incoming, move_aside, refuse_to_replace
    from nbguard.archive.repository import FORMAT

    archive, names = archive_of(context), Namespace(host.namespace)
    there = {"main": (names.main, host.main), "records": (names.records, host.records)}
    branches = {ref: MIRRORED[branch] for branch, (ref, commit) in there.items() if commit is not None}
    with Incoming(archive, archive_format=FORMAT + is_newer) as incoming:
        mirror.fetch(incoming.folder, branches, bar("fetching"))
        incoming.check()
        refuse_to_replace(archive)  # it may have come back, or somebody may have been faster
        if os.path.lexists(archive.folder):
            move_aside(archive, "empty" if archive.exists() else "broken")
        arrived = incoming.arrived()
        source = AdoptedFrom(
            namespace=host.namespace,
            mirror=mirror.shown,
            at=SystemClock().now(),
            main=arrived.main,
            records=arrived.records,
        )
        try:
            write_note(_begun_path(context), source)
            incoming.put()
            write_note(note_path(context), source)
        except OSError as error:
            raise storage_trouble(error, "cannot remember where the archive came from") from error
    return source


def _read(
    context: Context, source: AdoptedFrom, folder: str, *, is_newer: bool, bar: Callable[[str], Progress]
) -> Adopted:
    """Catalog and index of executed cells, and that what is kept here from now on comes after what was kept there."""
    from nbguard.app_history import executed_library
    from nbguard.archive.boots import outrank
    from nbguard.archive.readback import verify

    spool_of(context).make()
    store = open_store(context)
    store.folder.catch_up(bar("reading the archive"))
    newest = [version for _, version in store.catalog.entries(deleted=False)]
    verify(store.archive, [(version, version.commit) for version in newest if version.commit is not None])
    epoch, roots = store.catalog.newest_epoch(), outermost(store.catalog.roots())
    versions = store.catalog.count()
    store.catalog.close()
    try:
        outrank(epoch, boot_id(), context.places.spool)
    except OSError as error:
        raise storage_trouble(error, "cannot write the spool's list of boots") from error
    executed = executed_library(context, bar("reading executed cells"))
    sessions = len(executed.sessions())
    executed.close()
    return Adopted(
        source=source,
        archive=folder,
        notebooks=len(newest),
        versions=versions,
        sessions=sessions,
        roots_here=tuple(root for root in roots if os.path.isdir(root)),
        roots_gone=tuple(root for root in roots if not os.path.isdir(root)),
        is_newer=is_newer,
    )
