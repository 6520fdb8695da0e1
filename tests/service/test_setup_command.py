"""`nbguard setup`: asked or told, it does what it says and says what it did not do."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nbguard.settings_reading import load_settings
from tests.helpers import REPOSITORY, nbguard, notebook_bytes, poll


@pytest.fixture
def work(home: Path) -> Path:
    folder = home / "work"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.ipynb").write_bytes(notebook_bytes(f"n = {number}"))
    return folder


def configured_roots() -> tuple[str, ...]:
    settings = load_settings(os.path.join(os.environ["NBGUARD_HOME"], "config.toml"))
    return settings.roots if settings is not None else ()


def test_with_everything_said_it_does_everything(work: Path) -> None:
    answer = nbguard("setup", "--yes", "--no-service", "--watch", str(work))
    assert answer.code == 0, answer.talk
    assert "3 new versions" in answer.talk
    assert configured_roots() == (str(work),)
    assert len(nbguard("list", "--json").json) == 3


def test_without_a_folder_it_finds_the_notebooks(work: Path, home: Path) -> None:
    (home / "notes").mkdir()
    (home / "notes" / "idea.ipynb").write_bytes(notebook_bytes("idea"))
    assert nbguard("setup", "--yes", "--no-service").code == 0
    assert configured_roots() == (str(work), str(home / "notes"))


def test_with_no_notebooks_anywhere_it_asks_for_a_folder(home: Path) -> None:
    answer = nbguard("setup", "--yes", "--no-service")
    assert answer.code == 2
    assert "--watch DIR" in answer.talk
    assert not os.path.exists(os.environ["NBGUARD_HOME"])


def test_without_terminal_and_without_yes_nothing_happens(work: Path) -> None:
    answer = nbguard("setup", "--watch", str(work))
    assert answer.code == 2
    assert "nbguard setup --yes --watch DIR" in answer.talk
    assert not os.path.exists(os.environ["NBGUARD_HOME"])


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ([], "background service"),
        (["--no-service", "--mirror", "/nowhere/at/all"], "a mirror: /nowhere/at is not there"),
        (["--no-service", "--notify", "mailto://ada:pass@127.0.0.1:1?from=a@b.example"], "alerts by mail"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_rest_is_done(work: Path, asked: list[str], word: str) -> None:
    answer = nbguard("setup", "--yes", "--watch", str(work), *asked)
    assert answer.code == 3
    assert word in answer.talk
    assert "pass@" not in answer.talk
    assert len(nbguard("list", "--json").json) == 3


def test_a_second_time_changes_nothing_and_a_new_folder_is_added(work: Path, home: Path) -> None:
    nbguard("setup", "--yes", "--no-service", "--watch", str(work))
    again = nbguard("setup", "--yes", "--no-service", "--watch", str(work))
    assert again.code == 0
    assert "(as it was)" in again.talk
    assert "0 new versions" in again.talk
    (home / "more").mkdir()
    assert nbguard("setup", "--yes", "--no-service", "--watch", str(home / "more")).code == 0
    assert set(configured_roots()) == {str(work), str(home / "more")}


def test_a_dry_run_says_all_and_does_nothing(work: Path) -> None:
    answer = nbguard("setup", "--yes", "--dry-run", "--watch", str(work))
    assert answer.code == 0
    assert f"would watch {work}" in answer.talk
    assert not os.path.exists(os.environ["NBGUARD_HOME"])


def test_a_folder_that_is_not_there_is_refused(home: Path) -> None:
    assert nbguard("setup", "--yes", "--no-service", "--watch", str(home / "none")).code == 2


def test_checkpoints_become_older_versions(work: Path) -> None:
    checkpoint = work / ".ipynb_checkpoints" / "0-checkpoint.ipynb"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(notebook_bytes("older"))
    os.utime(checkpoint, (1_700_000_000, 1_700_000_000))
    nbguard("setup", "--yes", "--no-service", "--watch", str(work))
    newest, older = nbguard("log", str(work / "0.ipynb"), "--json").json
    assert older["saved_at"].startswith("2023-11-14T22:13:20")
    assert older["trigger"] == newest["trigger"] == "import"
    assert nbguard("show", str(work / "0.ipynb"), "~1").out.encode() == notebook_bytes("older")


def test_on_a_terminal_it_proposes_and_takes_an_answer(work: Path, home: Path) -> None:
    (home / "notes").mkdir()
    (home / "notes" / "idea.ipynb").write_bytes(notebook_bytes("idea"))
    terminal, inside = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "setup", "--no-service"],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(inside)
    seen = bytearray()

    def asked(question: bytes) -> bool:
        seen.extend(os.read(terminal, 4096))
        return question in seen and seen.rstrip().endswith(b":")

    poll(lambda: asked(b"Watch which folders"), 30)
    os.write(terminal, b"2\n")
    poll(lambda: asked(b"[recorder] in"), 30)
    os.write(terminal, b"n\n")
    poll(lambda: asked(b"nothing for later"), 30)
    os.write(terminal, b"\n")
    assert child.wait(60) == 0
    os.close(terminal)
    text = seen.decode()
    assert f"1. {work}" in text
    assert f"2. {home / 'notes'}" in text
    assert configured_roots() == (str(home / "notes"),)
    settings = load_settings(str(home / ".nbguard" / "config.toml"))
    assert settings is not None
    assert not settings.recorder.enabled
