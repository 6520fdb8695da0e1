"""`nbguard pin`: never prune this version."""

from __future__ import annotations

import click

from nbguard.cli.asking import dry_run_option, find, json_option, library_of, moment, notebook_argument
from nbguard.cli.completion import complete_when
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, say, version_fields
from nbguard.cli.zone import LOCAL


@click.command()
@notebook_argument
@click.argument("when", metavar="WHEN", shell_complete=complete_when)
@dry_run_option
@json_option
@click.pass_obj
def command(context: Context, notebook: str, when: str, dry_run: bool, as_json: bool) -> None:
    """Never prune the version of NOTEBOOK that WHEN names.

    Exit codes: 0 done, 1 no such notebook or version, 2 WHEN is not understood, 10 no archive.
    """
    from nbguard import app
    from nbguard.model import DraftKind
    from nbguard.recover.choose import pick_with_bytes
    from nbguard.recover.wording import named, shown

    chosen = moment(when)
    found = find(library_of(context), notebook)
    version = pick_with_bytes(found.versions, chosen, LOCAL)
    if not dry_run and not version.pinned:
        app.record_decision(context, DraftKind.PIN, version)
    if as_json:
        print_json({**version_fields(version), "pinned": version.pinned or not dry_run, "dry_run": dry_run})
        return
    done = "pinned already:" if version.pinned else "would pin" if dry_run else "pinned"
    say(f"{done} {shown(found.path)} {named(version, LOCAL)}")
