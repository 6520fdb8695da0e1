"""Starts after ends that nobody meant are counted over an hour; what the file holds never stops a daemon."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from nbguard.health.starts import count_start
from tests.helpers import poll
from tests.journeys.guarded import guarding


def test_only_ends_that_nobody_meant_count_and_only_for_an_hour(tmp_path: Path) -> None:
    path = str(tmp_path / "starts")
    counts = [
        count_start(path, now=at, ended_well=well)
        for at, well in [(0, True), (10, False), (20, False), (30, True), (3000, False), (3615, False), (9000, True)]
    ]
    assert counts == [0, 1, 2, 2, 3, 3, 0]


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"x y\n1 2 3\n-4 well\n", b"9" * 100_000])
def test_garbage_counts_for_nothing(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "starts"
    path.write_bytes(garbage)
    assert count_start(str(path), now=100.0, ended_well=False) == 1
    assert path.stat().st_mode & 0o077 == 0


def test_many_starts_are_remembered_in_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    for number in range(200):
        count_start(str(path), now=float(number), ended_well=False)
    assert len(path.read_text().splitlines()) == 50


def test_a_daemon_that_is_killed_again_and_again_says_so_and_one_that_is_stopped_does_not(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    with guarding(tmp_path, root) as guard:
        for _ in range(2):
            guard.stop()
            guard.start()
        assert "crash-loop" not in guard.codes()
        for _ in range(6):
            assert guard.process is not None
            guard.process.send_signal(signal.SIGKILL)
            guard.process.wait(10)
            guard.start()
        poll(lambda: "crash-loop" in guard.codes(), 20, every=0.2)
