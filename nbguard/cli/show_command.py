"""`nbguard show`: one version on stdout; as a notebook, exactly its bytes."""

from __future__ import annotations

import sys

import click

from nbguard.cli.asking import find, library_of, moment, notebook_argument, when_argument, with_outputs_option
from nbguard.cli.context import Context
from nbguard.cli.output import clean, print_bytes, say
from nbguard.cli.zone import LOCAL


@click.command()
@notebook_argument
@when_argument()
@click.option(
    "--as",
    "form",
    type=click.Choice(["ipynb", "py", "md", "html"]),
    default="ipynb",
    show_default=True,
    help="The exact bytes, py:percent, Markdown, or one static page.",
)
@with_outputs_option
@click.pass_obj
def command(context: Context, notebook: str, when: str | None, form: str, *, with_outputs: bool) -> None:
    """Print one version of NOTEBOOK: the newest, or the one of WHEN.

    Nothing is run or loaded, whatever the notebook holds. Exit codes: 0 done, 1 no such notebook or version, 2 WHEN
    is not understood, 10 no archive.
    """
    from nbguard.recover.choose import newest_with_bytes, pick_with_bytes

    chosen = None if when is None else moment(when)
    library = library_of(context)
    found = find(library, notebook)
    version = newest_with_bytes(found.versions) if chosen is None else pick_with_bytes(found.versions, chosen, LOCAL)
    data = library.read(version)
    if with_outputs:
        from nbguard.app_flight import completing

        completed = completing(context, version, found.versions)(data)
        say(completed.in_words())
        data = completed.data
    if form == "ipynb":
        print_bytes(data)
    elif form == "html":
        import os

        from nbguard.recover.page import as_html
        from nbguard.recover.wording import named

        print_bytes(
            as_html(data, name=os.path.basename(version.path), subtitle=f"version {named(version, LOCAL)}").encode()
        )
    else:
        from nbguard.recover.render import as_md, as_py

        text = as_py(data) if form == "py" else as_md(data)
        if to_a_terminal():
            text = clean(text)  # a notebook's text may hold what a terminal would obey
        print_bytes(text.encode("utf-8", "backslashreplace"))


def to_a_terminal() -> bool:
    """Whether somebody looks at it, rather than a file or a program."""
    return sys.stdout.isatty()
