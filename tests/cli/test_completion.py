"""Tab: names and versions from the catalog, and never a message into the line being typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from nbguard import app
from nbguard.cli.completion import spellings
from nbguard.cli.main import COMMANDS, main
from nbguard.errors import NoArchive
from tests.cli.conftest import Cli
from tests.helpers import notebook_bytes


def complete(*words: str) -> list[tuple[str, str]]:
    """(value, type) of what Tab offers after the last of ``words``."""
    shell = ShellComplete(main, {}, "nbguard", "_NBGUARD_COMPLETE")
    return [(item.value, item.type) for item in shell.get_completions(list(words[:-1]), words[-1])]


def offered(*words: str) -> list[str]:
    return [value for value, _ in complete(*words)]


@pytest.fixture
def kept(cli: Cli, tmp_path: Path) -> Cli:
    for name in ("eda.ipynb", "sub/eda.ipynb", "sub/deep model.ipynb", "bad\n.ipynb", "\udcff.ipynb"):
        cli.library.add(f"{tmp_path}/{name}", notebook_bytes("a"))
    cli.library.add("/elsewhere/far.ipynb", notebook_bytes("a"))
    cli.library.delete(f"{tmp_path}/sub/eda.ipynb")
    return cli


def test_commands_without_loading_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nbguard.cli.show_command", raising=False)
    assert offered("s") == ["setup", "snapshot", "show", "status", "service"]
    assert "nbguard.cli.show_command" not in sys.modules
    assert "--config" in offered("--")
    assert set(offered("")) == set(COMMANDS)


def test_notebooks_as_paths_from_here_also_deleted_ones(kept: Cli) -> None:
    assert offered("log", "") == ["eda.ipynb", "far.ipynb", "sub/deep model.ipynb", "sub/eda.ipynb"]
    assert offered("restore", "sub/d") == ["sub/deep model.ipynb"]
    assert offered("show", "/else") == ["/elsewhere/far.ipynb"]


def test_files_where_no_notebook_is_called_so(kept: Cli) -> None:
    assert complete("log", "zzz") == [("zzz", "file")]


def test_versions_of_the_notebook_named_before(kept: Cli, tmp_path: Path) -> None:
    newest = kept.library.add(f"{tmp_path}/eda.ipynb", notebook_bytes("b"))
    assert offered("show", "eda.ipynb", "") == ["~0", "~1", "last-good", "yesterday", "today"]
    assert offered("diff", "eda.ipynb", "~0", "~") == ["~0", "~1"]
    assert offered("restore", "eda.ipynb", "--at", newest.id[:3]) == [newest.id[:8]]
    assert offered("pin", "eda.ipynb", "l") == ["last-good"]


def test_no_archive_no_message(kept: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise NoArchive("there is no archive here")

    monkeypatch.setattr(app, "open_library", none)
    assert complete("log", "") == [("", "file")]
    assert offered("show", "eda.ipynb", "l") == ["last-good"]


def test_a_name_outside_is_short_only_if_it_is_the_only_one() -> None:
    assert spellings(["/a/x.ipynb", "/b/x.ipynb", "/b/y.ipynb"], "/c", "") == ["/a/x.ipynb", "/b/x.ipynb", "y.ipynb"]
    assert spellings(["/x.ipynb"], "/", "") == ["x.ipynb"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "_NBGUARD_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-m", "nbguard"], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert f"_NBGUARD_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


def test_bash_completes_with_it(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash, "bash is needed for this test"
    command = tmp_path / "nbguard"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nbguard "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(_NBGUARD_COMPLETE=bash_source nbguard)"; COMP_WORDS=(nbguard sta); COMP_CWORD=1; '
        '_nbguard_completion nbguard; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd()}
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "status"


def test_every_command_is_a_click_command() -> None:
    context = click.Context(main)
    for name in ("list", "log", "show", "diff", "restore", "undo", "accept", "pin"):
        assert isinstance(main.get_command(context, name), click.Command)
