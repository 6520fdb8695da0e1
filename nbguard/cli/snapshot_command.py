"""`nbguard snapshot`: keep notebooks now."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option, working_folder
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, clean, path_fields, print_json, print_line, say, version_fields
from nbguard.errors import NbguardError, NothingMatched, PartlyDone, UsageError

if TYPE_CHECKING:
    from nbguard.model import Version


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(readable=False))
@dry_run_option
@json_option
@click.pass_obj
def command(context: Context, *, paths: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Keep notebooks now, also outside the roots, without waiting for quiet.

    PATH is a notebook or a folder; without one, all roots. Prints the versions, also when these bytes were already
    kept. Exit codes: 0 all durable, 1 no notebook there, 3 some could not be kept, 10 the archive has vanished.
    """
    wanted, failures = _notebooks(context, paths)
    if dry_run:
        _would_keep(wanted, as_json)
    elif wanted:
        versions, refused = _keep(context, wanted)
        failures += refused
        _report(versions, as_json)
        wanted = [version.path for version in versions]
    elif as_json:
        print_json([])
    if failures:
        _fail(failures, done=len(wanted), as_json=as_json)
    if paths and not wanted:
        raise NothingMatched("there is no notebook there", hint="name a notebook, or a folder that holds some")


def _keep(context: Context, wanted: list[str]) -> tuple[list[Version], list[NbguardError]]:
    from nbguard import app
    from nbguard.model import Trigger

    app.ensure_archive(context)
    keep = app.keeper(context)
    versions: list[Version] = []
    failures: list[NbguardError] = []
    bar = Bar("keeping")
    try:
        for count, path in enumerate(wanted):
            bar(count, len(wanted))
            try:
                versions.append(keep(path, Trigger.SNAPSHOT))
            except NbguardError as error:
                failures.append(error)
    finally:
        bar.clear()
    return versions, failures


def _would_keep(wanted: list[str], as_json: bool) -> None:
    if as_json:
        print_json([{**path_fields(path), "dry_run": True} for path in wanted])
        return
    for path in wanted:
        print_line(clean(path))
    say(f"would keep {len(wanted)} notebook{'' if len(wanted) == 1 else 's'}")


def _report(versions: list[Version], as_json: bool) -> None:
    if as_json:
        print_json([version_fields(version) for version in versions])
        return
    for version in versions:
        print_line(f"{version.id[:8]}  {clean(version.path)}  {version.status}")


def _fail(failures: list[NbguardError], *, done: int, as_json: bool) -> None:
    """Raises what went wrong; on stderr, a program finds nothing but one JSON object."""
    if len(failures) == 1 and not done:
        raise failures[0]
    listed = [f"not kept: {failure.message}" for failure in failures]
    hint = failures[0].hint
    if as_json:
        hint = "\n".join((*listed, hint)).rstrip()
    else:
        for line in listed:
            say(line)
    everything = done + len(failures)
    message = f"{len(failures)} of {everything} notebooks {'is' if len(failures) == 1 else 'are'} not kept"
    if all(isinstance(failure, NothingMatched) for failure in failures) and not done:
        raise NothingMatched(message, hint=hint)
    raise PartlyDone(message, hint=hint)


def _notebooks(context: Context, paths: tuple[str, ...]) -> tuple[list[str], list[NbguardError]]:
    """The notebooks that are meant, each once, and what is wrong with the other paths."""
    from nbguard import app

    if not paths:
        roots = context.settings.roots if context.settings is not None else ()
        if not roots:
            raise UsageError("which notebooks?", hint="nbguard snapshot PATH, or configure roots with `nbguard setup`")
        return [path for root in roots for path in app.notebooks_in(context, root)], []
    here, found, failures = working_folder(), list[str](), list[NbguardError]()
    for given in paths:
        try:
            found += _notebooks_at(context, given, os.path.normpath(os.path.join(here, given)))
        except (NothingMatched, PartlyDone) as error:
            failures.append(error)
    return list(dict.fromkeys(found)), failures


def _notebooks_at(context: Context, given: str, path: str) -> list[str]:
    from nbguard import app

    hint = "name a notebook or a folder"
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NothingMatched(f"{given}: {reason}", hint=hint) from error
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            raise PartlyDone(f"{given}: the folder cannot be read", hint="give yourself read and search permission")
        return app.notebooks_in(context, path)
    if not stat.S_ISREG(mode):
        raise NothingMatched(f"{given} is not a file", hint=hint)
    return [os.path.realpath(path) if os.path.islink(path) else path]
