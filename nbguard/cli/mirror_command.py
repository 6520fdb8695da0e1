"""`nbguard mirror`: copies of the archive elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, print_json, print_line, say
from nbguard.errors import NbguardError, NothingMatched, PartlyDone, UsageError

if TYPE_CHECKING:
    from nbguard.alerting import MirrorReport
    from nbguard.mirror.addresses import Address
    from nbguard.settings import Mirror


@click.group()
def command() -> None:
    """Keep copies of the archive elsewhere, and prove that they are whole."""


@command.command()
@click.argument("url", metavar="URL")
@click.option("--name", metavar="NAME", help="What to call it; else it is named after its folder or host.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@dry_run_option
@click.pass_obj
def add(context: Context, url: str, *, name: str | None, yes: bool, dry_run: bool) -> None:
    """Mirror to a git remote: a path on another disk, ssh://, host:path or https://.

    A path where nothing is becomes a private, bare repository. The first copy is made now, and read back.

    Exit codes: 0 done, 1 refused, 2 no address, or not confirmed, 3 it is configured and not all is there yet (it is
    tried again by itself), 10 no archive, 78 bad configuration.
    """
    add_mirror(context, url, name, yes=yes, dry_run=dry_run)


def add_mirror(context: Context, url: str, name: str | None = None, *, yes: bool, dry_run: bool = False) -> None:
    """As `mirror add`. Raises NbguardError."""
    from nbguard import app
    from nbguard import app_mirror_adding as adding
    from nbguard.git import check_git
    from nbguard.settings_writing import with_mirror

    check_git()
    _check_name(name)
    app.archive_of(context).require()
    mirror, address = adding.new_mirror(context, url, name)
    is_new = adding.lies_vacant(address)
    if dry_run:
        say(f"would mirror to {address.shown}, as {mirror.name}{' (a new repository)' if is_new else ''}")
        return
    if adding.is_on_the_same_disk(context, address):
        say("this is the file system of the archive: what destroys it takes both")
    _confirm(address, is_new=is_new, yes=yes)
    if is_new:
        adding.make_there(address)
        say(f"made {address.shown}")
    if adding.is_open_to_others(address):
        say(f"other users of this machine can read {address.shown}")
    adding.change_configuration(context, lambda raw, path: with_mirror(raw, path, mirror))
    say(f"mirror {mirror.name}: {address.shown}")
    _push(context, mirror)


def sync_one(context: Context, name: str) -> None:
    """As `mirror sync NAME`. Raises NbguardError."""
    from nbguard.app_mirror import mirror_named

    _push(context, mirror_named(context, name))


@command.command(name="list")
@json_option
@click.pass_obj
def list_(context: Context, *, as_json: bool) -> None:
    """Every mirror, when it was last verified, and what is wrong with it.

    Exit codes: 0 also where there is none, 78 bad configuration.
    """
    from nbguard.app_mirror import mirror_reports
    from nbguard.cli.output import table

    reports = mirror_reports(context)
    if as_json:
        print_json([_fields(report) for report in reports])
        return
    for line in table([report.name, _state(report), report.address] for report in reports):
        print_line(line)
    if not reports:
        say("there is no mirror: nbguard mirror add URL")


@command.command()
@click.argument("name", metavar="[NAME]", required=False)
@json_option
@click.pass_obj
def sync(context: Context, name: str | None, *, as_json: bool) -> None:
    """Bring mirrors up to date now, and read them back; one that is a folder is read whole.

    Exit codes: 0 all of ours is there, 1 no such mirror, 3 some failed (said which and why), 10 no archive, 11 a
    mirror is just being worked on, 78 bad configuration.
    """
    from nbguard import app
    from nbguard.app_mirror import mirror_named, mirror_reports
    from nbguard.settings import Settings

    mirrors = (mirror_named(context, name),) if name else (context.settings or Settings()).mirrors
    if not mirrors:
        raise NothingMatched("there is no mirror", hint="nbguard mirror add URL")
    app.archive_of(context).require()
    failed = []
    for mirror in mirrors:
        try:
            _push(context, mirror)
        except PartlyDone as error:
            say(f"mirror {error.message}")
            say(f"hint:  {error.hint}")
            failed.append(mirror.name)
    if as_json:
        chosen = {mirror.name for mirror in mirrors}
        print_json([_fields(report) for report in mirror_reports(context) if report.name in chosen])
    if failed:
        sys.stdout.flush()
        hint = "they are tried again by themselves; see `nbguard mirror list`"
        raise PartlyDone(f"not up to date: {', '.join(failed)}", hint=hint)


@command.command()
@click.argument("name", metavar="NAME")
@dry_run_option
@click.pass_obj
def remove(context: Context, name: str, *, dry_run: bool) -> None:
    """Mirror there no longer. The copy that is there stays, and is yours to delete.

    Exit codes: 0 done, 1 no such mirror, 78 the configuration cannot be changed.
    """
    from nbguard.app_mirror import mirror_named, mirror_reports
    from nbguard.app_mirror_adding import change_configuration
    from nbguard.settings_writing import without_mirror

    mirror_named(context, name)
    (report,) = [report for report in mirror_reports(context) if report.name == name]
    if dry_run:
        say(f"would mirror no longer to {report.address}; what is there would stay")
        return
    change_configuration(context, lambda raw, path: without_mirror(raw, path, name))
    say(f"mirror {name} is taken out of the configuration; a running daemon notices within half a minute")
    say(f"everything that was copied to {report.address} is still there, for whoever may read it")


def _check_name(name: str | None) -> None:
    from nbguard.mirror.layout import plain_name

    if name is not None and (not name or plain_name(name, 64) != name):
        raise UsageError(f"{name!r} cannot be a name", hint="use lower-case letters, digits, dots and dashes")


def _confirm(address: Address, *, is_new: bool, yes: bool) -> None:
    if address.leaves_machine:
        say(
            f"everything that is kept leaves this machine and becomes readable at {address.shown}: notebooks, all code "
            "that was run, saved or not, and outputs as they stand in notebooks, with the names of their folders"
        )
    if yes or not (address.leaves_machine or is_new):
        return
    question = "Mirror there?" if address.leaves_machine else f"Make a mirror at {address.shown}?"
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="to agree without being asked, add --yes")
    click.confirm(question, default=not address.leaves_machine, abort=True, err=True)


def _push(context: Context, mirror: Mirror) -> None:
    """Push and verify now. Raises Busy, PartlyDone."""
    from nbguard.app_mirror import mirror_reports, rounds_of
    from nbguard.errors import Busy

    bar = Bar(f"mirroring to {mirror.name}")
    try:
        state = rounds_of(context).try_one(mirror, whole=True, progress=bar)
    except Busy as error:
        raise Busy(
            f"mirror {mirror.name} is just being worked on", hint="the daemon brings it up to date; see `mirror list`"
        ) from error
    except NbguardError as error:
        noted = next((report.trouble for report in mirror_reports(context) if report.name == mirror.name), "")
        message = noted if noted.startswith(error.message) else error.message  # with what can be seen of its disk
        raise PartlyDone(f"{mirror.name}: {message}", hint=error.hint) from error
    finally:
        bar.clear()
    whole = ", everything in it" if state.read_whole_at == state.sampled_at else ""
    say(f"mirror {mirror.name} is up to date; read back: {state.verified_by}{whole}")


def _state(report: MirrorReport) -> str:
    from nbguard.clock import iso

    if report.foreign:
        return f"foreign: {report.foreign}"
    if report.trouble:
        return f"failing: {report.trouble}"
    if report.verified_at is None:
        return "never verified"
    return f"{'behind, ' if report.behind_since else ''}verified {iso(report.verified_at)[:16]}Z"


def _fields(report: MirrorReport) -> dict[str, object]:
    from nbguard.clock import iso

    times = {
        key: None if (at := getattr(report, key)) is None else iso(at)
        for key in ("tried_at", "verified_at", "behind_since")
    }
    return {
        "name": report.name,
        "address": report.address,
        **times,
        "trouble": report.trouble,
        "foreign": report.foreign,
    }
