"""`nbguard restore`: bring back one version, or everything as it was."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, find, json_option, library_of, moment, with_outputs_option
from nbguard.cli.completion import complete_notebook, complete_when
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, clean, path_fields, print_json, print_line, say
from nbguard.cli.zone import LOCAL
from nbguard.errors import PartlyDone, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from nbguard.errors import NbguardError
    from nbguard.ports import Library
    from nbguard.recover.complete import Completed
    from nbguard.recover.everything import GivenBack, NotGivenBack
    from nbguard.recover.restore import Outcome, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The switches of one restore."""

    in_place: bool
    with_outputs: bool
    dry_run: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Warnings:
    """What to know of a restore: servers that have the notebook open, an unmounted root, what nbformat objects to."""

    open_in: list[str]
    root_was_gone: bool
    complaint: str


@click.command()
@click.argument("notebook", metavar="[NOTEBOOK]", required=False, shell_complete=complete_notebook)
@click.option("--at", "when", metavar="WHEN", shell_complete=complete_when, help="Which version.")
@click.option("--to", "to", metavar="PATH", type=click.Path(), help="Write there; nothing is ever overwritten.")
@click.option("--in-place", is_flag=True, help="Replace the notebook; what is there is kept first.")
@click.option("--all", "everything", is_flag=True, help="All notebooks as they were at WHEN, below the folder PATH.")
@with_outputs_option
@dry_run_option
@json_option
@click.pass_obj
def command(
    context: Context,
    *,
    notebook: str | None,
    when: str | None,
    to: str | None,
    in_place: bool,
    everything: bool,
    with_outputs: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring back a version of NOTEBOOK.

    Without --at: the newest good version that differs from what is on disk. Without --to and --in-place: beside the
    notebook, under a new name; or where it was, if it is gone. `nbguard undo` reverses a restore in place. Exit codes:
    0 done, 1 no such notebook or version, or refused, 2 WHEN is not understood, 3 partly done, 10 no archive.
    """
    if everything:
        if notebook or in_place or when is None or to is None:
            raise UsageError("--all needs --at and --to, and no notebook", hint="restore --all --at yesterday --to DIR")
        if with_outputs:
            raise UsageError("--with-outputs is for one notebook", hint="restore them one by one, or without it")
        _restore_everything(context, when, to, dry_run=dry_run, as_json=as_json)
    elif notebook is None:
        raise UsageError("which notebook?", hint="for example: nbguard restore eda.ipynb --at yesterday")
    elif to is not None and in_place:
        raise UsageError("--to and --in-place exclude each other", hint="leave one of them out")
    else:
        how = How(in_place=in_place, with_outputs=with_outputs, dry_run=dry_run, as_json=as_json)
        _restore_one(context, notebook, when, to, how)


def _restore_one(context: Context, notebook: str, when: str | None, to: str | None, how: How) -> None:
    from nbguard import app
    from nbguard.clock import SystemClock
    from nbguard.recover.journal import Journal
    from nbguard.recover.restore import plan_restore, restore
    from nbguard.recover.validity import complaint

    chosen = None if when is None else moment(when)
    if how.in_place and not how.dry_run:
        app.ensure_archive(context)
    library = library_of(context)
    found = find(library, notebook)
    roots = context.settings.roots if context.settings else ()
    plan = plan_restore(found, chosen, to=to, in_place=how.in_place, cwd=os.getcwd(), zone=LOCAL, roots=roots)
    data = library.read(plan.version)
    completed = None
    if how.with_outputs:
        from nbguard.app_flight import completing

        completed = completing(context, plan.version, found.versions)(data)
        data = completed.data
    warnings = Warnings(_open_in(plan), not os.path.isdir(plan.version.root), complaint(data))
    if how.dry_run:
        _report(plan, None, warnings, completed, as_json=how.as_json)
        return
    outcome = restore(
        plan,
        library=library,
        keep=app.keeper(context),
        journal=Journal(context.places.restores),
        now=SystemClock().now,
        zone=LOCAL,
        complete=(lambda _: data) if completed is not None else bytes,
    )
    _report(plan, outcome, warnings, completed, as_json=how.as_json)
    if outcome.trouble:
        raise PartlyDone(
            f"restored, but the result was not kept as a version: {outcome.trouble}", hint="see `nbguard status`"
        )


def _open_in(plan: Plan) -> list[str]:
    from nbguard.jupyter_servers import runtime_folder
    from nbguard.recover.servers import servers_with

    if plan.target != plan.path:
        return []
    return servers_with(plan.path, runtime_folder(os.environ, os.path.expanduser("~"), sys.platform))


def _report(
    plan: Plan, outcome: Outcome | None, warnings: Warnings, completed: Completed | None, *, as_json: bool
) -> None:
    """``outcome`` is None for a dry run."""
    from nbguard.recover.restore import UNDO
    from nbguard.recover.wording import named, shown

    written_to = outcome.written_to if outcome else plan.target
    undo = UNDO if plan.in_place else None
    if as_json:
        digest = plan.version.sha256
        if completed is not None:
            from hashlib import sha256

            digest = sha256(completed.data).hexdigest()
        print_json(
            {
                **path_fields(plan.path),
                "version": plan.version.id,
                **path_fields(written_to, "written_to"),
                "sha256": digest,
                "undo": undo,
                "kept_first": outcome.before.id if outcome and outcome.before else None,
                "result": outcome.result.id if outcome and outcome.result else None,
                "open_in": warnings.open_in,
                "root_was_gone": warnings.root_was_gone,
                "valid": not warnings.complaint,
                "outputs_filled_in": completed.filled if completed else 0,
                "dry_run": outcome is None,
            }
        )
        return
    print_line(written_to)
    say(f"{'restored' if outcome else 'would restore'} {shown(plan.path)} as of {named(plan.version, LOCAL)}")
    if outcome and outcome.before:
        say(f"what was there is kept as {named(outcome.before, LOCAL)}")
    if completed is not None:
        say(completed.in_words())
    if undo and outcome:
        say(f"undo: {undo}")
    if warnings.complaint:
        say(f"warning: Jupyter may not open it, for nbformat says: {clean(warnings.complaint)}")
    if warnings.root_was_gone:
        say(f"warning: {shown(plan.version.root)} was not there; if it is a disk that is not mounted, mount it first")
    for url in warnings.open_in:
        say(f"warning: it is open in JupyterLab ({url}): choose Revert there, not Overwrite")


def _restore_everything(context: Context, when: str, to: str, *, dry_run: bool, as_json: bool) -> None:
    from nbguard.recover.everything import destination, restore_everything

    instant = _instant(when)
    library = library_of(context)
    versions = library.everything_at(instant)
    if not versions:
        raise _nothing_by_then(library, instant)
    folder = os.path.normpath(os.path.join(os.getcwd(), to))
    if dry_run:
        from nbguard.recover.everything import GivenBack

        planned = [GivenBack(version=version, written_to=destination(folder, version.path)) for version in versions]
        _report_everything(instant, folder, planned, [], as_json, dry_run=True)
        return
    bar = Bar("restoring")
    try:
        done, failed = restore_everything(versions, folder, library=library, progress=bar)
    finally:
        bar.clear()
    _report_everything(instant, folder, done, failed, as_json, dry_run=False)
    if failed:
        from nbguard.recover.wording import listed, shown

        raise PartlyDone(
            f"{len(failed)} of {len(versions)} notebook{'' if len(versions) == 1 else 's'} could not be given back",
            hint=listed(f"{shown(item.version.path)}: {item.error.message}" for item in failed),
        )


def _nothing_by_then(library: Library, instant: datetime) -> NbguardError:
    from nbguard.errors import NothingMatched
    from nbguard.recover.wording import local

    entries = library.entries(deleted=False)
    if not entries:
        return NothingMatched("no notebook was kept by then", hint="see `nbguard list --deleted`, `nbguard rescue`")
    first = min(entry.latest.saved_at for entry in entries)
    hint = f"there are versions from {local(first, LOCAL)} on: `--at today` takes the newest of each notebook"
    return NothingMatched(f"no notebook was kept by {local(instant, LOCAL)}", hint=hint)


def _instant(when: str) -> datetime:
    from nbguard.recover.when import Named, Until

    chosen = moment(when)
    if isinstance(chosen, Named) and chosen.otherwise is not None:
        chosen = chosen.otherwise
    if not isinstance(chosen, Until):
        raise UsageError(f"--all needs a time, not {when!r}", hint='for example: --at yesterday, --at "2 hours ago"')
    return chosen.instant


def _report_everything(
    instant: datetime,
    folder: str,
    done: list[GivenBack],
    failed: list[NotGivenBack],
    as_json: bool,
    *,
    dry_run: bool,
) -> None:
    from nbguard.clock import iso
    from nbguard.recover.wording import local

    if as_json:
        print_json(
            {
                "at": iso(instant),
                **path_fields(folder, "to"),
                "restored": [
                    {
                        **path_fields(item.version.path),
                        "version": item.version.id,
                        **path_fields(item.written_to, "written_to"),
                        "sha256": item.version.sha256,
                        "already": item.already,
                    }
                    for item in done
                ],
                "failed": [
                    {
                        **path_fields(item.version.path),
                        "version": item.version.id,
                        "code": item.error.code,
                        "message": item.error.message,
                    }
                    for item in failed
                ],
                "dry_run": dry_run,
            }
        )
        return
    for item in done:
        print_line(item.written_to)
    there = sum(item.already for item in done)
    what = f"{len(done)} notebook{'' if len(done) == 1 else 's'} as of {local(instant, LOCAL)}"
    say(f"{'would restore' if dry_run else 'restored'} {what}{f' ({there} were there already)' if there else ''}")
