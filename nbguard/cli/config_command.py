"""`nbguard config`: show, validate or locate the configuration."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import click

from nbguard.cli.context import Context
from nbguard.cli.output import path_fields, print_json, say
from nbguard.errors import BadConfiguration
from nbguard.masking import masked_settings
from nbguard.places import find_places
from nbguard.settings import Settings
from nbguard.settings_writing import as_table, as_toml


@click.group()
def command() -> None:
    """Show, validate or locate the configuration."""


@command.command()
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(context: Context, as_object: bool) -> None:
    """Print the settings in effect, defaults included, secrets hidden. Exit codes: 0 done, 78 bad configuration."""
    path = _path(context)
    if context.settings is None:
        say(f"there is no configuration at {path}; these are the defaults")
    places = context.places
    settings = masked_settings(context.settings or Settings())
    settings = replace(settings, archive=places.archive, emergency=places.emergency)
    if as_object:
        print_json(as_table(settings))
    else:
        sys.stdout.write(as_toml(settings))


@command.command()
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def validate(context: Context, as_object: bool) -> None:
    """Check the configuration. Exit codes: 0 it can be used, 78 it cannot."""
    path = _path(context)
    answer: dict[str, object] = {**path_fields(path), "valid": True}
    try:
        settings = context.settings
        if settings is None and context.config is not None:
            raise BadConfiguration(f"there is no file {path}", hint="give --config a file that exists")
    except BadConfiguration as error:
        if as_object:
            print_json({**answer, "valid": False, "message": error.message, "hint": error.hint})
        raise
    for root in settings.roots if settings is not None else ():
        if not os.path.isdir(root):
            say(f"note: {root} is not there now")
    if as_object:
        print_json(answer)
    elif settings is None:
        say(f"there is no configuration at {path}: the defaults apply, and nothing is watched")
    else:
        say(f"{path} is valid; {len(settings.roots)} folder{'' if len(settings.roots) == 1 else 's'} watched")


@command.command()
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def path(context: Context, as_object: bool) -> None:
    """Print where the configuration is, or would be. Exit code: 0."""
    where = _path(context)
    if as_object:
        sys.stdout.write(json.dumps({**path_fields(where), "exists": os.path.exists(where)}) + "\n")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(where) + b"\n")


def _path(context: Context) -> str:
    return find_places(home=context.home, config=context.config).config
