"""`nbguard undo`: reverse the last restore in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option, library_of
from nbguard.cli.context import Context
from nbguard.cli.output import path_fields, print_json, print_line, say
from nbguard.cli.zone import LOCAL

if TYPE_CHECKING:
    from nbguard.model import Version
    from nbguard.recover.undo import UndoPlan


@click.command()
@dry_run_option
@json_option
@click.pass_obj
def command(context: Context, dry_run: bool, as_json: bool) -> None:
    """Reverse the last restore in place.

    A notebook that was changed since is kept first. What the restore created is removed, if nobody changed it.
    Exit codes: 0 done, 1 nothing to undo or refused, 3 undone but the result is not kept, 10 no archive.
    """
    from nbguard import app
    from nbguard.clock import SystemClock
    from nbguard.errors import PartlyDone
    from nbguard.recover.journal import Journal
    from nbguard.recover.undo import plan_undo, undo

    journal = Journal(context.places.restores)
    library = library_of(context)
    plan = plan_undo(journal, library, LOCAL)
    if dry_run:
        _report(plan, None, as_json, dry_run=True)
        return
    done = undo(plan, library=library, keep=app.keeper(context), journal=journal, now=SystemClock().now)
    _report(plan, done.kept, as_json, dry_run=False)
    if done.trouble:
        raise PartlyDone(
            f"undone, but the result was not kept as a version: {done.trouble}", hint="see `nbguard status`"
        )


def _report(plan: UndoPlan, kept: Version | None, as_json: bool, *, dry_run: bool) -> None:
    from nbguard.recover.restore import restore_command
    from nbguard.recover.wording import named, shown

    path = plan.entry.path
    back = plan.back_to
    reverse = None if kept is None else restore_command(path, kept.id)
    if as_json:
        print_json(
            {
                **path_fields(path),
                "version": back.id if back else None,
                **(path_fields(path, "written_to") if back else {"written_to": None}),
                "sha256": back.sha256 if back else None,
                "undo": reverse,
                "kept_first": kept.id if kept else None,
                "changed_since": plan.changed_since,
                "dry_run": dry_run,
            }
        )
        return
    print_line(path)
    if plan.nothing_to_do:
        say(f"{shown(path)} is what it was before the restore already")
        return
    if plan.changed_since:
        version = f" as version {kept.id[:8]}" if kept else ""
        say(f"it was changed since the restore; that state {'would be' if dry_run else 'was'} kept first{version}")
    if back:
        say(f"{'would put' if dry_run else 'put'} back {named(back, LOCAL)}")
    else:
        say(f"{'would remove it' if dry_run else 'removed'}: it did not exist before the restore")
    if reverse:
        say(f"undo this: {reverse}")
