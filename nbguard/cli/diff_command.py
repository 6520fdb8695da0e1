"""`nbguard diff`: what changed, cell by cell."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import find, json_option, library_of, moment, notebook_argument, when_argument
from nbguard.cli.context import Context
from nbguard.cli.output import one_line, path_fields, print_json, say, version_fields
from nbguard.cli.zone import LOCAL
from nbguard.errors import NothingMatched, Refused

if TYPE_CHECKING:
    from nbguard.model import Version
    from nbguard.recover.diff import CellChange, NotebookDiff
    from nbguard.recover.naming import Found
    from nbguard.recover.when import When

_COLOURS = {"+": "32", "-": "31", "@": "36"}


@click.command()
@notebook_argument
@when_argument("old")
@when_argument("new")
@json_option
@click.pass_obj
def command(context: Context, notebook: str, old: str | None, new: str | None, as_json: bool) -> None:
    """Compare versions of NOTEBOOK, cell by cell.

    Without WHEN: the last kept version with the file on disk. With one: that version with the file on disk. With
    two: the first with the second. Exit codes: 0 done, whether they differ or not, 1 no such notebook or version,
    2 WHEN is not understood, 10 no archive.
    """
    from nbguard.recover.diff import diff_notebooks

    whens = [moment(text) for text in (old, new) if text is not None]
    library = library_of(context)
    found = find(library, notebook)
    before = _version(found, whens[0] if whens else None)
    after = _version(found, whens[1]) if len(whens) == 2 else None
    answer = diff_notebooks(library.read(before), library.read(after) if after else read_present(found.path))
    if as_json:
        print_json(_as_json(found.path, before, after, answer))
    else:
        _print(before, after, answer)


def read_present(path: str) -> bytes:
    """The bytes of the notebook on disk. Raises NothingMatched where it is gone, Refused where it is no file."""
    from nbguard.recover.folder import open_file
    from nbguard.recover.wording import shown

    try:
        fd = open_file(os.path.realpath(path))
    except FileNotFoundError:
        raise NothingMatched(
            f"{shown(path)} is not on disk", hint="compare two versions: nbguard diff NOTEBOOK ~2 ~1"
        ) from None
    except OSError as error:
        raise Refused(f"cannot read {shown(path)}: {error.strerror}", hint="compare two versions instead") from error
    if fd is None:
        raise Refused(f"{shown(path)} is not a file now", hint="compare two versions instead")
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _version(found: Found, when: When | None) -> Version:
    from nbguard.recover.choose import newest_with_bytes, pick_with_bytes

    return newest_with_bytes(found.versions) if when is None else pick_with_bytes(found.versions, when, LOCAL)


def _as_json(path: str, before: Version, after: Version | None, answer: NotebookDiff) -> dict[str, object]:
    return {
        **path_fields(path),
        "old": version_fields(before),
        "new": version_fields(after) if after else None,
        "identical": answer.identical,
        "readable": answer.readable,
        "cells": [
            {
                "change": str(cell.change),
                "kind": cell.kind,
                "before": cell.before,
                "after": cell.after,
                "lines": list(cell.lines),
                "notes": list(cell.notes),
            }
            for cell in answer.cells
        ],
        "notes": list(answer.notes),
        "text": list(answer.text),
    }


def _print(before: Version, after: Version | None, answer: NotebookDiff) -> None:
    from nbguard.recover.wording import named

    say(f"- {named(before, LOCAL)}")
    say(f"+ {named(after, LOCAL) if after else 'the file on disk'}")
    if answer.identical:
        say("no difference: the same bytes")
    elif not answer.readable:
        say("not both are readable notebooks; this is a plain text comparison")
    lines = list(answer.text)
    for cell in answer.cells:
        lines += [_headline(cell), *cell.lines]
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        sys.stdout.write(_painted(one_line(line), colour) + "\n")
    for note in answer.notes:
        sys.stdout.write(one_line(f"# {note}") + "\n")


def _headline(cell: CellChange) -> str:
    position = cell.after if cell.after is not None else cell.before
    number = "" if position is None else f" {position + 1}"
    was = f" (was {cell.before + 1})" if cell.before is not None and cell.after not in (None, cell.before) else ""
    notes = f": {', '.join(cell.notes)}" if cell.notes else ""
    return f"@@ {cell.kind} cell{number}{was} {cell.change}{notes}"


def _painted(line: str, colour: bool) -> str:
    code = _COLOURS.get(line[:1]) if colour else None
    return f"\x1b[{code}m{line}\x1b[0m" if code else line
