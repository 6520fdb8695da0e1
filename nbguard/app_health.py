"""The composition root's second page: what `status`, `check` and `doctor` look at, wired from the rooms."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from nbguard.app_lease import held_elsewhere
from nbguard.clock import SystemClock
from nbguard.errors import ArchiveTrouble, NbguardError
from nbguard.health.facts import SpoolFacts
from nbguard.health.heartbeat import read_heartbeat
from nbguard.health.sources import Sources, system_sources, watched_roots
from nbguard.model import Head, Heartbeat, Problem, Signature
from nbguard.processes import boot_id
from nbguard.settings import Settings

if TYPE_CHECKING:
    from nbguard.archive.catalog import Catalog
    from nbguard.cli.context import Context
    from nbguard.health.doctor import Patient

_Answer = TypeVar("_Answer")


def unmeant_starts(context: Context) -> int:
    """Note that a daemon starts; how many starts of the last hour came after an end that was not meant."""
    from nbguard.health.starts import count_start

    places = context.places
    beat = read_heartbeat(places.heartbeat)
    ended_well = beat is None or beat.stopped or beat.boot != boot_id()
    path = os.path.join(places.state, "starts")
    return count_start(path, now=SystemClock().now().timestamp(), ended_well=ended_well)


def health_sources(context: Context, bad_configuration: NbguardError | None = None) -> Sources:
    """Where `status` gets its facts from."""
    from dataclasses import replace

    from nbguard.health.starts import bad_starts
    from nbguard.stops import excuses, read_stop

    places, clock = context.places, SystemClock()
    unreadable: list[str] = []
    sources = system_sources(
        places,
        context.settings,
        walk=lambda roots: _notebooks(context, roots, unreadable),
        unreadable=lambda: unreadable,
        heads=lambda: _heads(context),
        spool=lambda: _spool(context),
        bad_configuration=bad_configuration,
        wiped=lambda: _wiped(context),
    )
    if held_elsewhere(context):  # its process is no process of this machine
        sources = replace(
            sources,
            heartbeat=lambda: _beating_elsewhere(read_heartbeat(places.heartbeat), clock),
            pid_alive=lambda pid: True,
            lock_held=lambda: True,
        )
    return replace(
        sources,
        reserve=lambda total: _reserve(context, total),
        noted=lambda: _noted(context),
        excused=lambda began: excuses(
            read_stop(places.stop), boot=boot_id(), boottime_ns=clock.boottime_ns(), began=began
        ),
        bad_starts=lambda: bad_starts(os.path.join(places.state, "starts"), now=clock.now().timestamp()),
    )


def doctor_patient(context: Context, bad_configuration: NbguardError | None = None) -> Patient:
    """What `doctor` examines."""
    from nbguard.health.doctor import Patient, check_archive
    from nbguard.jupyter_servers import running_servers, runtime_folder

    places, settings = context.places, context.settings
    beat = read_heartbeat(places.heartbeat)
    return Patient(
        places=places,
        settings=settings,
        roots=watched_roots(settings, beat),
        clock=SystemClock(),
        boot=boot_id(),
        heartbeat=beat,
        file_system=_file_system,
        reserve=lambda total: _reserve(context, total),
        catalog=lambda: _ask_catalog(context, lambda catalog: catalog.count()),
        fsck=lambda: check_archive(places.archive),
        bad_configuration=bad_configuration,
        servers=lambda: len(running_servers(runtime_folder(os.environ, os.path.expanduser("~"), sys.platform))),
    )


def _beating_elsewhere(beat: Heartbeat | None, clock: SystemClock) -> Heartbeat | None:
    """The heartbeat of a daemon on another machine with this home: its lease moves on, so it beats; clocks of two
    machines are not compared."""
    from dataclasses import replace

    if beat is None:
        return None
    return replace(
        beat,
        boot=boot_id(),
        beat_at=clock.now(),
        beat_boottime_ns=clock.boottime_ns(),
        beat_monotonic=clock.monotonic(),
    )


def _notebooks(context: Context, roots: Sequence[str], unreadable: list[str]) -> Mapping[str, Signature]:
    from nbguard.app import scopes_of
    from nbguard.watch.walk import walk

    return {path: signature for scope in scopes_of(context, roots) for path, signature in walk(scope, unreadable)}


def _heads(context: Context) -> Sequence[Head]:
    from nbguard.app import archive_of

    archive = archive_of(context)
    if not archive.exists() and not archive.was_made():
        return ()
    archive.require()
    return _ask_catalog(context, lambda catalog: catalog.heads())


def _reserve(context: Context, total: int) -> int:
    from nbguard.app import reserve_of

    return reserve_of(context.settings or Settings()).of(total)


def _wiped(context: Context) -> Sequence[Problem]:
    """Homes of this user's that were wiped: told wherever nbguard is asked, for it may be a new installation."""
    from nbguard.places import open_to_all
    from nbguard.refuge.notes import find_notes
    from nbguard.refuge.words import words

    further = (context.places.emergency, context.places.home or "")
    return [words(note) for note in find_notes(open_to_all(), os.getuid(), further)]


def _noted(context: Context) -> Sequence[Problem]:
    """Units that their manager gave up on, as the alert unit noted it outside of HOME."""
    from nbguard.notices import as_problem, failed_units
    from nbguard.places import last_resort

    return [as_problem(failed) for failed in failed_units(context.places.emergency, last_resort())]


def _ask_catalog(context: Context, ask: Callable[[Catalog], _Answer]) -> _Answer:
    """Ask a catalog that is caught up. One that turns out broken is thrown away, so the second try fills a new one."""
    import sqlite3

    from nbguard.app import open_store

    tries = 2
    while True:
        tries -= 1
        try:
            store = open_store(context)
            store.folder.catch_up()
            return ask(store.catalog)
        except ArchiveTrouble as error:
            if error.code != "catalog-broken" or not tries:
                raise
        except (sqlite3.Error, OSError) as error:
            hint = "remove state/catalog.sqlite: it is made again from the archive, and nothing is lost by it"
            raise ArchiveTrouble(f"the catalog cannot be read: {error}", hint=hint) from error


def _spool(context: Context) -> SpoolFacts:
    if not any(os.path.isdir(place) for place in (context.places.spool, context.places.emergency)):
        return SpoolFacts()  # nor is one made by looking
    from nbguard.app import spool_of

    summary = spool_of(context).summary()
    oldest = summary.oldest_at
    age = None if oldest is None else max(0.0, SystemClock().now().timestamp() - oldest)
    return SpoolFacts(drafts=summary.drafts, bytes=summary.bytes, oldest_seconds=age)


def _file_system(path: str) -> tuple[str, bool]:
    from nbguard.watch.mounts import is_remote, mount_of, read_mounts

    mount = mount_of(path, read_mounts())
    return ("", False) if mount is None else (mount.kind, is_remote(mount.kind))
