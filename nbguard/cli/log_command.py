"""`nbguard log`: the versions of one notebook, newest first, across renames."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import find, json_option, library_of, notebook_argument
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, size, table, version_fields
from nbguard.cli.zone import LOCAL

if TYPE_CHECKING:
    from nbguard.model import Version


@click.command()
@notebook_argument
@click.option("-n", "most", type=click.IntRange(min=0), metavar="N", help="Only the newest N.")
@json_option
@click.pass_obj
def command(context: Context, notebook: str, most: int | None, as_json: bool) -> None:
    """List the versions of NOTEBOOK, newest first, across renames.

    The first column is what WHEN takes in other commands; in zsh write it '~3', in quotes.
    Exit codes: 0 done, 1 no such notebook, or several match, 10 no archive.
    """
    found = find(library_of(context), notebook)
    versions = found.versions if most is None else found.versions[:most]
    if as_json:
        print_json([version_fields(version) for version in versions])
    elif versions:
        sys.stdout.write("\n".join(_lines(found.path, versions)) + "\n")


def _lines(path: str, versions: list[Version]) -> list[str]:
    from nbguard.recover.wording import local

    rows = [
        (
            f"~{row}",
            version.id[:8],
            local(version.saved_at, LOCAL),
            "-" if version.sha256 is None else size(version.size),
            "-" if version.cells is None else str(version.cells),
            str(version.status),
            str(version.trigger),
            _notes(path, version),
        )
        for row, version in enumerate(versions)
    ]
    return table([("", "id", "saved", "size", "cells", "status", "by", ""), *rows], right="r  rr")


def _notes(path: str, version: Version) -> str:
    notes = ["pinned"] if version.pinned else []
    if version.renamed_from is not None:
        notes.append(f"renamed from {version.renamed_from}")
    elif version.path != path:
        notes.append(f"as {version.path}")
    return ", ".join(notes)
