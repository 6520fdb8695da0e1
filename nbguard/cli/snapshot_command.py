"""`nbguard snapshot`: keep notebooks now."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import json_option, working_folder
from nbguard.cli.context import Context
from nbguard.cli.output import clean, print_json, print_line, say, version_fields
from nbguard.errors import NbguardError, NothingMatched, PartlyDone, UsageError

if TYPE_CHECKING:
    from nbguard.model import Version


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@json_option
@click.pass_obj
def command(context: Context, *, paths: tuple[str, ...], as_json: bool) -> None:
    """Keep notebooks now, also outside the roots, without waiting for quiet.

    PATH is a notebook or a folder; without one, all roots. Prints the versions, also when these bytes were already
    kept. Exit codes: 0 all durable, 1 no notebook there, 3 some could not be kept.
    """
    from nbguard import app
    from nbguard.model import Trigger

    wanted = _notebooks(context, paths)
    app.ensure_archive(context)
    keep = app.keeper(context)
    versions: list[Version] = []
    failures: list[NbguardError] = []
    for path in wanted:
        try:
            versions.append(keep(path, Trigger.SNAPSHOT))
        except NbguardError as error:
            failures.append(error)
    if as_json:
        print_json([version_fields(version) for version in versions])
    else:
        for version in versions:
            print_line(f"{version.id[:10]}  {clean(version.path)}  {version.status}")
    if not failures:
        return
    if len(failures) == 1 and not versions:
        raise failures[0]
    for failure in failures:
        say(f"not kept: {failure.message}")
    raise PartlyDone(f"{len(failures)} of {len(wanted)} notebooks are not kept", hint=failures[0].hint)


def _notebooks(context: Context, paths: tuple[str, ...]) -> list[str]:
    from nbguard import app

    here = working_folder()
    if not paths:
        roots = context.settings.roots if context.settings is not None else ()
        if not roots:
            raise UsageError("which notebooks?", hint="nbguard snapshot PATH, or configure roots with `nbguard setup`")
        return [path for root in roots for path in app.notebooks_in(context, root)]
    found: list[str] = []
    for given in paths:
        path = os.path.normpath(os.path.join(here, given))
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise NothingMatched(f"{given}: {error.strerror}", hint="name a notebook or a folder") from error
        if stat.S_ISDIR(mode):
            found += app.notebooks_in(context, path)
        elif stat.S_ISREG(mode):
            found.append(os.path.realpath(path) if os.path.islink(path) else path)
        else:
            raise NothingMatched(f"{given} is not a file", hint="name a notebook or a folder")
    return list(dict.fromkeys(found))
