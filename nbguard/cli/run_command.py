"""`nbguard run`: the daemon in the foreground."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from nbguard.cli.context import Context
from nbguard.cli.output import Bar, say
from nbguard.errors import PartlyDone, UsageError

if TYPE_CHECKING:
    from nbguard.mirror.lease import Lease
    from nbguard.model import Problem

_SERVICE_PAUSE_SECONDS = 60.0

# With these, everything is kept all the same.
_ALL_KEPT = (
    "polling",
    "watch-limit",
    "watch-overflow",
    "watcher-dead",
    "mass-deletion",
    "clock-jumped",
    "kernel-history-lost",
    "recorder-dropped",
)


@click.command()
@click.option("--watch", metavar="DIR", multiple=True, type=click.Path(), help="Watch this folder too (repeatable).")
@click.option("--once", is_flag=True, help="Look at everything once, keep and pack it, and end.")
@click.pass_obj
def command(context: Context, *, watch: tuple[str, ...], once: bool) -> None:
    """Run the daemon in the foreground.

    With no configuration, --watch writes a minimal one; where there is one, DIR adds to its roots for this run.
    Exit codes: 0 done or stopped, 2 no folder to watch, 3 some notebooks were not kept (--once), 10 the archive has
    vanished (--once), 11 a daemon already runs, here or on another machine with this home, 78 bad configuration, or
    git too old.
    """
    from nbguard.git import check_git

    check_git()
    roots = _roots(context, watch)
    from nbguard.app_lease import give_back, refuse_elsewhere, take_lease
    from nbguard.durable import FileLock, make_private_folder
    from nbguard.errors import Busy

    places = context.places
    make_private_folder(places.state)
    try:
        refuse_elsewhere(context, is_waiting=True)
    except Busy:
        if "NOTIFY_SOCKET" in os.environ:  # a service starts it again at once, on every machine of a network home
            time.sleep(_SERVICE_PAUSE_SECONDS)
        raise
    lock = FileLock(places.daemon_lock)
    try:
        lock.acquire()
    except Busy:
        raise Busy("a daemon already runs", hint="see `nbguard status`") from None
    with lock:
        lease = take_lease(context)
        try:
            _run(context, roots, lease, once=once)
        finally:
            give_back(lease)


def _run(context: Context, roots: tuple[str, ...], lease: Lease, *, once: bool) -> None:
    from nbguard import app
    from nbguard.app_daemon import assemble, daemon_of
    from nbguard.app_health import unmeant_starts
    from nbguard.errors import NoArchive
    from nbguard.logs import start_logging

    if not once:
        start_logging(context.places.log_file)
    try:
        app.ensure_archive(context)
    except NoArchive as error:
        if once:
            raise
        # The daemon goes on: drafts stay in the spool, status says so, and it makes the archive anew from a copy.
        say(f"error: {error.message}")
        say(f"hint:  {error.hint}")
        app.spool_of(context).make()
    assembly = assemble(context, roots, lease)
    bar = Bar("keeping first versions")
    if once:
        problems = assembly.once(bar)
        bar.clear()
        _tell(problems)
        return
    assembly.note_starts(unmeant_starts(context))
    say(f"watching {', '.join(roots)}")
    daemon = daemon_of(assembly, context)
    daemon.run(before=lambda: assembly.import_first(daemon.moving(bar)))
    if assembly.lease_lost is not None:
        raise assembly.lease_lost


def _tell(problems: tuple[Problem, ...]) -> None:
    """Say what was met. Raises PartlyDone when not everything is kept."""
    for problem in problems:
        if problem.code in _ALL_KEPT:
            say(f"note: {problem.message}")
    lost = [problem for problem in problems if problem.code not in _ALL_KEPT]
    if lost:
        raise PartlyDone("; ".join(problem.message for problem in lost), hint=lost[0].hint, code=lost[0].code)


def _roots(context: Context, watch: tuple[str, ...]) -> tuple[str, ...]:
    """The configured roots and the named ones; a minimal configuration is written where there is none."""
    from nbguard.service.setup import checked_roots, write_configuration
    from nbguard.settings_writing import minimal_configuration

    named = checked_roots(watch, os.path.expanduser("~")) if watch else ()
    settings = context.settings
    if settings is not None:
        roots = (*settings.roots, *(root for root in named if root not in settings.roots))
        if not roots:
            raise UsageError("the configuration names no roots", hint="nbguard run --watch DIR, or nbguard setup")
        return roots
    if not named:
        raise UsageError("there is no configuration", hint="nbguard run --watch DIR, or nbguard setup")
    write_configuration(context.places.config, minimal_configuration(named))
    say(f"configuration: {context.places.config}")
    return named
