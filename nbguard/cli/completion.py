"""Completion of NOTEBOOK and WHEN from the catalog, and of channels; a shell waiting for Tab never sees an error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import click
    from click.shell_completion import CompletionItem

    from nbguard.cli.context import Context

_Answer = TypeVar("_Answer")

MOST = 200
_ROWS = 30


def complete_notebook(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of kept notebooks that go on from ``incomplete``, as paths from here; files where there are none."""
    from click.shell_completion import CompletionItem

    from nbguard.cli.asking import working_folder

    paths = _quietly(ctx, _paths)
    names = spellings(paths, working_folder(), incomplete)
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def complete_when(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Versions of the notebook named before: rows of ``log``, ids once begun, and the words for days."""
    from click.shell_completion import CompletionItem

    # Behind an option that still waits for its value (`--at`), click has not come to sorting out the arguments.
    notebook = ctx.params.get("notebook") or next(iter(ctx.args), None)
    rows = _quietly(ctx, lambda context: _versions(context, notebook)) if isinstance(notebook, str) else []
    words = [(f"~{row}", text) for row, (_, text) in enumerate(rows[:_ROWS])]
    words += [("last-good", "the newest version that is ok"), ("yesterday", ""), ("today", "")]
    if incomplete and not incomplete.startswith("~"):
        words += [(name[:8], text) for name, text in rows]
    return [CompletionItem(word, help=text or None) for word, text in words if word.startswith(incomplete)]


def complete_channel(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of configured channels, with whose they are."""
    from click.shell_completion import CompletionItem

    channels = _quietly(ctx, lambda context: list(context.settings.channels) if context.settings else [])
    return [CompletionItem(each.name, help=each.human) for each in channels if each.name.startswith(incomplete)]


def spellings(paths: list[str], cwd: str, incomplete: str) -> list[str]:
    """How each path may be written to go on from ``incomplete``: absolute, from ``cwd``, or its name if only one
    notebook is called so. Names that a line of text cannot carry are left out."""
    absolute = incomplete.startswith("/")
    count: dict[str, int] = {}
    for path in paths:
        name = os.path.basename(path)
        count[name] = count.get(name, 0) + 1
    found = []
    for path in paths:
        below = path.startswith(cwd.rstrip("/") + "/")
        name = os.path.basename(path)
        if absolute:
            word = path
        elif below:
            word = path[len(cwd.rstrip("/")) + 1 :]
        elif count[name] == 1:
            word = name
        else:
            word = path
        if word.startswith(incomplete) and word.isprintable():
            found.append(word)
    return sorted(found)[:MOST]


def _quietly(ctx: click.Context, ask: Callable[[Context], list[_Answer]]) -> list[_Answer]:
    """What ``ask`` answers; nothing when it cannot: a Tab is no place for a message."""
    from nbguard.cli.context import Context

    try:
        config = ctx.find_root().params.get("config")
        return ask(Context.from_environment(config if isinstance(config, str) else None))
    except Exception:  # noqa: BLE001 - the shell would print it into the line being typed
        return []


def _paths(context: Context) -> list[str]:
    from nbguard import app

    library = app.open_library(context)
    return [entry.path for deleted in (False, True) for entry in library.entries(deleted=deleted)]


def _versions(context: Context, notebook: str) -> list[tuple[str, str]]:
    from nbguard import app
    from nbguard.cli.asking import find
    from nbguard.cli.zone import LOCAL
    from nbguard.recover.wording import local

    found = find(app.open_library(context), notebook)
    return [(version.id, f"{local(version.saved_at, LOCAL)} {version.status}") for version in found.versions]
