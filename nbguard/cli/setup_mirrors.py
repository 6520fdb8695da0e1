"""The part of `nbguard setup` about copies elsewhere: those that were asked for, and a proposal where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbguard.cli.output import say, size
from nbguard.errors import NbguardError

if TYPE_CHECKING:
    from nbguard.cli.context import Context


def add_asked(context: Context, asked: tuple[str, ...], *, yes: bool, dry_run: bool = False) -> list[str]:
    """Add each mirror that was asked for and is not there yet; returns what could not be done."""
    from nbguard.app_mirror import mirror_reports
    from nbguard.app_mirror_adding import configured_name
    from nbguard.cli.mirror_command import add_mirror, sync_one

    not_done = []
    for url in asked:
        try:
            name = configured_name(context, url)
            if name is None:
                add_mirror(context, url, yes=yes, dry_run=dry_run)
            elif not dry_run and any(
                report.name == name and report.verified_at is None for report in mirror_reports(context)
            ):
                sync_one(context, name)
        except NbguardError as error:
            not_done.append(f"a mirror: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    return not_done


def propose(context: Context, *, ask: bool) -> None:
    """Warn where the archive would die with the notebooks, and propose a place that would not."""
    from nbguard.app_mirror_adding import dies_together, spot_for_mirror
    from nbguard.cli.mirror_command import add_mirror

    if not dies_together(context):
        return
    say("the archive is on the same file system as your notebooks: what destroys that disk takes both")
    spot = spot_for_mirror(context)
    if spot is None:
        say("a copy on another disk or machine: nbguard mirror add URL (a path, ssh://, host:path or https://)")
        return
    if not ask:
        say(f"{size(spot.free_bytes)} are free on another disk: nbguard mirror add {spot.path}")
        return
    if click.confirm(f"Keep a copy at {spot.path} ({size(spot.free_bytes)} free)?", default=False, err=True):
        try:
            add_mirror(context, spot.path, yes=True)
        except NbguardError as error:
            say(f"not done: {error.message}; {error.hint}")
