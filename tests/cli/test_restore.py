"""restore and undo: the contract of the command line, to the letter."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from nbguard.cli import restore_command
from nbguard.errors import ArchiveTrouble, StorageTrouble
from nbguard.model import Trigger, Version
from tests.cli.conftest import Cli
from tests.helpers import notebook_bytes

OLD, NEW = notebook_bytes("a = 1", "b = 2"), notebook_bytes("a = 1", "b = 3", "c = 4")
KEYS = {"path", "version", "written_to", "sha256", "undo"}


@pytest.fixture
def path(cli: Cli, tmp_path: Path) -> Path:
    """A notebook of two versions, the second on disk."""
    path = tmp_path / "eda.ipynb"
    path.write_bytes(NEW)
    cli.library.add(str(path), OLD)
    cli.library.add(str(path), NEW)
    return path


def test_beside_by_default(cli: Cli, path: Path) -> None:
    answer = cli("restore", "eda.ipynb", "--json")
    assert answer.code == 0
    said = answer.object()
    assert said.keys() >= KEYS
    assert said["path"] == str(path)
    assert said["version"] == cli.library.versions[0].id
    assert said["sha256"] == hashlib.sha256(OLD).hexdigest()
    assert said["undo"] is None
    assert Path(str(said["written_to"])).read_bytes() == OLD
    assert path.read_bytes() == NEW
    assert cli.library.versions[-1].trigger is Trigger.RESTORE
    assert cli.ensured == []


def test_for_people_the_path_is_the_data(cli: Cli, path: Path) -> None:
    answer = cli("restore", "eda.ipynb", "--in-place")
    assert answer.out == f"{path}\n"
    assert "undo: nbguard undo" in answer.talk
    assert "what was there is kept as" in answer.talk


def test_in_place_and_undo_and_undo_again(cli: Cli, path: Path) -> None:
    said = cli("restore", "eda.ipynb", "--in-place", "--json").object()
    assert said["undo"] == "nbguard undo"
    assert said["written_to"] == str(path)
    assert path.read_bytes() == OLD
    assert cli.ensured == [True]
    assert "\nwould put back " in "\n" + cli("undo", "--dry-run").talk
    undone = cli("undo", "--json")
    assert undone.code == 0
    assert undone.object().keys() >= KEYS
    assert path.read_bytes() == NEW
    again = cli("undo")
    assert again.code == 1
    assert "undone already" in again.talk


def test_what_undo_says_reverses_it_does(cli: Cli, path: Path) -> None:
    cli("restore", "eda.ipynb", "--in-place")
    path.write_bytes(b"since")
    answer = cli("undo")
    assert "it was changed since the restore" in answer.talk
    words = answer.talk.splitlines()[-1].removeprefix("undo this: ").split()
    assert cli(*words[1:]).code == 0
    assert path.read_bytes() == b"since"


def test_a_dry_run_changes_nothing(cli: Cli, path: Path) -> None:
    before = sorted(os.listdir(path.parent))
    for options in ([], ["--in-place"], ["--to", "x.ipynb"], ["--at", "~1"]):
        answer = cli("restore", "eda.ipynb", *options, "--dry-run", "--json")
        assert answer.code == 0
        assert answer.object()["dry_run"] is True
        assert answer.object().keys() >= KEYS
    cli("restore", "--all", "--at", "today", "--to", "out", "--dry-run")
    assert sorted(os.listdir(path.parent)) == before
    assert cli.ensured == []
    assert cli.library.kept == []
    cli("restore", "eda.ipynb", "--in-place")
    assert cli("undo", "--dry-run").code == 0
    assert path.read_bytes() == OLD
    assert cli("undo").code == 0


def test_a_dry_run_says_what_would_be_refused(cli: Cli, path: Path, tmp_path: Path) -> None:
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    answer = cli("restore", "eda.ipynb", "--in-place", "--dry-run")
    assert answer.code == 1
    assert "symlink" in answer.talk


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["eda.ipynb", "--to", "x", "--in-place"],
        ["--all"],
        ["--all", "--at", "today"],
        ["--all", "--to", "x"],
        ["--all", "--at", "~1", "--to", "x"],
        ["--all", "--at", "last-good", "--to", "x"],
        ["eda.ipynb", "--all", "--at", "today", "--to", "x"],
        ["eda.ipynb", "--at", "gestern"],
    ],
)
def test_wrong_usage(cli: Cli, path: Path, arguments: list[str]) -> None:
    assert cli("restore", *arguments).code == 2


def test_a_working_folder_behind_a_symlink_is_no_attack(
    cli: Cli, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    monkeypatch.setenv("PWD", str(tmp_path / "link"))
    assert cli("restore", str(path), "--to", "copy.ipynb").out == f"{tmp_path}/real/copy.ipynb\n"
    assert cli("restore", "--all", "--at", "2026-12-01", "--to", "out").code == 0
    assert cli("restore", str(path), "--to", str(tmp_path / "link/other.ipynb")).code == 1


def test_a_root_that_is_not_there_is_warned_about(cli: Cli, tmp_path: Path) -> None:
    cli.library.root = str(tmp_path / "disk")
    cli.library.add(f"{tmp_path}/disk/a.ipynb", OLD)
    assert "warning: " in cli("restore", "disk/a.ipynb", "--dry-run").talk
    assert cli("restore", "disk/a.ipynb", "--json").object()["root_was_gone"] is True
    assert cli("restore", "disk/a.ipynb", "--at", "~0", "--json").object()["root_was_gone"] is False


def test_where_its_folder_cannot_be_made_another_place_is_asked_for(cli: Cli) -> None:
    """As on a new machine, whose home has another name."""
    cli.library.add("/sys/home-of-then/eda.ipynb", notebook_bytes("one"))
    answer = cli("restore", "/sys/home-of-then/eda.ipynb")
    assert answer.code == 1 and "is not on this machine" in answer.talk and "--to" in answer.talk


def test_an_open_notebook_is_warned_about(cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:8888/lab/"
    monkeypatch.setattr(restore_command, "_open_in", lambda plan: [url] if plan.target == str(path) else [])
    answer = cli("restore", "eda.ipynb", "--in-place", "--json")
    assert answer.object()["open_in"] == [url]
    assert answer.talk == ""
    assert "choose Revert there, not Overwrite" in cli("restore", "eda.ipynb", "--at", "~1", "--in-place").talk
    assert cli("restore", "eda.ipynb", "--json").object()["open_in"] == []


def test_a_result_that_is_not_kept_is_partly_done_and_still_printed(
    cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = cli.library.keep

    def full(kept: str, trigger: Trigger) -> Version:
        if trigger is Trigger.RESTORE:
            raise StorageTrouble("no space left", code="no-space")
        return keep(kept, trigger)

    monkeypatch.setattr(cli.library, "keep", full)
    answer = cli("restore", "eda.ipynb", "--in-place", "--json")
    assert answer.code == 3
    assert answer.object()["written_to"] == str(path)
    assert json.loads(answer.talk)["code"] == "partly-done"


def test_everything_as_it_was(cli: Cli, path: Path, tmp_path: Path) -> None:
    cli.library.add(f"{tmp_path}/later.ipynb", OLD)
    answer = cli("restore", "--all", "--at", "2026-11-20T12:01:30Z", "--to", "out", "--json")
    assert answer.code == 0
    said = answer.object()
    assert said["failed"] == []
    assert Path(f"{tmp_path}/out{path}").read_bytes() == OLD
    assert not Path(f"{tmp_path}/out{tmp_path}/later.ipynb").exists()
    assert cli("restore", "--all", "--at", "1990-01-01", "--to", "out").code == 1


def test_everything_but_what_cannot_be_given_back(
    cli: Cli, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = cli.library.add(f"{tmp_path}/broken.ipynb", OLD)
    read = cli.library.read

    def failing(version: Version) -> bytes:
        if version.id == broken.id:
            raise ArchiveTrouble("it is not what was kept")
        return read(version)

    monkeypatch.setattr(cli.library, "read", failing)
    answer = cli("restore", "--all", "--at", "2030-01-01", "--to", "out", "--json")
    assert answer.code == 3
    failed = answer.object()["failed"]
    assert isinstance(failed, list)
    assert [item["path"] for item in failed] == [f"{tmp_path}/broken.ipynb"]
    assert "broken.ipynb: it is not what was kept" in answer.talk
