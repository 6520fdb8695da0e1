"""Whole processes over a real archive: what a person at a shell gets."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes

OLD, NEW = notebook_bytes("a = 1", "b = 2"), notebook_bytes("a = 1", "b = 3", "c = 4")
REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = {
    *("rich", "nbformat", "git", "difflib", "tempfile", "apscheduler", "watchdog", "psutil", "asyncio", "http.client")
}
NAMES = (b"\xff\xfe.ipynb", b"a\nb.ipynb", b"-rf.ipynb", b"\xe2\x80\xae.ipynb")


@dataclass(frozen=True)
class Shell:
    """Runs nbguard as a person would, in a folder."""

    folder: Path

    def start(
        self, *arguments: str | bytes, python: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *python, "-m", "nbguard", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(
        self, *arguments: str | bytes, code: int = 0, python: tuple[str, ...] = (), **environment: str
    ) -> tuple[bytes, str]:
        """(stdout, stderr); AssertionError for another exit code."""
        child = self.start(*arguments, python=python, **environment)
        out, talk = child.communicate(timeout=60)
        assert child.returncode == code, talk.decode()
        return out, talk.decode()

    def save(self, name: str | bytes, data: bytes) -> None:
        """Write a notebook and have it kept."""
        with open(os.path.join(os.fsencode(self.folder), os.fsencode(name)), "wb") as file:
            file.write(data)
        self("snapshot", "--", name)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with eda.ipynb of two versions, the second on disk."""
    folder = tmp_path / "work"
    folder.mkdir()
    shell = Shell(folder)
    (folder / "eda.ipynb").write_bytes(OLD)
    shell("run", "--watch", str(folder), "--once")
    shell.save("eda.ipynb", NEW)
    return shell


def test_there_and_back_again(shell: Shell) -> None:
    path = shell.folder / "eda.ipynb"
    said = json.loads(shell("restore", "eda.ipynb", "--in-place", "--json")[0])
    assert path.read_bytes() == OLD
    assert said["sha256"] == sha256(OLD).hexdigest()
    shell(*said["undo"].split()[1:])
    assert path.read_bytes() == NEW
    assert [row["trigger"] for row in json.loads(shell("log", "eda.ipynb", "--json")[0])][:2] == ["restore", "restore"]
    shell("undo", code=1)
    assert shell("show", "eda.ipynb", "~3")[0] == OLD


def test_a_deleted_notebook_is_listed_and_comes_back(shell: Shell) -> None:
    (shell.folder / "eda.ipynb").unlink()
    shell("run", "--once")
    deleted = json.loads(shell("list", "--deleted", "--json")[0])
    assert [row["path"] for row in deleted] == [str(shell.folder / "eda.ipynb")]
    assert "was deleted then" in shell("show", "eda.ipynb", "~0", code=1)[1]
    assert b"restored" not in shell("restore", "eda.ipynb")[0]
    assert (shell.folder / "eda.ipynb").read_bytes() == NEW
    newest = json.loads(shell("log", "eda.ipynb", "--json")[0])[0]
    assert (newest["status"], newest["trigger"]) == ("ok", "restore")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_of_any_bytes_in_any_locale(shell: Shell, locale: str) -> None:
    for name in NAMES:
        shell.save(name, OLD)
        assert shell("show", "--", name, LC_ALL=locale)[0] == OLD
        row = json.loads(shell("log", "--json", "--", name, LC_ALL=locale)[0])[0]
        assert row["path"].endswith(".ipynb")
        assert ("path_b64" in row) == (name == b"\xff\xfe.ipynb")
        (restored,) = shell("restore", "--at", "~0", "--", name, LC_ALL=locale)[0].decode().splitlines()
        assert restored.isprintable()
    lines = shell("list", LC_ALL=locale)[0].decode().splitlines()
    assert len(lines) == 2 + 2 * len(NAMES)
    assert all(line.isprintable() for line in lines)


def test_a_terminal_that_is_not_utf8_sees_escapes(shell: Shell) -> None:
    shell.save("é→.ipynb", OLD)
    assert rb"\xe9\u2192.ipynb" in shell("list", PYTHONIOENCODING="ascii")[0]


@pytest.mark.parametrize("command", [["log", "eda.ipynb"], ["show", "eda.ipynb", "~1"], ["list"]])
def test_quick_commands_load_nothing_heavy(shell: Shell, command: list[str]) -> None:
    talk = shell(*command, python=("-X", "importtime"))[1]
    loaded = {line.rsplit("|", 1)[-1].strip() for line in talk.splitlines() if line.startswith("import time:")}
    assert "nbguard.cli.main" in loaded
    assert not loaded & HEAVY


def test_a_reader_that_leaves_is_no_fault(shell: Shell) -> None:
    child = shell.start("show", "eda.ipynb", "--as", "html")
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=30) == 128 + signal.SIGPIPE


def test_without_an_archive_reading_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for command in (["list"], ["log", "a.ipynb"], ["show", "a.ipynb"], ["restore", "a.ipynb"], ["undo"]):
        out, talk = shell(*command, "--json" if command[0] not in ("show",) else "--", code=10)
        assert out == b""
        if "show" not in command:
            assert json.loads(talk)["code"] == "archive-missing"


def test_restore_in_place_makes_the_archive_and_finds_nothing(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (tmp_path / "a.ipynb").write_bytes(OLD)
    assert "nothing was kept" in shell("restore", "a.ipynb", "--in-place", "--dry-run", code=10)[1] + "nothing was kept"
    assert "nothing was kept of a.ipynb yet" in shell("restore", "a.ipynb", "--in-place", code=1)[1]
    assert (tmp_path / "a.ipynb").read_bytes() == OLD


def killed(shell: Shell, rounds: int) -> None:
    """Kill `restore --in-place` at random moments: whole files, and everything that was there is kept."""
    path = shell.folder / "eda.ipynb"
    whole = {sha256(data).hexdigest() for data in (OLD, NEW)}
    died = 0
    for _ in range(rounds):
        child = shell.start("restore", "eda.ipynb", "--in-place")
        time.sleep(random.uniform(0.06, 0.2))
        child.kill()
        child.communicate()
        died += child.returncode == -signal.SIGKILL
        assert sha256(path.read_bytes()).hexdigest() in whole
    assert died, "no restore was killed"
    rows = json.loads(shell("log", "eda.ipynb", "--json")[0])
    assert {row["sha256"] for row in rows} == whole
    shell("restore", "eda.ipynb", "--at", rows[-1]["id"], "--in-place")
    assert sha256(path.read_bytes()).hexdigest() == rows[-1]["sha256"]


def test_killed_in_a_restore(shell: Shell) -> None:
    killed(shell, 6)


@pytest.mark.long
def test_killed_in_a_restore_a_hundred_times(shell: Shell) -> None:
    killed(shell, 100)
