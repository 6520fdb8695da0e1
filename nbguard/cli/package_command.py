"""`nbguard package`: everything that was kept, in one zip that opens without nbguard."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, find, json_option, moment, working_folder
from nbguard.cli.completion import complete_notebook, complete_when
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, path_fields, print_json, print_line, say, size
from nbguard.cli.zone import LOCAL
from nbguard.errors import Ambiguous, NoArchive, NothingMatched, PartlyDone, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from nbguard.model import Version
    from nbguard.package.build import Parts
    from nbguard.package.contents import Chosen, Missing, Order, PackageReport
    from nbguard.recover.when import When


@click.command()
@click.argument("notebooks", metavar="[NOTEBOOK]...", nargs=-1, shell_complete=complete_notebook)
@click.option("--all", "everything", is_flag=True, help="Also what belongs to no notebook, and history databases.")
@click.option("--at", "when", metavar="WHEN", shell_complete=complete_when, help="As it was then.")
@click.option("-o", "target", metavar="FILE.zip", type=click.Path(), help="Write there; nothing is ever overwritten.")
@dry_run_option
@json_option
@click.pass_obj
def command(
    context: Context,
    *,
    notebooks: tuple[str, ...],
    everything: bool,
    when: str | None,
    target: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a recovery package: one zip that a person can open without nbguard.

    Without NOTEBOOK: every notebook. A selection holds only its own versions and the sessions that belong to it.
    Exit codes: 0 done, 1 no such notebook, or FILE.zip is there already, 3 made, but some of it could not be read (it
    says what), 10 the archive has vanished (what is left is packed).
    """
    if everything and notebooks:
        raise UsageError("--all takes no notebooks", hint="nbguard package --all, or nbguard package NOTEBOOK")
    from nbguard import app_package
    from nbguard.clock import SystemClock
    from nbguard.package.aside import refuse_existing
    from nbguard.package.contents import Order

    chosen_when = None if when is None else moment(when)
    path = _target(target, SystemClock().now())
    refuse_existing(path)
    vanished = _make_archive(context, dry_run=dry_run)
    bar = Bar("packing")
    try:
        store, missing = app_package.package_store(context, bar)
        executed, not_executed = app_package.package_executed(context, bar)
        parts = app_package.parts_of(
            store,
            executed=executed,
            outputs=app_package.package_outputs(context),
            databases=context.places.databases,
            zone=LOCAL,
        )
        chosen, at = _chosen(parts, notebooks, chosen_when)
        order = Order(
            notebooks=chosen,
            unsaved=not notebooks,
            everything=everything,
            at=at,
            known_missing=missing + not_executed,
        )
        if vanished is not None and not order.notebooks:
            raise vanished
        if dry_run:
            parts.close()
            _would_pack(order, path, as_json)
            return
        report = app_package.build_package(parts, order, path, bar)
    finally:
        bar.clear()
    _report(report, as_json)
    for item in report.not_made:
        say(f"not made: {_missing_words(item)}")
    if report.left_out and not notebooks:
        say(f"{report.left_out} sessions belong to no notebook, or nobody can tell to which: --all packs them too")
    if vanished is not None:
        raise NoArchive(f"{vanished.message}; what is left of it is in the package", hint=vanished.hint)
    if report.missing:
        from nbguard.recover.wording import listed, shown

        raise PartlyDone(
            f"packed, but {len(report.missing)} thing{'' if len(report.missing) == 1 else 's'} could not be read",
            hint=listed(shown(_missing_words(item)) for item in report.missing),
        )


def _make_archive(context: Context, *, dry_run: bool) -> NoArchive | None:
    """The archive is made if none was ever made here; why it is not there any more, if that is so."""
    from nbguard import app

    archive = app.archive_of(context)
    try:
        if archive.exists() or archive.was_made() or dry_run:
            archive.require()  # not ensured: that writes, and the disk may be full, or read-only
        else:
            app.ensure_archive(context)
    except NoArchive as error:
        return error
    return None


def _target(given: str | None, now: datetime) -> str:
    name = given or f"nbguard-package-{now:%Y%m%dT%H%M%SZ}.zip"
    return os.path.normpath(os.path.join(working_folder(), name))


