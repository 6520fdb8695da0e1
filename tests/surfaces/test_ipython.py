"""The notice in IPython: in the folder where nbguard's state is, quick, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbguard.places import find_places
from nbguard.surfaces.ipython import AGAIN_SECONDS, Surface, state_folder
from tests.helpers import REPOSITORY

NOBODY = 2**22 + 1
_SCRIPT = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell, name = InteractiveShell.instance(), "nbguard.surfaces.ipython"
before, began = set(sys.modules), time.perf_counter()
shell.extension_manager.load_extension(name)
took = time.perf_counter() - began
new = [module for module in set(sys.modules) - before if not module.startswith("nbguard")]
shell.run_cell("x = 6 * 7")
shell.extension_manager.unload_extension(name)
print(shell.user_ns["x"], new, took)
"""


class Desk:
    """A state folder, a clock to turn, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.said: list[str] = []
        self.now = 1000.0
        self.surface = Surface(str(self.state), self.said.append, monotonic=lambda: self.now)
        self.beat(os.getpid())

    def beat(self, pid: int, *, age_seconds: float = 0.0) -> None:
        path = self.state / "heartbeat.json"
        path.write_text(f'{{\n "pid": {pid},\n "boot": "b"\n}}\n')
        os.utime(path, (time.time() - age_seconds,) * 2)

    def look(self, *, after: float = 61.0) -> list[str]:
        self.now += after
        self.said.clear()
        self.surface.look()
        return list(self.said)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_silent_while_the_daemon_beats_and_speaks_when_it_is_gone_and_again_after_half_an_hour(
    desk: Desk,
) -> None:
    assert desk.look() == []
    desk.beat(NOBODY, age_seconds=400)
    (line,) = desk.look()
    assert "no sign of life" in line
    assert desk.look() == []
    assert desk.look(after=AGAIN_SECONDS) == [line]
    desk.beat(os.getpid())
    assert desk.look() == []


def test_a_daemon_that_has_just_woken_gets_a_moment(desk: Desk) -> None:
    desk.beat(os.getpid(), age_seconds=30_000)
    assert desk.look() == []
    (line,) = desk.look(after=16.0)
    assert "no sign of life" in line


def test_it_looks_once_a_minute(desk: Desk) -> None:
    assert desk.look() == []
    desk.beat(NOBODY, age_seconds=400)
    assert desk.look(after=30.0) == []
    assert desk.look(after=31.0) != []


def test_it_shows_a_notice_and_a_state_that_is_gone_and_not_what_was_uninstalled(desk: Desk) -> None:
    (desk.state / "notice").write_text("stalled \x1b[31m\nmore")
    assert desk.look() == ["nbguard: stalled ?[31m"]
    (desk.state / "notice").unlink()
    desk.beat(NOBODY, age_seconds=400)
    (desk.state / "stop.json").write_text('{"v": 1, "why": "uninstalled"}')
    assert desk.look() == []
    for path in desk.state.iterdir():
        path.unlink()
    desk.state.rmdir()
    (line,) = desk.look()
    assert "is not there" in line


@pytest.mark.parametrize("hostile", [b"\xff\xfe", b'{"pid": ' + b"9" * 300, b"", b'{\n "pid": -1,\n'])
def test_whatever_stands_in_the_files_it_never_raises(desk: Desk, hostile: bytes) -> None:
    for name in ("heartbeat.json", "notice", "stop.json"):
        (desk.state / name).write_bytes(hostile)
        os.utime(desk.state / name, (1, 1))
    desk.look()
    (desk.state / "notice").unlink()
    (desk.state / "notice").mkdir()
    desk.look()


def test_it_looks_where_nbguard_writes(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name, value in (("NBGUARD_HOME", "~/kept"), ("XDG_STATE_HOME", "/srv/state"), ("", "")):
        for each in ("NBGUARD_HOME", "XDG_STATE_HOME"):
            monkeypatch.delenv(each, raising=False)
        if name:
            monkeypatch.setenv(name, value)
        expected = find_places(home=os.environ.get("NBGUARD_HOME")).state
        assert state_folder(os.environ, os.path.expanduser("~"), sys.platform) == expected


def test_a_real_ipython_says_it_at_its_start_and_runs_on(home: Path) -> None:
    """In a process of its own: what it prints, what it imports, how long that takes."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, new, took = done.stdout.split(" ", 2)
    assert answer == "42"
    assert new == "[]", "nothing but itself is imported"
    assert float(took) < 0.05
    assert done.stderr.count("is not there: notebooks may not be kept") == 1
