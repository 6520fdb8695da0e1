"""`nbguard snapshot`: what is kept of what was named, and how it says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nbguard.cli.context import Context
from nbguard.cli.snapshot_command import _notebooks_at
from nbguard.errors import PartlyDone
from tests.helpers import nbguard, notebook_bytes
from tests.powers import without_root_powers


@pytest.fixture
def folder(home: Path) -> Path:
    """Two notebooks, an empty folder, and nothing of nbguard."""
    work = home / "work"
    (work / "empty").mkdir(parents=True)
    (work / "a.ipynb").write_bytes(notebook_bytes("a = 1"))
    (work / "b.ipynb").write_bytes(notebook_bytes("b = 1"))
    return work


def test_what_is_not_there_does_not_keep_the_rest_from_being_kept(folder: Path) -> None:
    answer = nbguard("snapshot", "--json", "nothing.ipynb", "a.ipynb", "b.ipynb", cwd=folder)
    assert answer.code == 3
    assert [row["path"] for row in json.loads(answer.out)] == [str(folder / "a.ipynb"), str(folder / "b.ipynb")]
    error = json.loads(answer.talk)
    assert set(error) == {"code", "message", "hint"}
    assert error["message"] == "1 of 3 notebooks is not kept"
    assert "nothing.ipynb" in error["hint"]
    assert len(json.loads(nbguard("list", "--json").out)) == 2


def test_for_people_every_path_that_is_not_kept_is_named(folder: Path) -> None:
    answer = nbguard("snapshot", "x.ipynb", "y.ipynb", "a.ipynb", cwd=folder)
    assert answer.code == 3
    assert "not kept: x.ipynb: No such file" in answer.talk
    assert "not kept: y.ipynb: No such file" in answer.talk
    assert "2 of 3 notebooks are not kept" in answer.talk


@pytest.mark.parametrize("named", [["nothing.ipynb"], ["x.ipynb", "y.ipynb"], ["empty"]])
def test_nothing_matched(folder: Path, named: list[str]) -> None:
    answer = nbguard("snapshot", "--json", *named, cwd=folder)
    assert answer.code == 1
    assert json.loads(answer.out) == []
    assert json.loads(answer.talk)["code"] == "nothing-matched"


def test_a_dry_run_names_what_would_be_kept_and_writes_nothing(folder: Path, home: Path) -> None:
    before = sorted(home.rglob("*"))
    answer = nbguard("snapshot", "--dry-run", ".", cwd=folder)
    assert answer.code == 0
    assert answer.out.splitlines() == [str(folder / "a.ipynb"), str(folder / "b.ipynb")]
    assert answer.talk == "would keep 2 notebooks\n"
    rows = json.loads(nbguard("snapshot", "--dry-run", "--json", "a.ipynb", cwd=folder).out)
    assert rows == [{"path": str(folder / "a.ipynb"), "dry_run": True}]
    assert sorted(home.rglob("*")) == before


def test_a_folder_that_cannot_be_read_is_no_wrong_usage(folder: Path) -> None:
    os.chmod(folder / "empty", 0)
    try:
        with without_root_powers(), pytest.raises(PartlyDone) as caught:
            _notebooks_at(Context(home=None, config=None), "empty", str(folder / "empty"))
    finally:
        os.chmod(folder / "empty", 0o700)
    assert (caught.value.exit_code, caught.value.message) == (3, "empty: the folder cannot be read")


def test_a_bad_configuration_is_that_and_not_a_path_that_is_missing(folder: Path) -> None:
    ours = Path(os.environ["NBGUARD_HOME"])
    ours.mkdir(mode=0o700)
    (ours / "config.toml").write_text("schema = 1\nrootz = []\n")
    answer = nbguard("snapshot", ".", "nothing.ipynb", cwd=folder)
    assert answer.code == 78
    assert "not kept" not in answer.talk
