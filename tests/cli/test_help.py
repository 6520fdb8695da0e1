"""What `--help` says of every command."""

from __future__ import annotations

import click
import pytest

from nbguard.cli.main import COMMANDS, main

WRITES = {"setup", "snapshot", "restore", "undo", "accept", "pin"}
REPORTS = {"snapshot", "list", "log", "diff", "restore", "undo", "accept", "pin", "status", "doctor"}


def commands() -> list[tuple[str, click.Command]]:
    """Every command, and those below `config`."""
    context = click.Context(main)
    found = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        below = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        found += [(f"{name} {each}".strip(), inner) for each, inner in below]
    return found


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_lists_its_exit_codes(name: str, command: click.Command) -> None:
    assert "Exit code" in " ".join(command.get_help(click.Context(command)).split()), name


@pytest.mark.parametrize(("name", "command"), commands())
def test_what_writes_has_a_dry_run_and_what_reports_knows_json(name: str, command: click.Command) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert name not in WRITES or "--dry-run" in options
    assert (name not in REPORTS and not name.startswith("config")) or "--json" in options
