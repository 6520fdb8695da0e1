"""Places that permissions keep us out of: what is saved there goes unseen, and status says so."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from nbguard.health.facts import RootFacts
from nbguard.health.verdict import assess
from nbguard.model import Problem
from nbguard.watch.scope import Scope
from nbguard.watch.walk import walk
from tests.health.test_verdict import ALLOWED, NOW, WELL, beating, late, problem
from tests.powers import without_root_powers


def test_a_walk_names_the_folders_it_was_kept_out_of(tmp_path: Path) -> None:
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.ipynb").touch()
    os.chmod(tmp_path / "shut", 0)
    unreadable: list[str] = []
    try:
        with without_root_powers():
            found = [path for path, _ in walk(Scope(str(tmp_path), ignore=(), own_folders=()), unreadable)]
    finally:
        os.chmod(tmp_path / "shut", 0o700)
    assert found == [str(tmp_path / "open" / "a.ipynb")]
    assert unreadable == [str(tmp_path / "shut")]


def test_the_reason_that_the_daemon_knows_is_not_lost() -> None:
    path = "/home/ada/work/a.ipynb"
    knows = Problem(code="not-kept", message="cannot be read: Permission denied", hint="h", since=NOW, subject=path)
    verdict = assess(replace(WELL, unprotected=(late(90),), daemon=beating(problems=(knows,))), ALLOWED)
    (told,) = verdict.problems
    assert told.message == "cannot be read: Permission denied"
    assert told.since == NOW - timedelta(seconds=90)
    assert verdict.exit_code == 22


def test_a_root_that_cannot_be_read_is_a_gap() -> None:
    root = RootFacts(path="/mnt/x", trouble="root-unreadable", reason="Permission denied")
    verdict = assess(replace(WELL, roots=(root,)), ALLOWED)
    assert (verdict.exit_code, [each.code for each in verdict.problems]) == (22, ["root-unreadable"])


def test_a_folder_of_known_notebooks_that_cannot_be_read_is_a_gap_said_once() -> None:
    facts = replace(WELL, unreadable=("/w/x",), daemon=beating(problems=(problem("unreachable", "/w/x"),)))
    verdict = assess(facts, ALLOWED)
    assert (verdict.exit_code, [each.code for each in verdict.problems]) == (22, ["unreachable"])
