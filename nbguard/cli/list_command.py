"""`nbguard list`: every notebook, newest change first."""

from __future__ import annotations

import sys

import click

from nbguard.cli.asking import json_option, library_of
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, size, table, version_fields
from nbguard.cli.zone import LOCAL


@click.command()
@click.option("--deleted", is_flag=True, help="Only notebooks that are not there any more.")
@json_option
@click.pass_obj
def command(context: Context, deleted: bool, as_json: bool) -> None:
    """List notebooks, newest change first.

    Exit codes: 0 done, also when there are none; 10 no archive.
    """
    from nbguard.recover.wording import local

    entries = library_of(context).entries(deleted=deleted)
    if as_json:
        print_json(
            [
                {**version_fields(entry.latest), "versions": entry.versions, "deleted": entry.latest.sha256 is None}
                for entry in entries
            ]
        )
        return
    rows = [
        (
            local(entry.latest.saved_at, LOCAL),
            str(entry.latest.status),
            str(entry.versions),
            size(entry.latest.size),
            entry.path,
        )
        for entry in entries
    ]
    if rows:
        lines = table([("last change", "status", "versions", "size", "notebook"), *rows], right="  rr")
        sys.stdout.write("\n".join(lines) + "\n")
    else:
        click.echo("no deleted notebooks" if deleted else "no notebooks yet", err=True)
