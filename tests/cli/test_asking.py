"""list, log, show, diff, accept, pin: the contract of the command line, to the letter."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nbguard.errors import ArchiveTrouble, NoArchive
from nbguard.model import DraftKind, Status
from tests.cli.conftest import Cli
from tests.helpers import notebook_bytes

OLD, NEW = notebook_bytes("a = 1", "b = 2"), notebook_bytes("a = 1", "b = 3", "c = 4")
ROW_KEYS = ["id", "path", "saved_at", "bytes", "sha256", "cells", "status", "trigger"]


@pytest.fixture
def path(cli: Cli, tmp_path: Path) -> str:
    """A notebook of two versions, the second on disk."""
    path = tmp_path / "eda.ipynb"
    path.write_bytes(NEW)
    cli.library.add(str(path), OLD)
    cli.library.add(str(path), NEW)
    return str(path)


def test_log_is_an_array_of_rows_newest_first(cli: Cli, path: str) -> None:
    answer = cli("log", "eda.ipynb", "--json")
    assert answer.code == 0
    rows = answer.json
    assert isinstance(rows, list)
    assert [list(row)[:8] for row in rows] == [ROW_KEYS, ROW_KEYS]
    assert rows[0]["path"] == path
    assert rows[0]["bytes"] == len(NEW)
    assert rows[0]["cells"] == 3
    assert rows[1]["saved_at"] == "2026-11-20T12:01:00.000000Z"


def test_log_of_a_tombstone_and_of_a_name_that_is_not_utf8(cli: Cli, tmp_path: Path) -> None:
    path = f"{tmp_path}/\udcff.ipynb"
    cli.library.add(path, OLD)
    cli.library.delete(path)
    row = json.loads(cli("log", "\udcff.ipynb", "--json").raw)[0]
    assert (row["bytes"], row["sha256"], row["cells"], row["status"]) == (0, None, None, "deleted")
    assert row["path"] == f"{tmp_path}/\ufffd.ipynb"
    assert list(row)[2] == "path_b64"


def test_log_for_people_is_local_and_counts_rows(cli: Cli, path: str) -> None:
    lines = cli("log", "eda.ipynb").out.splitlines()
    assert lines[1].startswith("~0  ")
    assert "2026-11-20 13:02:00 +01:00" in lines[1]
    assert len(cli("log", "eda.ipynb", "-n", "1").out.splitlines()) == 2
    assert cli("log", "eda.ipynb", "-n", "1", "--json").json != []
    assert cli("log", "eda.ipynb", "-n", "0", "--json").json == []


def test_log_follows_renames_and_says_so(cli: Cli, path: str, tmp_path: Path) -> None:
    cli.library.add(f"{tmp_path}/new.ipynb", NEW, renamed_from=path)
    answer = cli("log", "new.ipynb")
    assert f"renamed from {path}" in answer.out
    assert f"as {path}" in answer.out


def test_list_newest_change_first(cli: Cli, path: str, tmp_path: Path) -> None:
    cli.library.add(f"{tmp_path}/b\n\x1b[31m.ipynb", OLD)
    gone = f"{tmp_path}/gone.ipynb"
    cli.library.add(gone, OLD)
    cli.library.delete(gone)
    rows = json.loads(cli("list", "--json").raw)
    assert [row["path"] for row in rows] == [f"{tmp_path}/b\n\x1b[31m.ipynb", path]
    assert rows[1]["versions"] == 2
    assert [row["path"] for row in json.loads(cli("list", "--deleted", "--json").raw)] == [gone]
    shown = cli("list").out
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 3


def test_show_gives_the_exact_bytes(cli: Cli, path: str) -> None:
    assert cli("show", "eda.ipynb").raw == NEW
    assert cli("show", "eda.ipynb", "~1").raw == OLD
    assert cli("show", "eda.ipynb", "2026-11-20T13:01:30").raw == OLD
    assert cli("show", "eda.ipynb", cli.library.versions[0].id[:6]).raw == OLD
    assert cli("show", "eda.ipynb", "last-good").raw == NEW


def test_show_as_text(cli: Cli, path: str) -> None:
    assert cli("show", "eda.ipynb", "--as", "py").out.startswith("# %%\na = 1\n")
    assert cli("show", "eda.ipynb", "--as", "md").out.startswith("```python\na = 1\n```\n")
    assert cli("show", "eda.ipynb", "--as", "html").out.startswith("<!DOCTYPE html>")


def test_show_of_a_deleted_notebook(cli: Cli, path: str) -> None:
    cli.library.delete(path)
    assert cli("show", path).raw == NEW
    answer = cli("show", path, "~0")
    assert (answer.code, answer.raw) == (1, b"")
    assert "hint:  its last version before that is ~1" in answer.talk


def test_damaged_bytes_are_shown_but_not_rendered(cli: Cli, path: str) -> None:
    cli.library.add(path, b"{ half")
    assert cli("show", "eda.ipynb").raw == b"{ half"
    for form in ("py", "md", "html"):
        answer = cli("show", "eda.ipynb", "--as", form)
        assert (answer.code, answer.raw) == (1, b"")
        assert "damaged" in answer.talk


def test_diff_with_the_disk_and_between_versions(cli: Cli, path: str) -> None:
    Path(path).write_bytes(notebook_bytes("a = 1", "b = 3", "c = \x1b[31m5"))
    with_disk = cli("diff", "eda.ipynb")
    assert with_disk.code == 0
    assert "@@ code cell 3 changed" in with_disk.out
    assert "\x1b" not in with_disk.out
    assert "@@ code cell 2 changed" in cli("diff", "eda.ipynb", "~1").out
    between = cli("diff", "eda.ipynb", "~1", "~0", "--json").object()
    assert between["identical"] is False
    cells = between["cells"]
    assert isinstance(cells, list)
    assert [(cell["change"], cell["before"], cell["after"]) for cell in cells] == [
        ("changed", 1, 1),
        ("added", None, 2),
    ]


def test_diff_without_a_difference_and_without_a_file(cli: Cli, path: str) -> None:
    answer = cli("diff", "eda.ipynb")
    assert (answer.code, answer.out) == (0, "")
    assert "the same bytes" in answer.talk
    Path(path).unlink()
    answer = cli("diff", "eda.ipynb")
    assert answer.code == 1
    assert "is not on disk" in answer.talk
    Path(path).mkdir()
    assert "is not a file" in cli("diff", path).talk


def test_accept_records_that_it_was_meant(cli: Cli, path: str) -> None:
    assert cli("accept", "eda.ipynb").code == 1
    emptied = cli.library.add(path, notebook_bytes(), status=Status.EMPTIED)
    assert cli("accept", "eda.ipynb", "--dry-run").code == 0
    assert cli.decisions == []
    answer = cli("accept", "eda.ipynb", "--json")
    assert answer.code == 0
    assert answer.object()["accepted"] is True
    assert answer.object()["status"] == "ok"
    assert cli.decisions == [(DraftKind.ACCEPT, emptied)]


def test_pin_records_the_version(cli: Cli, path: str) -> None:
    assert cli("pin", "eda.ipynb", "~1", "--dry-run").code == 0
    assert cli.decisions == []
    assert cli("pin", "eda.ipynb", "~1").code == 0
    assert cli("pin", "eda.ipynb", "~1", "--json").object()["pinned"] is True
    assert [(kind, version.sha256) for kind, version in cli.decisions] == [
        (DraftKind.PIN, cli.library.versions[0].sha256)
    ]
    assert "pinned" in cli("log", "eda.ipynb").out
    cli.library.delete(path)
    assert cli("pin", path, "~0").code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["log", "nothing.ipynb"], 1, "no notebook matches"),
        (["show", "eda.ipynb", "gestern"], 2, "is not a time or a version"),
        (["show", "eda.ipynb", "~7"], 1, "there is no ~7"),
        (["show", "eda.ipynb", "1990-01-01"], 1, "nothing was kept of this notebook by"),
        (["show", "eda.ipynb", "--as", "pdf"], 2, "pdf"),
        (["show"], 2, "NOTEBOOK"),
        (["lgo", "eda.ipynb"], 2, "did you mean `nbguard log`?"),
        (["zzz"], 2, "there is no command"),
        (["log", "--jsno", "eda.ipynb"], 2, "--jsno"),
    ],
)
def test_failures_have_a_message_a_hint_and_a_code(
    cli: Cli, path: str, arguments: list[str], code: int, says: str
) -> None:
    answer = cli(*arguments)
    assert (answer.code, answer.raw) == (code, b"")
    assert says in answer.talk
    as_json = cli(*arguments, "--json")
    if "--as" not in arguments and arguments[0] != "show":
        assert set(json.loads(as_json.talk)) == {"code", "message", "hint"}


def test_alone_it_helps(cli: Cli) -> None:
    answer = cli()
    assert (answer.code, answer.raw) == (2, b"")
    assert answer.talk.startswith("Usage: nbguard")


def test_three_examples_for_a_when_that_is_not_understood(cli: Cli, path: str) -> None:
    assert cli("pin", "eda.ipynb", "gestern").talk.count(",") == 2


def test_a_name_that_starts_with_a_dash(cli: Cli, tmp_path: Path) -> None:
    cli.library.add(f"{tmp_path}/-n.ipynb", OLD)
    assert cli("show", "--", "-n.ipynb").raw == OLD


def test_other_failures_keep_their_exit_codes(cli: Cli, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(version: object) -> bytes:
        raise ArchiveTrouble("it is not what was kept", hint="see `nbguard doctor`")

    monkeypatch.setattr(cli.library, "read", broken)
    assert cli("show", "eda.ipynb").code == 1

    def gone(tail: str) -> None:
        raise NoArchive("there is no archive here", hint="nbguard setup")

    monkeypatch.setattr(cli.library, "named", gone)
    answer = cli("log", "eda.ipynb", "--json")
    assert answer.code == 10
    assert json.loads(answer.talk)["code"] == "archive-missing"


def test_a_bug_is_written_down(cli: Cli, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(tail: str) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli.library, "named", bug)
    answer = cli("log", "eda.ipynb")
    assert answer.code == 70
    log = Path(answer.talk.rsplit(maxsplit=1)[-1])
    assert "ZeroDivisionError" in log.read_text()
    assert log.parent == Path(os.environ["NBGUARD_HOME"]) / "state"
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_error_about_a_name_that_is_not_utf8_is_json_for_everybody(cli: Cli) -> None:
    answer = cli("snapshot", "\udcff.ipynb", "--json")
    assert answer.code == 1
    assert json.loads(answer.talk)["message"].encode().startswith("\ufffd.ipynb: ".encode())


def test_what_a_terminal_would_obey_does_not_reach_one(
    cli: Cli, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.library.add(path, notebook_bytes("x = '\x1b[31m'"))
    assert b"\x1b" in cli("show", "eda.ipynb", "--as", "md").raw
    monkeypatch.setattr("nbguard.cli.show_command.to_a_terminal", lambda: True)
    for form in ("md", "py"):
        assert b"\x1b" not in cli("show", "eda.ipynb", "--as", form).raw
