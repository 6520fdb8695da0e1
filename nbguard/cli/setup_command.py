"""`nbguard setup`: configuration, archive, first versions, the background service."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.context import Context
from nbguard.cli.output import Bar, say
from nbguard.errors import PartlyDone, UsageError
from nbguard.masking import masked_remote
from nbguard.places import find_places

if TYPE_CHECKING:
    from nbguard.service.folders import Found


@click.command()
@click.option("--watch", metavar="DIR", multiple=True, type=click.Path(), help="Watch this folder (repeatable).")
@click.option("--mirror", metavar="URL", multiple=True, help="Keep a copy of the archive there.")
@click.option("--notify", metavar="URL", multiple=True, help="Send alerts there.")
@click.option("--no-service", is_flag=True, help="Install no background service.")
@click.option("--yes", is_flag=True, help="Ask nothing; take what is proposed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def command(
    context: Context,
    *,
    watch: tuple[str, ...],
    mirror: tuple[str, ...],
    notify: tuple[str, ...],
    no_service: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Configure, make the archive, keep the first versions and start the background service.

    Exit codes: 0 all that was asked for is done, 2 no terminal to ask on and no --yes, or no such folder, 3 some of it
    is done (said which), 10 the archive has vanished, 78 bad configuration, or git too old.
    """
    from nbguard.cli import setup_channels, setup_mirrors
    from nbguard.git import check_git
    from nbguard.service import setup

    if not yes and not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="say so with: nbguard setup --yes --watch DIR")
    check_git()
    home = os.path.expanduser("~")
    path = find_places(home=context.home, config=context.config).config
    before = context.settings
    roots = setup.checked_roots(watch, home) if watch else _ask_for_roots(context, home, yes=yes)
    data = setup.configuration_with(path, roots)
    data = _with_recorder(data, path, ask=not yes and not dry_run)
    data = setup_channels.with_notify(data, path, notify)
    new = [root for root in roots if before is None or root not in before.roots]
    if dry_run:
        say(f"would write {path}" if new or before is None else f"{path} would stay as it is")
        for root in new:
            say(f"would watch {root}")
        setup_channels.say_added(before, data, path, dry_run=True)
        for url in mirror:
            say(f"would mirror to {masked_remote(url)}")
        say(f"would make the archive {context.places.archive}, if it is not there, and keep the first versions")
        return
    if before is not None and new and not yes:
        click.confirm(f"Add {_listed(new)} to {path}?", default=True, abort=True, err=True)
    written = setup.write_configuration(path, data)
    say(f"configuration: {path}{'' if written else ' (as it was)'}")
    not_done = _keep_first_versions(Context(home=context.home, config=context.config))
    not_done += setup_mirrors.add_asked(Context(home=context.home, config=context.config), mirror, yes=yes)
    setup_channels.say_added(before, data, path, dry_run=False)
    not_done += setup_channels.first_codes(Context(home=context.home, config=context.config))
    if not no_service:
        not_done += _install_service(Context(home=context.home, config=context.config), is_wider=bool(new))
    if not yes:
        not_done += setup_channels.walk(Context(home=context.home, config=context.config))
    setup_mirrors.propose(Context(home=context.home, config=context.config), ask=not yes)
    if not_done:
        raise PartlyDone("not done: " + "; ".join(not_done), hint=f"the rest is done; {_what_next(context, [])}")
    say(_what_next(context, new if no_service else []))


def _with_recorder(data: bytes, path: str, *, ask: bool) -> bytes:
    """Say what the recorder does, or ask, and write down the answer: nobody is asked twice."""
    from nbguard.settings_writing import says_of_recorder, with_recorder

    if says_of_recorder(data):
        return data
    what = "what cells print and show as they run, also when nothing is saved"
    why_not = "(outputs may hold data that should not be stored twice"
    where = f"to turn that off, altogether or for some paths: [recorder] in {path})"
    if not ask:
        say(f"recorded: {what} {why_not}; {where}")
        return data
    is_wanted = click.confirm(f"Record {what} {why_not}; {where}?", default=True, err=True)
    return with_recorder(data, path, enabled=is_wanted)


def _what_next(context: Context, new: list[str]) -> str:
    from nbguard.health.places_seen import is_locked

    if not is_locked(context.places.daemon_lock):
        return "start it: nbguard run"
    return (
        "the daemon runs; end it and start it again, so that it watches the new folders" if new else "the daemon runs"
    )


def _ask_for_roots(context: Context, home: str, *, yes: bool) -> tuple[str, ...]:
    from nbguard.clock import SystemClock
    from nbguard.service import setup
    from nbguard.service.folders import find_folders

    if yes and context.settings is not None and context.settings.roots:
        return context.settings.roots
    found = find_folders(home, SystemClock())
    _say_found(found, home)
    if yes:
        if not found.proposals:
            raise UsageError(f"no notebooks were found under {home}", hint="name a folder: nbguard setup --watch DIR")
        return tuple(proposal.path for proposal in found.proposals)
    default = "all" if found.proposals else None
    while True:
        answer = click.prompt("Watch which folders (numbers or paths, with commas)", default=default, err=True)
        try:
            return setup.choose(answer, found.proposals, home)
        except UsageError as error:
            say(f"{error.message}; {error.hint}")


def _say_found(found: Found, home: str) -> None:
    for number, proposal in enumerate(found.proposals, 1):
        say(f"  {number}. {proposal.path}  ({proposal.notebooks} notebook{'' if proposal.notebooks == 1 else 's'})")
    if found.loose:
        say(f"  {found.loose} more directly in {home}: to watch all of it, choose {home}")
    if not found.is_complete:
        say("  (there may be more: the search was ended after 3 seconds)")


def _keep_first_versions(context: Context) -> list[str]:
    """Make the archive and import; returns what could not be done."""
    from nbguard import app
    from nbguard.app_lease import refuse_elsewhere

    refuse_elsewhere(context)
    app.ensure_archive(context)
    assert context.settings is not None
    bar = Bar("keeping first versions")
    report = app.import_roots(context, context.settings.roots, bar)
    bar.clear()
    say(f"archive: {context.places.archive}")
    say(f"kept: {report.versions} new version{'' if report.versions == 1 else 's'}")
    for path, reason in report.failed:
        say(f"not kept: {path}: {reason}")
    many = "1 notebook" if len(report.failed) == 1 else f"{len(report.failed)} notebooks"
    return [f"{many} could not be kept"] if report.failed else []


def _install_service(context: Context, *, is_wider: bool) -> list[str]:
    """Install and start the background service, anew when there are folders that it does not watch yet; returns what
    could not be done."""
    from nbguard.app_service import NoManager, is_older, manager_of, prepare_last_words
    from nbguard.health.places_seen import is_locked

    try:
        manager = manager_of(context)
    except NoManager as error:
        say(error.hint)
        return [f"the background service: {error.message} (said above what to do instead; --no-service asks for none)"]
    if manager.report().pid is None and is_locked(context.places.daemon_lock):
        return ["the background service: a daemon runs in the foreground; end it, then `nbguard service install`"]
    missing = manager.install(restart=is_wider or is_older(context))
    prepare_last_words(context)
    if not missing:
        say(f"the service runs: {manager.report().unit_path}")
    say("to be told in your shell when backups stop, whatever is left: nbguard service prompt >> ~/.bashrc")
    return missing


def _listed(paths: list[str]) -> str:
    return ", ".join(paths)
