"""kill -9 at any moment: nothing acknowledged is lost, git has no complaint, the next start resumes by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nbguard.archive.maintenance import Maintenance
from nbguard.errors import Busy
from tests.archive.rig import NO_RESERVE, Rig, leftovers
from tests.helpers import poll

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def worker(home: Path, seed: int, acknowledged: Path, share: float = 0.02) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a session of its own; gone, with its children, at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.archive.worker", str(home), str(seed), str(acknowledged), str(share)],
        cwd=REPOSITORY,
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


def lines(path: Path) -> list[tuple[str, str]]:
    """What was acknowledged; a torn last line was not."""
    if not path.exists():
        return []
    found = [line.split() for line in path.read_text().split("\n")[:-1]]
    return [(identity, sha256) for identity, sha256 in found]


def pack_when_free(rig: Rig) -> None:
    """An orphaned child of the dead may still hold the lock."""

    def packed() -> bool:
        try:
            rig.packer.pack()
        except Busy:
            return False
        return True

    poll(packed, 60)


def check_all(rig: Rig, acknowledged: list[tuple[str, str]]) -> None:
    """Every acknowledged version is there, byte for byte; those that are echoes of another one, as that one."""
    library = rig.library()
    for identity, sha256 in acknowledged:
        version = library.version(identity)
        assert version is not None, f"{identity} is lost"
        assert version.sha256 == sha256
        library.read(version)
    library.close()
    rig.fsck()


def kill_many(base: Path, count: int, seed: int) -> dict[str, int]:
    """Kill one worker after the other on the same archive; how often the kill met work half done."""
    chance = random.Random(seed)
    rig = Rig(base / "home")
    acknowledged = base / "acknowledged"
    met = {"leftovers": 0, "spooled": 0, "orphans": 0}
    for number in range(count):
        before = len(lines(acknowledged))
        with worker(base / "home", seed + number, acknowledged) as child:
            poll(lambda was=before: len(lines(acknowledged)) > was, 60, every=0.005)  # type: ignore[misc]
            end = time.monotonic() + chance.random() * 0.25
            children = b""
            while time.monotonic() < end or (number % 2 and not children):
                children = _children(child.pid)
                assert child.poll() is None, child.stderr and child.stderr.read()
            # Every other time only the parent dies, while a git child is at work.
            if number % 2:
                met["orphans"] += 1
                child.kill()
            else:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        met["leftovers"] += bool(leftovers(rig.places))
        met["spooled"] += bool(rig.spool.drafts())
        rig.crash()
        rig.spool.sweep_leftovers()
        pack_when_free(rig)
        assert rig.spool.drafts() == []
        if leftovers(rig.places):  # a pack whose index was not made is seen to by maintenance
            Maintenance(rig.archive, reserve=NO_RESERVE).run()
        assert leftovers(rig.places) == []
        if number % 4 == 3 or number == count - 1:
            check_all(rig, lines(acknowledged))
    return met


def _children(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_killed_at_random_moments_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    met = kill_many(tmp_path, 8, seed=1)
    assert met["spooled"] and met["orphans"], met


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_a_hundred_times_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    met = kill_many(tmp_path, 100, seed=2)
    assert met["spooled"] > 10 and met["leftovers"] > 3 and met["orphans"] > 40, met
