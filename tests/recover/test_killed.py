"""kill -9 inside a restore: the notebook holds the old bytes or the new ones, whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from nbguard.recover.journal import Journal

# Restores two versions of a megabyte in turn, in place, until it is killed.
CHILD = """
import itertools, sys
from datetime import UTC, datetime
from nbguard.recover.journal import Journal
from nbguard.recover.naming import find_notebook
from nbguard.recover.restore import plan_restore, restore
from nbguard.recover.when import Named
from tests.library import MemoryLibrary

path, journal = sys.argv[1:]
library = MemoryLibrary()
versions = [library.add(path, bytes([letter]) * 1_000_000) for letter in b"ab"]
print("ready", flush=True)
for version in itertools.cycle(versions):
    found = find_notebook(library, path, "/")
    plan = plan_restore(found, Named(version.id), to=None, in_place=True, cwd="/", zone=UTC)
    restore(plan, library=library, keep=library.keep, journal=Journal(journal), now=lambda: datetime.now(UTC), zone=UTC)
"""


def kill_one(path: Path, journal: Path, wait_seconds: float) -> bool:
    """Kill a restoring child; True when that left a temporary name behind, so it fell within a restore."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(journal)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    time.sleep(wait_seconds)
    os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    litter = [name for name in os.listdir(path.parent) if name.startswith(".nbguard-")]
    for name in litter:
        (path.parent / name).unlink()
    return bool(litter)


def killings(tmp_path: Path, rounds: int) -> None:
    whole = {sha256(bytes([letter]) * 1_000_000).hexdigest() for letter in b"ab"}
    path, journal = tmp_path / "work" / "eda.ipynb", tmp_path / "state" / "restores.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"a" * 1_000_000)
    within = 0
    for done in range(10 * rounds):
        if done >= rounds and within:
            break
        within += kill_one(path, journal, random.uniform(0.0, 0.05))
        assert sha256(path.read_bytes()).hexdigest() in whole
        last = Journal(str(journal)).last()
        assert last is None or last[0].before_sha256 in whole
    assert within, "no kill fell within a restore"


def test_no_half_file(tmp_path: Path) -> None:
    killings(tmp_path, 8)


@pytest.mark.long
def test_no_half_file_a_hundred_times(tmp_path: Path) -> None:
    killings(tmp_path, 100)
