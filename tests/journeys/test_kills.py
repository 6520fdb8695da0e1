"""kill -9 of the daemon and of its git at random moments, under saves: whatever was acknowledged is still there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nbguard.app import open_library
from nbguard.cli.context import Context
from nbguard.model import Status, Trigger, Version
from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, Tables, guarding, sha256

# A batch is a handful of drafts, so that packing is nearly always under way.
_TABLES: Tables = {
    "packing": {"drafts": 6},
    "intervals": {"pack_seconds": 0.5, "sweep_seconds": 1.0, "guard_seconds": 1.0, "heartbeat_seconds": 1.0},
}
_NOTEBOOKS = 4


@dataclass
class Load:
    """Saves one notebook after the other, by every way of writing, and watches what the spool acknowledges."""

    root: Path
    new: Path
    written: dict[str, bytes] = field(default_factory=dict)
    acknowledged: dict[str, str | None] = field(default_factory=dict)
    saves: int = 0
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=work) for work in (self._save, self._sample)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _save(self) -> None:
        while not self._end.wait(0.02):
            number = self.saves
            path = self.root / f"n{number % _NOTEBOOKS}.ipynb"
            data = notebook_bytes(*(f"step {step} of {number}" for step in range(20)), outputs=True)
            self.written[sha256(data)] = data
            if number % 3:
                temporary = path.with_name(f".{path.name}.tmp")
                temporary.write_bytes(data)
                temporary.replace(path)
            else:
                path.write_bytes(data)
            self.saves += 1

    def _sample(self) -> None:
        """A draft in new/ is acknowledged; it may be packed and gone a moment later."""
        while not self._end.wait(0.003):
            self.look()

    def look(self) -> None:
        """Note every draft by its id, with its sha256 if it is there for long enough to be read."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.new):
                identity = name.rpartition("-")[2]
                if identity not in self.acknowledged:
                    self.acknowledged[identity] = None
                    with contextlib.suppress(FileNotFoundError), open(self.new / name, "rb") as file:
                        self.acknowledged[identity] = json.loads(file.readline())["sha256"]


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_no_acknowledged_version_is_lost_by_kills_at_random_moments(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    root = tmp_path / "work"
    spooled_when_killed = packing_when_killed = snapshots = 0
    with guarding(tmp_path, root, start=False, tables=_TABLES) as guard:
        new = guard.home / "spool" / "new"
        with Load(root, new) as load:
            for number in range(kills):
                guard.start(ready=False)
                _let_run(guard, chance.uniform(0.05, 0.8))
                if number % 4 == 1:
                    answer = guard.nbguard("snapshot", str(root), "--json")
                    snapshots += answer.code == 0
                    load.acknowledged |= {row["id"]: row["sha256"] for row in answer.json}
                if number % 4 >= 2:
                    poll(lambda: _children(guard.pid), 20, every=0.0)
                orphans = _children(guard.pid)
                load.look()
                spooled_when_killed += bool(new.is_dir() and os.listdir(new))
                packing_when_killed += bool(orphans)
                if number % 2:
                    guard.kill()
                else:  # its git goes on, and the next daemon has to live with that
                    os.kill(guard.pid, signal.SIGKILL)
                    assert guard.process is not None
                    assert guard.process.wait(20) == -signal.SIGKILL
            load.look()
        guard.start()
        for path in sorted(root.glob("*.ipynb")):
            guard.until_kept(path, path.read_bytes(), 60)
        poll(lambda: not os.listdir(new), 60)
        guard.fsck()
        assert guard.stop() == 0
        print(
            f"\n{kills} kills in {load.saves} saves: {len(load.acknowledged)} acknowledged, {snapshots} by snapshot; "
            f"killed with drafts in the spool {spooled_when_killed} times, with git at work {packing_when_killed} times"
        )
        assert guard.starts == kills + 1
        assert spooled_when_killed >= kills // 4, "hardly a kill found anything on its way"
        assert packing_when_killed >= kills // 4, "hardly a kill found git at work"
        assert len(load.acknowledged) >= 5 * kills
        _all_are_there(guard, load)


def _let_run(guard: Guarded, seconds: float) -> None:
    """Until the daemon has taken its first breath, and so long after it; wherever that finds it is the point."""
    poll(lambda: guard.heartbeat().get("pid") == guard.pid, 30, every=0.01)
    time.sleep(seconds)
    assert guard.process is not None
    assert guard.process.poll() is None, guard.log_of_daemon


def _children(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += (task / "children").read_text().split()
    return found


def _all_are_there(guard: Guarded, load: Load) -> None:
    """Every acknowledged version is in some log, and its bytes come back as they were written."""
    library = open_library(Context(home=str(guard.home), config=None))
    found: dict[str, Version] = {}
    for deleted in (False, True):
        for entry in library.entries(deleted=deleted):
            found |= {version.id: version for version in library.log(entry.notebook)}
    # The daemon's draft of bytes that a snapshot kept in the same moment is one version with it, under one id.
    by_snapshot = {version.sha256 for version in found.values() if version.trigger is Trigger.SNAPSHOT}
    lost = {identity: digest for identity, digest in load.acknowledged.items() if identity not in found}
    assert {identity for identity, digest in lost.items() if digest not in by_snapshot} == set()
    for version in found.values():
        assert version.status is not Status.DELETED, "nothing was ever deleted"
        data = library.read(version)
        assert sha256(data) == version.sha256
        if version.status is Status.OK:
            assert load.written[sha256(data)] == data, "a version that nobody wrote"
    library.close()
