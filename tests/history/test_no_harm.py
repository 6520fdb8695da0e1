"""A kernel under load does not feel that its history is read and copied: all of it is there, in both places."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.helpers import poll
from tests.history.locks import watching_locks
from tests.history.rig import Rig, kernel, make_database, rows_of

_LAST = [f"one_more = {number}" for number in range(5)]
MONDAY = "2026-11-16 09:00:00.123456"


@contextmanager
def _at_work(rig: Rig) -> Generator[list[Exception]]:
    """The daemon's two workers, at their own pace."""
    ending, faults = threading.Event(), list[Exception]()

    def reading() -> None:
        try:
            while not ending.is_set():
                ending.wait(rig.histories.step())
        except Exception as error:  # noqa: BLE001 - told to the test
            faults.append(error)

    def copying() -> None:
        try:
            while not ending.is_set():
                rig.clock.later += rig.a_day
                rig.histories.copy_due()
                ending.wait(0.3)
        except Exception as error:  # noqa: BLE001 - told to the test
            faults.append(error)

    threads = [threading.Thread(target=reading), threading.Thread(target=copying)]
    for thread in threads:
        thread.start()
    try:
        yield faults
    finally:
        ending.set()
        for thread in threads:
            thread.join(60)


def _is_written(rig: Rig, line: int) -> bool:
    with closing(sqlite3.connect(rig.database)) as connection:
        return bool(connection.execute("SELECT 1 FROM history WHERE session = 2 AND line = ?", (line,)).fetchone())


def _is_kept(rig: Rig, source: str, faults: list[Exception]) -> bool:
    return source in rig.kept.seen or bool(faults)


@pytest.mark.parametrize(
    ("executions", "rows_before"),
    [
        pytest.param(300, 20_000, id="reduced"),
        pytest.param(10_000, 400_000, id="full", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
def test_a_kernel_under_load_loses_nothing_and_neither_do_we(
    home: Path, tmp_path: Path, executions: int, rows_before: int
) -> None:
    rig = Rig(home, tmp_path)
    make_database(rig.database, [(1, MONDAY, [f"old = {number}  # {'x' * 200}" for number in range(rows_before)])])
    with (
        kernel() as running,
        _at_work(rig) as faults,
        watching_locks(rig.database, os.getpid()) as locks,
    ):
        running.run_many([*(f"x = {number}" for number in range(executions)), "the_last = 1"])
        poll(lambda: "the_last = 1" in rig.kept.seen or faults, 60)
        took: list[float] = []
        for last in _LAST:
            running.run(last)
            poll(partial(_is_written, rig, executions + 2 + len(took)), 60)  # a loaded disk may take its time
            began = time.monotonic()
            poll(partial(_is_kept, rig, last, faults), 10, every=0.005)
            took.append(time.monotonic() - began)
        poll(lambda: len(rig.kept.seen) == rows_before + executions + 1 + len(_LAST) or faults, 600, every=0.1)
        poll(lambda: rig.copies or faults, 60)
    assert faults == []
    expected = [f"x = {number}" for number in range(executions)] + ["the_last = 1", *_LAST]
    assert [source for session, _, source in rows_of(rig.database) if session == 2] == expected, "the kernel's own"
    kept = Counter(rig.kept.sources())
    assert [source for source in expected if kept[source] != 1] == [], "ours"
    assert sorted(took)[len(took) // 2] < 1.0
    assert locks.held > 0, "there was something to measure"
    assert locks.longest_seconds < 0.2
    assert locks.looks > 200
    assert "kernel-history-lost" not in rig.codes()
    for copy in rig.copies:
        assert len(rows_of(copy)) >= rows_before
    looks = f"seen in {locks.held} of {locks.looks} looks"
    print(f"longest lock {locks.longest_seconds * 1000:.1f} ms, {looks}; kept after {took} s")
