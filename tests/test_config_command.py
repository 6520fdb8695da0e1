"""`nbguard config`: where it is, what is in effect, whether it can be used."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from tests.helpers import nbguard


@pytest.fixture
def file(home: Path) -> Path:
    path = Path(os.environ["NBGUARD_HOME"]) / "config.toml"
    path.parent.mkdir()
    return path


def test_it_is_where_path_says(file: Path) -> None:
    assert nbguard("config", "path").out == f"{file}\n"
    other = nbguard("--config", "other.toml", "config", "path", cwd=file.parent)
    assert other.out == f"{file.parent / 'other.toml'}\n"


def test_show_prints_every_setting_and_reads_back(file: Path) -> None:
    file.write_text('schema = 1\nroots = ["~/work"]\n[packing]\ndrafts = 7\n')
    table = tomllib.loads(nbguard("config", "show").out)
    assert table["roots"] == [os.path.expanduser("~/work")]
    assert table["packing"]["drafts"] == 7
    assert table["intervals"]["sweep_seconds"] == 240.0
    assert nbguard("config", "show", "--json").json == table


def test_no_configuration_is_valid_and_said_to_be_none(home: Path) -> None:
    answer = nbguard("config", "validate")
    assert answer.code == 0
    assert "there is no configuration" in answer.talk


def test_a_named_file_that_is_missing_is_not_valid(home: Path) -> None:
    assert nbguard("--config", "/none.toml", "config", "validate").code == 78


def test_a_broken_one_ends_with_78_a_line_and_a_hint(file: Path) -> None:
    file.write_text("schema = 1\nrots = []\n")
    answer = nbguard("config", "validate")
    assert answer.code == 78
    assert f"{file}:2: rots" in answer.talk
    assert "did you mean `roots`?" in answer.talk


def test_the_object_is_printed_whatever_the_exit_code(file: Path) -> None:
    file.write_text("schema = 1\n")
    assert nbguard("config", "validate", "--json").json["valid"] is True
    file.write_text("schema = 2\n")
    answer = nbguard("config", "validate", "--json")
    assert answer.code == 78
    assert answer.json["valid"] is False
    assert answer.json["hint"]


@pytest.mark.parametrize("command", [["status"], ["doctor"], ["list"], ["config", "show"], ["run", "--once"]])
def test_a_broken_configuration_stops_every_command(file: Path, command: list[str]) -> None:
    file.write_text("roots = [\n")
    assert nbguard(*command).code == 78
