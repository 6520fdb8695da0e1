"""`nbguard run --once`, and where its exit code comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nbguard.cli.run_command import _tell
from nbguard.clock import SystemClock
from nbguard.errors import PartlyDone
from nbguard.model import Problem
from tests.helpers import nbguard, notebook_bytes


def problem(code: str) -> Problem:
    return Problem(code=code, message=f"{code} it is", hint="h", since=SystemClock().now())


def test_what_loses_nothing_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    _tell((problem("mass-deletion"), problem("polling")))
    assert capsys.readouterr().err == "note: mass-deletion it is\nnote: polling it is\n"
    with pytest.raises(PartlyDone) as caught:
        _tell((problem("mass-deletion"), problem("not-kept")))
    assert (caught.value.code, caught.value.message) == ("not-kept", "not-kept it is")


def test_many_deleted_at_once_are_held_and_the_rest_is_done(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    for number in range(60):
        (work / f"{number}.ipynb").write_bytes(notebook_bytes(f"n = {number}"))
    assert nbguard("run", "--once", "--watch", str(work)).code == 0
    for number in range(55):
        (work / f"{number}.ipynb").unlink()
    (work / "59.ipynb").write_bytes(notebook_bytes("saved since"))
    answer = nbguard("run", "--once")
    assert (answer.code, answer.out) == (0, "")
    assert "55 notebooks" in answer.talk
    assert json.loads(nbguard("list", "--deleted", "--json").out) == []
    assert len(json.loads(nbguard("log", str(work / "59.ipynb"), "--json").out)) == 2


def test_a_daemon_without_its_archive_says_what_to_do(home: Path) -> None:
    (home / "work").mkdir()
    assert nbguard("run", "--once", "--watch", str(home / "work")).code == 0
    archive = os.path.join(os.environ["NBGUARD_HOME"], "archive.git")
    os.rename(archive, archive + ".elsewhere")
    answer = nbguard("run", "--once")
    assert answer.code == 10
    assert "hint:" in answer.talk
