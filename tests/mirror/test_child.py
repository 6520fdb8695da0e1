"""Children and disks that hang keep nobody waiting, and what they started ends with them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from nbguard.mirror.child import MirrorTrouble, Patience, Stopped, run_child
from tests.helpers import poll

_WITH_A_CHILD = "import subprocess, sys; subprocess.run(['sleep', '300'])"


def _sleepers(mark: str) -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark.encode() in Path("/proc", entry, "environ").read_bytes():
                found.append(int(entry))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", ["time", "stop"])
def test_a_child_is_ended_with_all_that_it_started(tmp_path: Path, how: str) -> None:
    stop = threading.Event()
    environment = {"PATH": os.environ["PATH"], "MARK": str(tmp_path)}
    if how == "stop":
        threading.Timer(0.3, stop.set).start()
    with pytest.raises(MirrorTrouble if how == "time" else Stopped):
        run_child(
            [sys.executable, "-c", _WITH_A_CHILD],
            environment=environment,
            seconds=0.5 if how == "time" else 60.0,
            stop=stop,
        )
    poll(lambda: not _sleepers(str(tmp_path)))


def test_what_is_said_is_bounded_and_counted() -> None:
    seen: list[tuple[int, int]] = []
    words = "import sys; sys.stdout.write('x' * 9_000_000); sys.stderr.write('Writing objects:  50% (3/6)\\r')"
    said = run_child(
        [sys.executable, "-c", words],
        environment={},
        seconds=30,
        stop=threading.Event(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert said.status == 0 and len(said.out) == 8_000_000 and seen == [(3, 6)]


def test_a_disk_that_hangs_is_asked_once_until_it_answers() -> None:
    patience, answer = Patience(0.1), threading.Event()
    asked: list[int] = []

    def hang() -> int:
        asked.append(1)
        answer.wait(30)
        return 1

    for _ in range(3):
        with pytest.raises(MirrorTrouble, match="does not answer"):
            patience.ask("/disk", hang)
    assert len(asked) == 1
    assert patience.ask("/other", lambda: 7) == 7
    answer.set()
    assert poll(lambda: _answer(patience))


def _answer(patience: Patience) -> bool:
    try:
        return patience.ask("/disk", lambda: True)
    except MirrorTrouble:
        return False
