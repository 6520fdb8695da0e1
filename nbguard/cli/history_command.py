"""`nbguard history`: executed cells with the notebook they belong to; a session as a file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import dry_run_option, find, json_option, library_of, moment, working_folder
from nbguard.cli.completion import complete_notebook
from nbguard.cli.context import Context
from nbguard.cli.output import clean, one_line, path_fields, print_bytes, print_json_array, say
from nbguard.cli.zone import LOCAL
from nbguard.errors import Ambiguous, NothingMatched, Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.history.answering import Belongs
    from nbguard.history.timeline import Attribution, Executed

_MANY_CELLS = 100


@click.group(invoke_without_command=True)
@click.option(
    "--notebook", metavar="NOTEBOOK", shell_complete=complete_notebook, help="Only of this notebook, across renames."
)
@click.option("--session", metavar="ID", help="Only of this session; the beginning of its id will do.")
@click.option("--since", metavar="WHEN", help="Not before this time; a day means its beginning.")
@click.option("--until", metavar="WHEN", help="Not after this time; a day means its end.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    notebook: str | None,
    session: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """List executed cells with the notebook they belong to, oldest first.

    How sure that is: exact (seen while the kernel lived), probable or ambiguous (by content), or unknown.
    `nbguard history export ID` writes a session as a file. Exit codes: 0 done, also when nothing was executed then,
    1 no such notebook or session, or several match, 2 WHEN is not understood, 10 no archive.
    """
    if ctx.invoked_subcommand is not None:
        if notebook or session or since or until or as_json:
            raise UsageError("options stand behind `export`", hint="see `nbguard history export --help`")
        return
    from nbguard import app, app_history
    from nbguard.history.answering import Question, answer

    context: Context = ctx.obj
    begin = None if since is None else _beginning(since)
    end = None if until is None else _instant(until)
    app.archive_of(context).require()
    library = _executed(context)
    belongs = None if notebook is None else _belonging(context, library, notebook)
    question = Question(session=session, belongs=belongs, since=begin, until=end)
    rows = answer(library, question, app_history.guessing(context))
    _say_unreadable(library)
    if as_json:
        print_json_array(_fields(row) for row in rows)
        return
    count = 0
    for count, text in enumerate(_texts(rows), 1):
        sys.stdout.write(text)
        if count == 1:
            sys.stdout.flush()  # whoever reads this need not wait for the rest
    if not count:
        click.echo("no executed cells", err=True)
    elif count > _MANY_CELLS and question == Question():
        click.echo(f"{count} cells; --notebook, --session, --since and --until show fewer", err=True)


@command.command()
@click.argument("session", metavar="ID")
@click.option("-o", "output", metavar="FILE", type=click.Path(), help="FILE.py or FILE.ipynb; never an existing one.")
@dry_run_option
@click.pass_obj
def export(context: Context, session: str, output: str | None, dry_run: bool) -> None:
    """Write session ID as a file to open: py:percent (jupytext) on stdout, or FILE.

    The cells are as they were typed, in the order of their lines, magics and `!` lines included. Nothing is run.
    Exit codes: 0 done, 1 no such session, several match, or FILE exists, 2 FILE is neither .py nor .ipynb,
    10 no archive.
    """
    from nbguard import app
    from nbguard.history.answering import Question, answer
    from nbguard.history.export import ExportedCell, as_notebook, as_percent

    suffix = ".py" if output is None else os.path.splitext(output)[1].lower()
    if suffix not in (".py", ".ipynb"):
        raise UsageError(f"{output} is neither .py nor .ipynb", hint="name the file by what it shall be")
    app.archive_of(context).require()
    found = answer(_executed(context), Question(session=session))
    rows = sorted(found, key=lambda row: (row.line is None, row.line or 0, row.at))
    if not rows:
        raise NothingMatched(f"nothing was executed in session {session}", hint="see `nbguard history`")
    cells = [ExportedCell(row.source, row.line, row.at) for row in rows]
    if suffix == ".ipynb":
        data = as_notebook(cells, rows[0].session)
    else:
        written = as_percent(cells)
        data = written.text.encode("utf-8")
        if written.inexact:
            say(f"cells that a .py file cannot hold exactly: {written.inexact}; a .ipynb can: -o FILE.ipynb")
    if output is None:
        if sys.stdout.isatty():
            data = clean(data.decode("utf-8")).encode("utf-8")  # what was typed may hold what a terminal would obey
        print_bytes(data)
    else:
        _write_new(os.path.abspath(os.path.join(working_folder(), output)), data, dry_run)
        count = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
        say(f"{'would write' if dry_run else 'wrote'} {count} to {output}")


def _executed(context: Context) -> ExecutedArchive:
    from nbguard import app_history
    from nbguard.cli.output import Bar

    bar = Bar("reading executed cells")
    library = app_history.executed_library(context, bar)
    bar.clear()
    return library


def _belonging(context: Context, executed: ExecutedArchive, notebook: str) -> Belongs:
    """What belongs to NOTEBOOK; one of which only executed cells are known is known by its path."""
    from nbguard import app_history
    from nbguard.history.answering import linked_paths

    library = library_of(context)
    try:
        return app_history.belonging_to(library, find(library, notebook).notebook)
    except Ambiguous:
        raise
    except NothingMatched:
        path = os.path.normpath(os.path.join(working_folder(), notebook))
        tail = "/" + os.path.normpath(notebook).lstrip("/")
        known = linked_paths(executed)
        hits = [path] if path in known else [one for one in known if one.endswith(tail)]
        if not hits:
            raise
        if len(hits) > 1:
            listed = "\n".join(one_line(hit) for hit in hits[:10])
            raise Ambiguous(
                f"{len(hits)} notebooks match {notebook}", hint=f"say more of the path:\n{listed}"
            ) from None
        return lambda found, at: found == hits[0]


def _instant(text: str) -> datetime:
    """The instant that WHEN names. Raises UsageError also for what names a version."""
    from nbguard.recover.when import Named, Until

    when = moment(text)
    if isinstance(when, Named) and when.otherwise is not None:
        when = when.otherwise
    if not isinstance(when, Until):
        raise UsageError(f"{text!r} is not a time", hint='for example: 2026-11-21, "2026-11-21 09:30", "2 hours ago"')
    return when.instant


def _beginning(text: str) -> datetime:
    """As _instant, but a day means its beginning, and a second its first moment."""
    end = _instant(text)
    try:
        return _instant(f"{text} 00:00").replace(microsecond=0)
    except UsageError:
        return end.replace(microsecond=0)


def _fields(row: Executed) -> dict[str, object]:
    """One executed cell of `history --json`; docs/history.md lists the keys."""
    from nbguard.clock import iso

    about, run, notebook = row.about, row.run, row.notebook
    return {
        "session": row.session,
        "line": row.line,
        "source": row.source,
        "executed_at": iso(row.at),
        "executed_at_is": str(row.time_is),
        "seen_at": iso(row.at if row.cell is None else row.cell.seen_at),
        **({"path": None} if notebook.path is None else path_fields(notebook.path)),
        "confidence": str(notebook.confidence),
        "evidence": list(notebook.evidence),
        "candidates": [path_fields(path) for path in notebook.candidates],
        "frontend": str(notebook.frontend),
        "origin": row.origin,
        "transformed": None if row.cell is None else row.cell.transformed,
        "output": None if row.cell is None else row.cell.output,
        "run": None
        if run is None
        else {
            "id": run.id,
            "status": run.status,
            "started_at": iso(run.started_at),
            "ended_at": None if run.ended_at is None else iso(run.ended_at),
            "outputs": run.outputs,
            "output_bytes": run.output_bytes,
            "note": run.note,
        },
        "kernel": row.kernel,
        "generation": row.generation,
        "session_started_at": None if about is None or about.started_at is None else iso(about.started_at),
        "session_ended_at": None if about is None or about.ended_at is None else iso(about.ended_at),
    }


def _texts(rows: Iterable[Executed]) -> Iterator[str]:
    """Each cell as lines for people; a line for its session and notebook before the first of them."""
    from nbguard.history.timeline import TimeIs
    from nbguard.recover.wording import local

    before: tuple[object, ...] | None = None
    for row in rows:
        lines = []
        here = (row.session, _named(row.notebook))
        if here != before:
            lines.append(("" if before is None else "\n") + "  ".join(map(one_line, here)))
            before = here
        notes = [("by " if row.time_is is TimeIs.LATEST else "") + local(row.at, LOCAL)]
        if row.run is not None:
            notes += [note for note in (row.run.status, row.run.note) if note not in ("ok", "")]
            notes += (
                [f"{row.run.outputs} recorded output{'' if row.run.outputs == 1 else 's'}"] if row.run.outputs else []
            )
        lines.append(f"  [{' ' if row.line is None else row.line}]  " + ", ".join(map(one_line, notes)))
        lines += ["      " + clean(line) for line in row.source.split("\n")]
        yield "\n".join(lines) + "\n"


def _named(notebook: Attribution) -> str:
    """The notebook and how sure that is, for people."""
    how = ", ".join(notebook.evidence)
    said = f"({notebook.confidence}{': ' + how if how else ''})"
    if notebook.path is not None:
        return f"{notebook.path}  {said}"
    if notebook.candidates:
        return f"one of {', '.join(notebook.candidates)}  {said}"
    return f"{'no file' if notebook.link is not None else 'no notebook known'}, {notebook.frontend}  {said}"


def _say_unreadable(library: ExecutedArchive) -> None:
    if count := library.unreadable():
        say(f"{count} records could not be read: damaged, or written by a newer nbguard; the others are all here")


def _write_new(path: str, data: bytes, dry_run: bool) -> None:
    from nbguard.recover.folder import Folder
    from nbguard.recover.placing import place_new

    if os.path.lexists(path):
        raise _exists(path)
    folder, name = os.path.split(path)
    if dry_run:
        return
    try:
        here = Folder.reach(folder, trusted=folder)
    except FileNotFoundError:
        raise NothingMatched(f"there is no folder {one_line(folder)}", hint="make it first") from None
    try:
        place_new(here, lambda attempt: None if attempt else name, data, None)
    except Refused:
        raise _exists(path) from None
    finally:
        here.close()


def _exists(path: str) -> Refused:
    return Refused(f"{one_line(path)} exists already", hint="nothing was overwritten; name another file with -o")
