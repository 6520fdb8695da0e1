"""How a process begins: interrupted while it imports, and with streams that somebody closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY, nbguard, notebook_bytes

INTERRUPTED = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "nbguard.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from nbguard.cli.start import run
run()
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def test_an_interrupt_while_importing_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, env=environment(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"interrupted\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_bug_and_no_file_takes_their_place(home: Path, closed: str) -> None:
    work = home / "work"
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a"))
    for command in (f"run --once --watch '{work}'", "list", "status --json", "show a.ipynb"):
        line = f'exec "{sys.executable}" -m nbguard {command} {closed}'
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=60, env=environment(), check=False)
        assert done.returncode == 0, (command, done.stderr)
        assert b"Traceback" not in done.stderr
    assert nbguard("show", "a.ipynb").code == 0


def test_a_full_disk_under_stdout_is_no_bug(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a"))
    assert nbguard("run", "--once", "--watch", str(work)).code == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nbguard", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            env=environment(),
            check=False,
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"bug" not in done.stderr
