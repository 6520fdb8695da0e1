"""`nbguard adopt`: take over from a mirror."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, json_option
from nbguard.cli.context import Context
from nbguard.cli.output import Bar, path_fields, print_json, print_line, say
from nbguard.errors import Ambiguous

if TYPE_CHECKING:
    from nbguard.app_adopt import Adopted
    from nbguard.mirror.reader import InMirror
    from nbguard.mirror.there import HostRefs


@click.command()
@click.argument("url", metavar="URL")
@click.option("--host", metavar="HOST", help="Whose archive: its name in the mirror, or how that begins.")
@click.option("--yes", is_flag=True, help="Ask nothing; watch the folders of then that are here.")
@dry_run_option
@json_option
@click.pass_obj
def command(context: Context, *, url: str, host: str | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Bring back everything that is in the mirror URL: versions, and what was executed.

    For a new machine. What is there is not changed, now or later; nbguard goes on here under a name of its own.
    Exit codes: 0 done, 1 no such host, the mirror cannot be read, or there is an archive here already, 2 wrong usage,
    11 a daemon runs here, 78 bad configuration, or git too old.
    """
    from nbguard import app_adopt
    from nbguard.app_lease import refuse_elsewhere
    from nbguard.git import check_git

    check_git()
    refuse_elsewhere(context)
    mirror = app_adopt.mirrored(url)
    there = app_adopt.look(context, mirror)
    chosen = _choose(there, host)
    if dry_run:
        _say_planned(context, chosen, as_json=as_json)
        return
    bars: list[Bar] = []

    def bar(label: str) -> Bar:
        for one in bars:
            one.clear()
        bars.append(Bar(label))
        return bars[-1]

    try:
        adopted = app_adopt.adopt(context, mirror, chosen, is_newer=there.is_newer_of(chosen), bar=bar)
    finally:
        bar("").clear()
    if as_json:
        print_json(_fields(adopted))
    else:
        _report(adopted)
    _watch(context, adopted, yes=yes)


def _choose(there: InMirror, wanted: str | None) -> HostRefs:
    from nbguard.mirror.adopt import choose_host

    while True:
        try:
            return choose_host(there, wanted)
        except Ambiguous as error:
            if not sys.stdin.isatty():
                raise
            say(f"{error.message}:")
            say(error.hint.partition("\n")[2])
            wanted = click.prompt("Which one", err=True)


def _say_planned(context: Context, host: HostRefs, *, as_json: bool) -> None:
    if as_json:
        print_json({"namespace": host.namespace, **path_fields(context.places.archive, "archive"), "dry_run": True})
        return
    say(f"would bring everything of {host.namespace} to {context.places.archive}")


def _fields(adopted: Adopted) -> dict[str, object]:
    from nbguard.clock import iso

    return {
        "namespace": adopted.source.namespace,
        "mirror": adopted.source.mirror,
        "at": iso(adopted.source.at),
        **path_fields(adopted.archive, "archive"),
        "notebooks": adopted.notebooks,
        "versions": adopted.versions,
        "sessions": adopted.sessions,
        "roots_here": [path_fields(root) for root in adopted.roots_here],
        "roots_gone": [path_fields(root) for root in adopted.roots_gone],
        "dry_run": False,
    }


def _report(adopted: Adopted) -> None:
    print_line(adopted.archive)
    notebooks = "1 notebook" if adopted.notebooks == 1 else f"{adopted.notebooks} notebooks"
    versions = "1 version" if adopted.versions == 1 else f"{adopted.versions} versions"
    say(f"everything of {adopted.source.namespace} is here: {notebooks}, {versions}")
    if adopted.sessions:
        say(f"executed cells of {adopted.sessions} session{'' if adopted.sessions == 1 else 's'} too: nbguard history")
    say("see them: nbguard list")
    say("bring them all back, below a new folder: nbguard restore --all --at today --to DIR")
    for root in adopted.roots_gone:
        say(f"not on this machine: {root} (a notebook of it: nbguard restore NOTEBOOK --to PATH)")
    if adopted.is_newer:
        say("a newer nbguard wrote it: everything can be read; to keep new versions here, update nbguard")


def _watch(context: Context, adopted: Adopted, *, yes: bool) -> None:
    """Propose the folders of then that are here; a configuration that is there is not touched."""
    from shlex import quote

    from nbguard.service.setup import write_configuration
    from nbguard.settings_writing import minimal_configuration

    if context.settings is not None or not adopted.roots_here:
        say("to go on keeping here: nbguard setup")
        return
    folders = ", ".join(adopted.roots_here)
    if not yes and not (sys.stdin.isatty() and click.confirm(f"Watch {folders} here too?", default=True, err=True)):
        say(f"to go on keeping here: nbguard setup {' '.join(f'--watch {quote(root)}' for root in adopted.roots_here)}")
        return
    write_configuration(context.places.config, minimal_configuration(adopted.roots_here))
    say(f"watched from now on: {folders}; start it: nbguard setup --yes")
