"""`nbguard service`: the daemon in the background, by the machine's own service manager."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option
from nbguard.cli.context import Context
from nbguard.cli.output import print_bytes, print_json, print_line, say
from nbguard.errors import NbguardError, PartlyDone

if TYPE_CHECKING:
    from nbguard.service.manager import ServiceReport


@click.group()
def command() -> None:
    """Install, ask or remove the background service."""


@command.command()
@dry_run_option
@click.pass_obj
def install(context: Context, *, dry_run: bool) -> None:
    """Install daemon and checks, start them, and ask the manager whether they run. Run it again after an upgrade.

    Exit codes: 0 it runs, 1 there is no service manager (said what to do instead), 3 some of it is done, 78 bad
    configuration, or git too old.
    """
    from nbguard.app_service import is_older, manager_of, prepare_last_words
    from nbguard.git import check_git

    check_git()
    settings = context.settings
    if settings is None or not settings.roots:
        raise NbguardError("there is no configuration that names a folder to watch", hint="run `nbguard setup` first")
    manager = manager_of(context)
    if dry_run:
        say(f"would install and start {manager.report().unit_path}")
        return
    _refuse_second_daemon(context, manager.report().pid)
    missing = manager.install(restart=is_older(context))
    prepare_last_words(context)
    if missing:
        raise PartlyDone("; ".join(missing), hint="mend it, then run `nbguard service install` again")
    report = manager.report()
    say(f"the service runs: {report.unit_path}, process {report.pid}")
    say(f"and is checked on: {', '.join(f'nbguard {check.name}' for check in report.checkers)}")


@command.command()
@dry_run_option
@click.pass_obj
def uninstall(context: Context, *, dry_run: bool) -> None:
    """Stop daemon and checks and leave nothing of them; the archive is not touched.

    Exit codes: 0 done, 1 there is no service manager, 3 something is left (said what).
    """
    from nbguard.app_service import manager_of

    context.look_past_settings()  # a configuration that cannot be used must not keep the service there
    manager = manager_of(context)
    if dry_run:
        say(f"would stop the service and remove {manager.report().unit_path}")
        return
    missing = manager.uninstall()
    if missing:
        raise PartlyDone("; ".join(missing), hint="mend it, then run `nbguard service uninstall` again")
    say(f"the service is gone; every version is still in {context.places.archive}")
    say("if you added the line of `nbguard service prompt` to a start-up file of your shell, take it out")


@command.command()
@json_option
@click.pass_obj
def status(context: Context, *, as_json: bool) -> None:
    """What the manager says of the service; `nbguard status` says whether notebooks are protected.

    Exit codes: 0 daemon and checks are active and enabled, 1 not, or there is no service manager.
    """
    from dataclasses import asdict

    from nbguard.app_service import manager_of

    context.look_past_settings()
    report = manager_of(context).report()
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report)
    if not report.is_well():
        sys.stdout.flush()
        raise click.exceptions.Exit(1)


@command.command()
@click.option("-n", "lines", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on as they come.")
@click.pass_obj
def logs(context: Context, lines: int, *, follow: bool) -> None:
    """Print the service's log.

    Exit codes: those of journalctl; 1 there is no service manager.
    """
    from nbguard.app_service import manager_of

    context.look_past_settings()
    asked = manager_of(context).logs_command(lines, follow=follow)
    chosen = list(asked) if asked is not None else ["tail", "-n", str(lines), context.places.log_file]
    sys.stdout.flush()
    os.execvp(chosen[0], chosen)


@command.command()
@click.option("--login", is_flag=True, help="For a login file (~/.profile): look once, not before every prompt.")
@click.pass_obj
def prompt(context: Context, *, login: bool) -> None:
    """Print lines for your shell's start-up file, which speak up when backups stop; nbguard edits no file of yours.

    For bash, zsh, ksh and dash: nbguard service prompt >> ~/.bashrc

    Exit codes: 0 done.
    """
    from nbguard.app_service import prompt_lines

    context.look_past_settings()
    print_bytes(os.fsencode(prompt_lines(context, login=login)))


def _print_report(report: ServiceReport) -> None:
    print_line(f"service:   {'installed' if report.installed else 'not installed'} ({report.manager})")
    print_line(f"state:     {report.state}{f', process {report.pid}' if report.pid else ''}")
    print_line(f"at boot:   {'yes' if report.enabled and report.lingers is not False else 'no'}")
    print_line(f"restarts:  {report.restarts}")
    for check in report.checkers:
        ran = "" if check.last_seconds is None else f", ran {check.last_seconds:.0f} s ago"
        failed = "" if check.result == "success" else f", failed: {check.result}"
        print_line(f"{f'{check.name}:':<15}{'active' if check.active and check.enabled else 'not active'}{ran}{failed}")
    if not report.installed:
        return
    if not report.command_exists or not all(check.command_exists for check in report.checkers):
        print_line("the program that it starts is gone: run `nbguard service install` from where nbguard is now")
    elif not report.up_to_date:
        print_line("it was installed with other settings, or by another nbguard: run `nbguard service install`")
    if report.lingers is False:
        print_line("lingering is off: it ends when you log out (`nbguard service install` turns it on)")


def _refuse_second_daemon(context: Context, service_pid: int | None) -> None:
    """A daemon in some terminal holds the lock: the service would start in vain, again and again."""
    from nbguard.health.places_seen import is_locked

    if service_pid is None and is_locked(context.places.daemon_lock):
        raise NbguardError("a daemon already runs in the foreground", hint="end it, then install the service")