def _chosen(parts: Parts, notebooks: tuple[str, ...], when: When | None) -> tuple[tuple[Chosen, ...], datetime | None]:
    """What goes in, each notebook once, and the time (UTC) that WHEN means. Raises NothingMatched, Ambiguous,
    UsageError."""
    if notebooks:
        named = [_named(parts, notebook, when) for notebook in notebooks]
        once = {(chosen.notebook, chosen.notebook or chosen.path): chosen for chosen, _ in named}
        return tuple(once.values()), max((at for _, at in named if at is not None), default=None)
    from nbguard.app_package import everything_in
    from nbguard.package.contents import Chosen
    from nbguard.recover.choose import pick
    from nbguard.recover.when import Until

    library = parts.library
    every = everything_in(library)
    if when is None:
        return every, None
    instant = _instant(when)
    if instant is None:
        raise UsageError("without NOTEBOOK, --at needs a time", hint='for example: --at yesterday, --at "2 hours ago"')
    then = []
    for chosen in every:
        try:
            version = pick(library.log(chosen.notebook), Until(instant), LOCAL)
        except NothingMatched:
            continue  # it was not there yet
        then.append(
            Chosen(
                path=version.path,
                notebook=chosen.notebook,
                newest=version.id,
                at=instant,
                versions=chosen.versions,
            )
        )
    return tuple(then), instant


def _named(parts: Parts, text: str, when: When | None) -> tuple[Chosen, datetime | None]:
    from nbguard.package.contents import Chosen
    from nbguard.recover.choose import pick

    instant = None if when is None else _instant(when)
    try:
        found = find(parts.library, text)
    except Ambiguous:
        raise
    except NothingMatched:
        path = os.path.normpath(os.path.join(working_folder(), text))
        if parts.executed is None or all(link.path != path for link in parts.executed.links()):
            raise
        return Chosen(path=path, notebook=""), instant  # it was never saved, and cells were executed for it
    if when is None:
        return Chosen(path=found.path, notebook=found.notebook, versions=len(found.versions)), None
    version = pick(found.versions, when, LOCAL)
    if _is_named_by_id(version, when):
        instant = None
    chosen = Chosen(
        path=version.path, notebook=found.notebook, newest=version.id, at=instant, versions=len(found.versions)
    )
    return chosen, instant or version.saved_at


def _instant(when: When) -> datetime | None:
    """The time that WHEN means; None where it means a version. ``20261121`` may be either."""
    from nbguard.recover.when import Named, Until

    if isinstance(when, Named):
        return when.otherwise.instant if when.otherwise is not None else None
    return when.instant if isinstance(when, Until) else None


def _is_named_by_id(version: Version, when: When) -> bool:
    from nbguard.recover.when import Named

    return isinstance(when, Named) and version.id.startswith(when.prefix)


def _would_pack(order: Order, path: str, as_json: bool) -> None:
    from nbguard.recover.wording import shown

    versions = sum(chosen.versions for chosen in order.notebooks)
    if as_json:
        notebooks = [path_fields(chosen.path) for chosen in order.notebooks]
        print_json({**path_fields(path, "written_to"), "would_pack": notebooks, "versions": versions, "dry_run": True})
        return
    for chosen in order.notebooks:
        print_line(chosen.path)
    say(f"would pack {len(order.notebooks)} notebooks, up to {versions} versions, into {shown(path)}")


def _report(report: PackageReport, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                **path_fields(report.written_to, "written_to"),
                "members": report.members,
                "bytes": report.bytes,
                "notebooks": report.notebooks,
                "versions": report.versions,
                "sessions": report.sessions,
                "missing": [_missing_fields(item) for item in report.missing],
                "not_made": [_missing_fields(item) for item in report.not_made],
                "sha256": report.sha256,
            }
        )
        return
    print_line(report.written_to)
    counts = f"{report.notebooks} notebooks, {report.versions} versions, {report.sessions} sessions"
    say(f"{counts} in {size(report.bytes)}, read back and checked")
    say("it is not encrypted: mind where you send it")


def _missing_fields(missing: Missing) -> dict[str, object]:
    from nbguard.package.manifest import missing_row

    return missing_row(missing)


def _missing_words(missing: Missing) -> str:
    which = f" {missing.id[:10]}" if missing.id else ""
    whose = f" of {missing.path}" if missing.path is not None else ""
    return f"{missing.what}{which}{whose}: {missing.reason}"
