"""`nbguard status`: what is protected, how fresh, what is wrong, what to do."""

from __future__ import annotations

import sys

import click

from nbguard.cli.context import Context
from nbguard.cli.output import clean, print_json


@click.command()
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(context: Context, as_object: bool) -> int:
    """What is protected, how fresh, what is wrong and what to do.

    Exit codes: 0 protected (also when something needs a look), 20 stalled, 21 nobody is known to read the channels,
    22 something in scope is not protected, 78 bad configuration.
    """
    from nbguard import app_check
    from nbguard.health import status

    bad = context.look_past_settings()
    report = status.look(app_check.check_sources(context, bad))
    if as_object:
        print_json(status.as_json(report))
    else:
        for line in status.as_lines(report):
            sys.stdout.write(clean(line) + "\n")
    if bad is not None:
        raise bad
    return report.verdict.exit_code
