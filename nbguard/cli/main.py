"""The entry point: commands are loaded one at a time, and every failure becomes a message and an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from nbguard import __version__
from nbguard.cli.context import Context
from nbguard.cli.output import say
from nbguard.errors import NbguardError, UsageError, is_of_the_machine, storage_trouble
from nbguard.processes import refuse_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

# name → one line for --help; each lives in nbguard/cli/<name>_command.py as `command`.
COMMANDS = {
    "setup": "Configure, make the archive, keep the first versions.",
    "run": "Run the daemon in the foreground.",
    "snapshot": "Keep notebooks now.",
    "list": "List notebooks, newest change first.",
    "log": "List the versions of a notebook, newest first.",
    "show": "Print one version.",
    "diff": "Compare two versions, cell by cell.",
    "restore": "Bring back a version.",
    "undo": "Reverse the last restore in place.",
    "rescue": "What is left of a notebook, from every source on this machine.",
    "package": "Make a recovery package that opens without nbguard.",
    "history": "Executed cells, and the notebooks they belong to.",
    "accept": "Yes, this notebook was meant to be emptied.",
    "pin": "Never prune this version.",
    "adopt": "Bring everything back from a mirror.",
    "status": "What is protected, how fresh, what is wrong.",
    "check": "Prove that protection works, and tell people when it does not.",
    "mirror": "Copies of the archive elsewhere.",
    "alert": "Who is told when something is wrong.",
    "ack": "Answer a message with its code.",
    "service": "The daemon in the background.",
    "config": "Show, validate or locate the configuration.",
    "doctor": "What is wrong with this machine.",
}

EXIT_CODES = """\b
Exit codes: 0 done · 1 failed, or nothing matched · 2 wrong usage · 3 partly done
10 no archive · 11 archive locked, or a daemon already runs · 20 stalled
21 recipient unproven · 22 coverage gap · 70 bug · 78 bad configuration, or git too old
130 interrupted"""


class ReaderLeft(Exception):
    """Whoever read our stdout went away (`| head`). click would make an exit code 1 of a BrokenPipeError."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            answer: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderLeft from None
        return answer

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"nbguard.cli.{cmd_name}_command")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table, so that Tab loads no command; options as click knows them."""
        from click.shell_completion import CompletionItem

        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command as the hint."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            raise UsageError(
                f"there is no command {args[0]!r}",
                hint=f"did you mean `nbguard {near[0]}`?" if near else "see `nbguard --help`",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", type=click.Path(), help="Use this configuration file.")
@click.version_option(__version__, "--version", prog_name="nbguard")
@click.pass_context
def main(ctx: click.Context, config: str | None) -> None:
    """A time machine for Jupyter notebooks that proves it is working.

    NBGUARD_HOME=DIR keeps everything nbguard owns under DIR.
    """
    ctx.obj = Context.from_environment(config)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; the one place that catches everything."""
    refuse_windows()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 sees escapes, not a traceback
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given))


def _run(given: list[str]) -> int:
    wants_json = "--json" in given
    try:
        answer = main.main(args=given, prog_name="nbguard", standalone_mode=False)
        return answer if isinstance(answer, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _misused(wants_json, given, error)
    except click.ClickException as error:
        return _fail(wants_json, "failed", error.format_message(), "", 1)
    except NbguardError as error:
        return _fail(wants_json, error.code, error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return 130
    except ReaderLeft:
        # Not a fault; keep the interpreter from saying so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001 - the one catch-all: a bug is written down and reported as such
        return _unforeseen(wants_json, given, error)


def _misused(wants_json: bool, given: list[str], error: click.UsageError) -> int:
    if error.ctx is not None and not given:  # `nbguard` alone: the help is the answer
        sys.stderr.write(error.ctx.get_help() + "\n")
        return 2
    hint = f"try `{error.ctx.command_path} --help`" if error.ctx is not None else "try `nbguard --help`"
    return _fail(wants_json, "usage", error.format_message(), hint, 2)


def _fail(wants_json: bool, code: str, message: str, hint: str, exit_code: int) -> int:
    if wants_json:
        sys.stderr.write(json.dumps({"code": code, "message": _readable(message), "hint": _readable(hint)}) + "\n")
        return exit_code
    say(f"error: {message}")
    if hint:
        say("hint:  " + hint.replace("\n", "\n       "))
    return exit_code


def _readable(text: str) -> str:
    """Names that are not UTF-8 must not make the JSON unreadable to others."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")


def _bug_log() -> tuple[int, str]:
    """A new file for a report: in our own state folder, or where temporary files go when that cannot be written."""
    import tempfile

    from nbguard.durable import make_private_folder
    from nbguard.places import find_places

    try:
        state = find_places(home=os.environ.get("NBGUARD_HOME") or None).state
        make_private_folder(state)
        return tempfile.mkstemp(prefix="bug-", suffix=".log", dir=state)
    except (OSError, NbguardError):
        return tempfile.mkstemp(prefix="nbguard-bug-", suffix=".log")


def _unforeseen(wants_json: bool, given: list[str], error: Exception) -> int:
    """A full disk or a limit met where nobody expected it is no bug to be reported; all else is."""
    if not isinstance(error, OSError) or not is_of_the_machine(error):
        return _bug(wants_json, given, error)
    trouble = storage_trouble(error, "the machine refused")
    return _fail(wants_json, trouble.code, trouble.message, trouble.hint, trouble.exit_code)


def _bug(wants_json: bool, given: list[str], error: Exception) -> int:
    import traceback

    fd, path = _bug_log()
    with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"nbguard {__version__}, Python {sys.version}\ncommand: {given[:1]}\n\n")
        traceback.print_exception(error, file=file)
    return _fail(wants_json, "bug", f"a bug in nbguard: {error!r}", f"please report it with {path}", 70)
