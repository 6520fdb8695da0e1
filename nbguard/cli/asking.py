"""What the commands that ask share: NOTEBOOK and WHEN, the library, and how they are looked up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from nbguard.cli.completion import complete_notebook, complete_when
from nbguard.cli.zone import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbguard.cli.context import Context
    from nbguard.ports import Library
    from nbguard.recover.naming import Found
    from nbguard.recover.when import When

notebook_argument = click.argument("notebook", metavar="NOTEBOOK", shell_complete=complete_notebook)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
with_outputs_option = click.option(
    "--with-outputs", is_flag=True, help="Fill in outputs that were recorded later than the save."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


def when_argument(name: str = "when") -> Callable[[click.decorators.FC], click.decorators.FC]:
    """An optional WHEN."""
    return click.argument(name, metavar="[WHEN]", required=False, shell_complete=complete_when)


def library_of(context: Context) -> Library:
    """Everything kept. Raises NoArchive."""
    from nbguard import app
    from nbguard.cli.output import Bar

    bar = Bar("reading the archive")
    library = app.open_library(context, bar)
    bar.clear()
    return library


def find(library: Library, notebook: str) -> Found:
    """The notebook of that name. Raises NothingMatched, Ambiguous, UsageError."""
    from nbguard.recover.naming import find_notebook

    return find_notebook(library, notebook, working_folder())


def moment(text: str) -> When:
    """What WHEN means now and here. Raises UsageError."""
    from nbguard.clock import SystemClock
    from nbguard.recover.when import parse_when

    return parse_when(text, SystemClock().now(), LOCAL)


def working_folder() -> str:
    """The working folder as the shell names it: a path through a symlink stays as the user wrote it."""
    here = os.environ.get("PWD", "")
    try:
        if os.path.isabs(here) and os.path.samefile(here, "."):
            return os.path.normpath(here)
    except OSError:
        pass
    return os.getcwd()
