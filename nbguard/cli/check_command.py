"""`nbguard check`: the independent check, which trusts nobody's word and tells people what it finds."""

from __future__ import annotations

import sys

import click

from nbguard.cli.context import Context
from nbguard.cli.output import clean, print_json, say


@click.command()
@click.option("--light", is_flag=True, help="Only whether the daemon is there and answers.")
@click.option("--no-send", is_flag=True, help="Tell nobody, and record no incident.")
@click.option("--mirror", metavar="URL", help="Instead: look from here which hosts that mirror there have stalled.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(context: Context, *, light: bool, no_send: bool, mirror: str | None, as_object: bool) -> int:
    """Prove that protection works: keep a canary and ask for it back, restore an old version, read old objects again,
    compare every notebook with what is durable.

    With --mirror, for cron on another machine, which needs nothing of its own: who has not been heard of for two hours
    by this machine's clock, and what hosts say of themselves (exit code 1: the mirror does not answer now).

    Exit codes: 0 protected (also when something needs a look), 11 another check is at work, 20 stalled, 21 nobody is
    known to read the channels, 22 something in scope is not protected, 78 bad configuration.
    """
    from nbguard.app_check import run_check
    from nbguard.app_lease import refuse_elsewhere
    from nbguard.app_service import look_after
    from nbguard.health import status

    bad = context.look_past_settings()
    if mirror is not None:
        from nbguard.cli.peer_page import show

        return show(context, mirror, sends=not no_send, as_json=as_object)
    refuse_elsewhere(context, is_waiting=True)
    checked = run_check(context, bad, light=light, sends=not no_send, say=say)
    if as_object:
        print_json({**status.as_json(checked.report), "light": light})
    else:
        for line in status.as_lines(checked.report, is_light=light):
            sys.stdout.write(clean(line) + "\n")
    if bad is not None:
        raise bad
    for trouble in look_after(context, light=light) if not no_send else ():
        say(trouble)
    return checked.report.verdict.exit_code
