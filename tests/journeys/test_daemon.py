"""The daemon as a process: it ends cleanly, is alone, makes up for what it missed, and says why it cannot start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, guarding, sha256


def test_what_happened_while_it_was_off_is_found_at_the_next_start(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    states = {name: notebook_bytes(f"name = {name!r}", "more = 1") for name in ("stays", "moves", "goes", "changes")}
    for name, data in states.items():
        (root / f"{name}.ipynb").write_bytes(data)
    with guarding(tmp_path, root) as guard:
        for name, data in states.items():
            guard.until_kept(root / f"{name}.ipynb", data)
        assert guard.status()["state"] == "ok"

        assert guard.stop() == 0
        assert guard.heartbeat()["stopped"] is True
        assert "daemon-down" in guard.codes()
        (root / "below").mkdir()
        (root / "moves.ipynb").rename(root / "below" / "moved.ipynb")
        (root / "goes.ipynb").unlink()
        (root / "changes.ipynb").write_bytes(notebook_bytes("name = 'changed'", "more = 2"))
        (root / "comes.ipynb").write_bytes(notebook_bytes("name = 'new'"))
        assert len(guard.log(root / "changes.ipynb")) == 1, "nobody was there to see it"

        guard.start()
        guard.until_kept(root / "changes.ipynb", notebook_bytes("name = 'changed'", "more = 2"))
        guard.until_kept(root / "comes.ipynb", notebook_bytes("name = 'new'"))
        guard.until_kept(root / "below" / "moved.ipynb", states["moves"])
        poll(lambda: [row["status"] for row in guard.log(root / "goes.ipynb")] == ["deleted", "ok"], 20, every=0.2)
        rows = guard.log(root / "below" / "moved.ipynb")
        assert [Path(row["path"]).name for row in rows] == ["moved.ipynb", "moves.ipynb"]
        assert len({row["notebook"] for row in rows}) == 1, "a rename, not a copy and a deletion"
        assert {Path(row["path"]).name for row in guard.list("--deleted")} == {"goes.ipynb"}
        assert len(guard.log(root / "stays.ipynb")) == 1


def test_a_second_daemon_and_a_second_run_once_end_with_11(tmp_path: Path) -> None:
    with guarding(tmp_path, tmp_path / "work") as guard:
        for words in (("run",), ("run", "--once"), ("run", "--watch", str(tmp_path))):
            answer = guard.nbguard(*words)
            assert answer.code == 11, answer
            assert "already runs" in answer.talk
        assert guard.process is not None
        assert guard.process.poll() is None


def test_a_save_right_before_sigterm_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "work" / "last.ipynb"
    with guarding(tmp_path, path.parent) as guard:
        path.write_bytes(notebook_bytes("the last thing"))
        assert guard.stop() == 0
        assert guard.log(path)[0]["sha256"] == sha256(path.read_bytes())
        guard.start(ready=False)
        guard.until_ready()


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("schema = 1\nroots = [/x]\n", ":2:", "config validate"),
        ('schema = 1\nroots = ["/x"]\n\n[intervals]\nsweep_secs = 3\n', ":5:", "sweep_seconds"),
        ("roots = []\n", ":1:", "schema = 1"),
    ],
    ids=["not TOML", "unknown key", "no schema"],
)
def test_a_bad_configuration_ends_with_78_and_names_line_and_remedy(
    tmp_path: Path, text: str, line: str, hint: str
) -> None:
    guard = Guarded(tmp_path / "guard", [])
    guard.home.mkdir()
    (guard.home / "config.toml").write_text(text)
    answer = guard.nbguard("run")
    assert answer.code == 78, answer
    assert f"config.toml{line}" in answer.talk
    assert hint in answer.talk
    assert not guard.archive.exists()


@pytest.mark.parametrize("version", ["", "git version 2.30.2"], ids=["missing", "too old"])
def test_without_a_git_of_its_time_it_ends_with_78(tmp_path: Path, version: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    if version:
        fake = tools / "git"
        fake.write_text(f"#!/bin/sh\necho {version}\n")
        fake.chmod(0o755)
    root = tmp_path / "work"
    with guarding(tmp_path, root, start=False, environment={"PATH": os.fspath(tools)}) as guard:
        answer = guard.nbguard("run")
        assert answer.code == 78, answer
        assert "git" in answer.talk
        assert "2.36" in answer.talk
