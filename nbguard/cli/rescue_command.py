"""`nbguard rescue`: what is left of a notebook, from every source on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option, working_folder
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, path_fields, print_json, say
from nbguard.errors import Ambiguous, NothingMatched, PartlyDone, UsageError

if TYPE_CHECKING:
    from nbguard.app_rescue import Machine, Rescued
    from nbguard.rescue.findings import Finding
    from nbguard.rescue.result import Written


@click.command()
@click.argument("notebook", metavar="[NOTEBOOK]", required=False)
@click.option("--session", metavar="ID", help="One session of executed cells.")
@click.option("--under", metavar="DIR", type=click.Path(), help="Search this folder instead of home and here.")
@click.option("-o", "output", metavar="DIR", type=click.Path(), help="Write what is found below this folder.")
@click.option("--check", is_flag=True, help="Execute the rebuilt notebook in a new kernel; say which cells fail.")
@dry_run_option
@json_option
@click.pass_obj
def command(
    context: Context,
    *,
    notebook: str | None,
    session: str | None,
    under: str | None,
    output: str | None,
    check: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """What is left of NOTEBOOK, from every source on this machine.

    Works without any setup, and changes nothing. Without -o it only lists; with it, everything is written below DIR,
    with a rebuilt notebook and a log of all executed cells, never over an existing file. Exit codes: 0 done, 1 nothing
    matched, 3 some sources could not be read (they are named).
    """
    from nbguard import app_rescue, app_rescue_writing

    if notebook and session:
        raise UsageError("NOTEBOOK and --session exclude each other", hint="leave one of them out")
    if check and not (output and notebook):
        raise UsageError("--check needs NOTEBOOK and -o DIR", hint="nbguard rescue eda.ipynb -o rescued --check")
    if under is not None and not os.path.isdir(under):
        raise UsageError(f"{under} is no folder", hint="--under DIR is the folder that is searched")
    bad = context.look_past_settings()
    if bad is not None and not as_json:
        say(f"the configuration is passed over: {bad.message}")
    machine = _machine()
    request = app_rescue.Request(
        wanted=app_rescue.wanted_of(notebook, session, machine.cwd), under=under, output=output
    )
    bar = Bar("searching")
    try:
        rescued = app_rescue.look_everywhere(context, machine, request, bar)
    finally:
        bar.clear()
    try:
        written = app_rescue_writing.write(request, rescued, check=check) if output and not dry_run else None
    finally:
        rescued.close()
    if as_json:
        print_json(_as_json(rescued, written))
    else:
        from nbguard.cli.rescue_listing import listing
        from nbguard.clock import SystemClock

        listing(notebook, rescued, written, SystemClock().now())
        if output and dry_run:
            count = len(rescued.gathered.found)
            say(f"would write {count} finding{'' if count == 1 else 's'} and what is rebuilt of them below {output}")
    _end(notebook or session or "", rescued)


def _machine() -> Machine:
    from nbguard.app_rescue import Machine, temporary_folders

    return Machine(
        environment=dict(os.environ),
        home=os.path.expanduser("~"),
        cwd=working_folder(),
        temporary=temporary_folders(os.environ),
    )


def _as_json(rescued: Rescued, written: Written | None) -> dict[str, object]:
    places = written.places if written else {}
    return {
        "found": [
            _finding_fields(finding, places.get(number)) for number, finding in enumerate(rescued.gathered.found)
        ],
        "rebuilt": {
            "notebook": written.notebook if written else None,
            "log": written.log if written else None,
            **(
                {"failing": [{"cell": number, "why": why} for number, why in written.failing]}
                if written and written.failing is not None
                else {}
            ),
        },
        "unavailable": [{"source": str(each.source), "reason": each.reason} for each in rescued.gathered.unavailable],
        "present": [path_fields(path) for path in rescued.present],
    }


def _finding_fields(finding: Finding, place: str | None) -> dict[str, object]:
    from nbguard.clock import iso

    return {
        "source": str(finding.source),
        **path_fields(finding.path),
        "time": iso(finding.time) if finding.time is not None else None,
        "bytes": finding.size,
        "cells": finding.cells,
        "confidence": str(finding.confidence),
        **(path_fields(place, "written_to") if place is not None else {"written_to": None}),
        **(path_fields(finding.notebook, "notebook") if finding.notebook is not None else {"notebook": None}),
        "id": finding.id or None,
        "note": finding.note or None,
    }


def _end(name: str, rescued: Rescued) -> None:
    """Raises what the exit code has to say."""
    from nbguard.rescue.matching import candidates

    gathered = rescued.gathered
    if not gathered.found:
        raise NothingMatched(
            f"nothing is left of {name!r} that could be found" if name else "nothing was found",
            hint="search another folder with --under DIR, or look at everything: nbguard rescue",
        )
    if several := candidates(gathered.found):
        shown = "\n".join(several[:10])
        raise Ambiguous(f"{len(several)} notebooks match {name}", hint=f"say more of the path:\n{shown}")
    if gathered.unavailable:
        count = len(gathered.unavailable)
        raise PartlyDone(
            f"{count} source{'' if count == 1 else 's'} could not be read",
            hint="\n".join(f"{each.source}: {each.reason}" for each in gathered.unavailable[:20]),
        )
