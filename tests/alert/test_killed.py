"""Processes that are killed while they observe and send, side by side."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from nbguard.alert.state_json import decode
from tests.alert.killed_worker import MORE, SUBJECTS
from tests.helpers import REPOSITORY, poll

KILLS = 5


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.alert.killed_worker", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
    )


def test_no_kill_loses_an_incident_or_tells_it_more_often_than_there_were_kills(tmp_path: Path) -> None:
    chance, killed = random.Random(4), 0
    state = tmp_path / "alerts.json"
    workers = [start(tmp_path), start(tmp_path)]
    poll(state.exists, 20)
    while killed < KILLS:
        time.sleep(chance.uniform(0.05, 0.3))
        victim = workers.pop(0)
        if victim.poll() is None:
            victim.kill()
            killed += 1
        victim.communicate()
        decode(state.read_bytes())  # whole at every moment
        workers.append(start(tmp_path))
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors.decode()
    told = Counter((tmp_path / "box").read_text().split())
    is_counted = told.pop(MORE, 0) > 0  # many that a killed one left are told together, and not each by its name
    incidents = decode(state.read_bytes()).incidents
    left = [each for each in incidents if not each.heard]
    claimed = [way for way in decode(state.read_bytes()).ways if way.claimed_seconds]
    assert not left or claimed, "what nobody heard of is being sent by one that was killed, and is sent again later"
    assert len({each.subject for each in incidents}) == SUBJECTS
    assert len(told) + len(left) >= SUBJECTS or is_counted
    assert max(told.values()) <= 1 + killed
    assert not [name for name in os.listdir(tmp_path) if "unreadable" in name]
