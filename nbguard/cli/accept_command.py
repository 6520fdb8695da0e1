"""`nbguard accept`: yes, this notebook was meant to be emptied."""

from __future__ import annotations

import click

from nbguard.cli.asking import dry_run_option, find, json_option, library_of, notebook_argument
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, say, version_fields
from nbguard.cli.zone import LOCAL


@click.command()
@notebook_argument
@dry_run_option
@json_option
@click.pass_obj
def command(context: Context, notebook: str, dry_run: bool, as_json: bool) -> None:
    """Yes, NOTEBOOK was meant to be emptied: its present state counts as good.

    Exit codes: 0 done, 1 no such notebook, or it is not marked as emptied, 10 no archive.
    """
    from nbguard import app
    from nbguard.model import DraftKind, Status
    from nbguard.recover.choose import emptied_now
    from nbguard.recover.wording import named, shown

    found = find(library_of(context), notebook)
    version = emptied_now(found.versions, LOCAL)
    if not dry_run:
        app.record_decision(context, DraftKind.ACCEPT, version)
    if as_json:
        status = version.status if dry_run else Status.OK  # as `log` shows it from now on
        print_json({**version_fields(version), "status": str(status), "accepted": not dry_run, "dry_run": dry_run})
        return
    say(f"{'would accept' if dry_run else 'accepted'} {shown(found.path)} as it is: {named(version, LOCAL)}")
