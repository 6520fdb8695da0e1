"""A kernel that no longer writes history is named, with its reason; one that is well, or meant it so, is not."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.history import silent
from nbguard.history.kernels import LiveKernel
from nbguard.history.losing import Losing
from nbguard.history.silent import HeldFile, KernelSeen, Why, losses
from tests.helpers import poll
from tests.history.rig import IPythonKernel, Rig, kernel, make_database, rows_of

_WELL = HeldFile("/h", times=2, is_gone=False, is_elsewhere=False)
_ONCE = HeldFile("/h", times=1, is_gone=False, is_elsewhere=False)
_GONE = HeldFile("/h", times=1, is_gone=True, is_elsewhere=True)
_REPLACED = HeldFile("/h", times=2, is_gone=False, is_elsewhere=True)


def _kernel(*held: HeldFile, age: float = 60.0, keeps_nothing: bool = False) -> KernelSeen:
    return KernelSeen(pid=1, name="a kernel", age_seconds=age, keeps_nothing=keeps_nothing, held=held)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (_kernel(_WELL), None),
        (_kernel(_ONCE), Why.THREAD_DIED),
        (_kernel(_GONE), Why.DELETED),
        (_kernel(_REPLACED), Why.REPLACED),
        (_kernel(), Why.NOWHERE),
        (_kernel(_GONE, _WELL), None),
        (_kernel(_GONE, _ONCE), Why.THREAD_DIED),
        (_kernel(age=3.0), None),
        (_kernel(_ONCE, age=3.0), None),
        (_kernel(_GONE, age=3.0), Why.DELETED),
        (_kernel(keeps_nothing=True), None),
    ],
)
def test_what_a_kernel_holds_open_tells_what_became_of_its_history(seen: KernelSeen, why: Why | None) -> None:
    assert [loss.why for loss in losses([seen])] == ([] if why is None else [why])
    for loss in losses([seen]):
        assert loss.message
        assert loss.hint


@pytest.fixture
def rig(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(silent, "SETTLED_SECONDS", 0.0)
    return Rig(home, tmp_path)


def _told(rig: Rig) -> list[str]:
    """What is said now of kernels."""
    rig.histories.scan_soon()
    rig.step()
    return [problem.message for problem in rig.board.all() if problem.subject.startswith("kernel ")]


def _until_told(rig: Rig, words: str) -> None:
    poll(lambda: any(words in message for message in _told(rig)), every=0.05)
    assert set(rig.codes()) == {"kernel-history-lost"}


def test_a_deleted_database_is_copied_from_the_kernel_that_holds_it_and_the_loss_is_named(rig: Rig) -> None:
    with kernel() as running:
        running.run("a = 1")
        rig.until_kept("a = 1")
        assert _told(rig) == []
        running.run("the_last = 1")  # nobody looks between this and the removal
        poll(lambda: len(rows_of(rig.database)) == 2)
        inode = rig.database.stat().st_ino
        for path in (rig.profile).glob("history*"):
            path.unlink()
        rig.until_kept("the_last = 1")
        _until_told(rig, "was deleted while")
        (copy,) = rig.copies
        assert copy.stat().st_mode & 0o777 == 0o600
        assert [source for _, _, source in rows_of(copy)] == ["a = 1", "the_last = 1"]
        assert {generation.inode for generation in rig.kept.generations()} == {inode}
        running.run("b = 1")
        assert [loser.pid for loser in rig.lost] == [running.pid], (
            "told once, so that it can be asked what it remembers"
        )
    poll(lambda: _told(rig) == [])


def test_a_deleted_database_with_a_log_is_read_again_when_its_log_grows(rig: Rig) -> None:
    with kernel() as running:
        running.run("a = 1")
        with closing(sqlite3.connect(rig.database)) as connection:
            poll(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",))
            running.run("b = 1")
            poll(lambda: len(rows_of(rig.database)) == 2)
        rig.until_kept("a = 1", "b = 1")
        for path in list(rig.profile.glob("history*")):
            path.unlink()
        running.run("after = 1")
        rig.until_kept("after = 1")
        running.run("and_again = 1")
        rig.until_kept("and_again = 1")


def test_a_saving_thread_that_died_is_told_from_outside(rig: Rig) -> None:
    with kernel() as running:
        running.run("a = 1")
        rig.until_kept("a = 1")
        header = rig.database.read_bytes()[:100]
        with open(rig.database, "r+b") as file:
            file.write(b"not a database any more, thank you.")
        running.run("b = 1")
        rig.step()
        assert "kernel-history-lost" in rig.codes(), "no kernel can write a damaged database"
        rig.until(lambda: [path for path in rig.copies if path.name.endswith("-damaged.sqlite")])
        with open(rig.database, "r+b") as file:
            file.write(header)
        _until_told(rig, "its saving thread ended")


def test_a_kernel_without_history_is_named_unless_it_was_told_to_keep_none(rig: Rig) -> None:
    told = kernel("--HistoryManager.hist_file=:memory:")  # as nbconvert and papermill start theirs
    with told as converting, kernel("--HistoryManager.enabled=False") as disabled:
        converting.run("a = 1")
        disabled.run("a = 1")
        _until_told(rig, "keeps its history nowhere")
        assert [loser.pid for loser in rig.lost] == [disabled.pid]


@pytest.mark.long  # the kernel waits five seconds for the lock
def test_a_kernel_that_found_the_database_locked_keeps_its_history_in_memory_and_is_named(rig: Rig) -> None:
    make_database(rig.database, [(1, "2026-11-16 09:00:00.123456", ["x"])])
    running = IPythonKernel()
    try:
        with closing(sqlite3.connect(rig.database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM history").fetchone()
            running.start()
            running.run("a = 1")
        _until_told(rig, "keeps its history nowhere")
    finally:
        running.end()


def test_a_database_under_another_name_is_found_by_what_kernels_hold_open(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "mine.sqlite"
    path.parent.mkdir()
    with kernel(f"--HistoryManager.hist_file={path}", IPYTHONDIR=str(tmp_path / "ipython")) as running:
        running.run("a = 1")
        poll(lambda: _told(rig) == [] and "a = 1" in rig.kept.sources())
        running.run("b = 1")
        rig.until_kept("b = 1", seconds=2)
        assert str(path) in rig.histories.paths()


def test_kernels_of_another_home_are_left_alone(rig: Rig, tmp_path: Path) -> None:
    with kernel(HOME=str(tmp_path), IPYTHONDIR=str(tmp_path / "ipython")) as running:
        running.run("not_ours = 1")
        poll((tmp_path / "ipython" / "profile_default" / "history.sqlite").exists)
        assert _told(rig) == []
        assert rig.histories.paths() == []


def test_trim_under_a_running_kernel_keeps_the_union_and_names_the_loss(rig: Rig) -> None:
    with kernel() as running:
        for number in range(6):
            running.run(f"x = {number}")
        poll(lambda: len(rows_of(rig.database)) == 6)
        # nobody looked before: what the trim drops is only in the file that the kernel holds open
        words = [sys.executable, "-m", "IPython", "history", "trim", "--keep=2"]
        subprocess.run(words, check=True, env=dict(os.environ), stdout=subprocess.DEVNULL)
        assert len(rows_of(rig.database)) == 2, "trimmed"
        rig.until_kept(*(f"x = {number}" for number in range(6)))
        _until_told(rig, "was replaced while")
        with kernel() as second:
            second.run("y = 1")
            rig.until_kept("y = 1")
    rig.step()
    assert sorted(rig.kept.sources()) == [*(f"x = {number}" for number in range(6)), "y = 1"]
    assert len({key[:3] for key in rig.kept.keyed()}) == 7


def test_clear_loses_nothing(rig: Rig) -> None:
    with kernel() as running:
        running.run("a = 1")
        rig.until_kept("a = 1")
    words = [sys.executable, "-m", "IPython", "history", "clear", "-f"]
    subprocess.run(words, check=True, env=dict(os.environ), stdout=subprocess.DEVNULL)
    assert rows_of(rig.database) == []
    with kernel() as running:
        running.run("b = 1")
        rig.until_kept("b = 1")
    first, second = rig.kept.all_cells()
    assert (first.session, second.session) == (1, 1)
    assert first.generation != second.generation


def test_an_end_is_followed_and_a_killed_session_has_none(rig: Rig) -> None:
    with kernel() as killed:
        killed.run("a = 1")
        rig.until_kept("a = 1")
    with kernel() as running:
        running.run("b = 1")
        rig.until_kept("b = 1")
        running.end(now=False)
    rig.until(lambda: rig.kept.sessions()[1].ended_at)
    first, second = rig.kept.sessions()
    assert first.ended_at is None
    for moment in (first.started_at, second.started_at, second.ended_at):
        assert moment is not None
        assert abs(rig.clock.now() - moment) < timedelta(seconds=60)


def test_a_kernel_that_ran_a_command_is_well_though_it_holds_its_database_open_only_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPython 9 ends its saving thread before each fork, and starts it with the next cell."""
    remembered: list[int] = [0]
    suspected: list[LiveKernel] = []
    rig.histories._losing = Losing(
        clock=rig.clock, board=rig.board, lost=suspected.append, last_line=lambda kernel: remembered[0]
    )
    monkeypatch.setattr(Losing, "judge", _with_session(Losing.judge, 1))
    with kernel() as running:
        running.run("a = 1")
        running.run("!true")
        rig.until_kept("!true")
        poll(lambda: _told(rig) == [] and bool(suspected), every=0.05)
        (seen,) = suspected
        assert len(seen.databases) == 1, "the fault fired: it is held open once"
        remembered[0] = 2
        assert _told(rig) == [], "it remembers what the database has"
        remembered[0] = 3
        _until_told(rig, "has stopped writing history")
        running.run("b = 2")
        rig.until_kept("b = 2")
        poll(lambda: _told(rig) == [], every=0.05)


def _with_session(
    judge: Callable[[Losing, Sequence[LiveKernel]], None], session: int
) -> Callable[[Losing, Sequence[LiveKernel]], None]:
    """As linking does it: every kernel's session is known."""

    def judging(losing: Losing, kernels: Sequence[LiveKernel]) -> None:
        judge(losing, [replace(kernel, session=session) for kernel in kernels])

    return judging
