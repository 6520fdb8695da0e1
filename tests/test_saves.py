"""The way of a save inside the daemon: nothing noticed is dropped until it is durable, unchanged or judged gone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbguard.capture.keep import RETRY_SECONDS, Keeper
from nbguard.errors import StorageTrouble
from nbguard.heads import Heads
from nbguard.model import Draft, NoticeKind, SaveNotice, Trigger
from nbguard.saves import Saves
from nbguard.settings import Limits
from nbguard.watch.missing import Missing
from tests.helpers import notebook_bytes
from tests.memory import HandClock, MemoryStore
from tests.protection import protecting

ONE, TWO = notebook_bytes("one"), notebook_bytes("two", "2")


def test_what_was_there_at_the_start_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(notebook_bytes("1"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.ipynb").write_bytes(notebook_bytes("2"))
    with protecting(tmp_path) as guard:
        guard.until(lambda: len(guard.store.drafts) == 2)
        assert guard.store.of(str(tmp_path / "below" / "b.ipynb")) == [notebook_bytes("2")]


def test_every_save_of_a_known_notebook_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with protecting(tmp_path) as guard:
        guard.settle()
        for number in range(5):
            path.write_bytes(notebook_bytes(str(number)))
            guard.until(lambda: guard.store.of(str(path))[-1:] == [path.read_bytes()], 3)
        assert len(guard.store.of(str(path))) == 5
        assert guard.watcher.missed_events == 0


def test_a_rename_is_followed_and_a_deletion_recorded(tmp_path: Path) -> None:
    one, two = tmp_path / "one.ipynb", tmp_path / "two.ipynb"
    one.write_bytes(notebook_bytes("x"))
    with protecting(tmp_path) as guard:
        guard.settle()
        one.rename(two)
        guard.until(lambda: len(guard.store.drafts) == 2)
        assert guard.store.drafts[-1].renamed_from == str(one)
        two.unlink()
        guard.until(lambda: guard.store.tombstones() == [str(two)])


def _as_jupyter_does(path: Path, data: bytes) -> None:
    copy = path.with_name(".~" + path.name)
    if path.exists():
        copy.write_bytes(path.read_bytes())
    path.write_bytes(data)
    copy.unlink(missing_ok=True)


def _by_rename(path: Path, data: bytes) -> None:
    path.with_name(".tmp").write_bytes(data)
    path.with_name(".tmp").rename(path)


def _from_outside(path: Path, data: bytes) -> None:
    outside = path.parent.parent / "outside"
    outside.write_bytes(data)
    outside.rename(path)


def _as_vim_does(path: Path, data: bytes) -> None:
    path.rename(path.with_name(path.name + "~"))
    path.write_bytes(data)
    path.with_name(path.name + "~").unlink()


def _as_git_does(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _by_jupytext(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.stem}_tmp_jupytext_4711.ipynb")
    temporary.write_bytes(data)
    temporary.rename(path)


@pytest.mark.parametrize(
    "write", [_as_jupyter_does, _by_rename, _from_outside, _as_vim_does, _as_git_does, _by_jupytext]
)
def test_every_kind_of_writer_is_kept_once_and_whole(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = root / "a.ipynb"
    path.write_bytes(ONE)
    with protecting(root) as guard:
        guard.until(lambda: len(guard.store.drafts) == 1)
        write(path, TWO)
        guard.until(lambda: guard.store.of(str(path)) == [ONE, TWO], 5)
        guard.until(lambda: not guard.saves.pending() and not guard.saves._missing.is_gathering, 5)
        assert guard.store.tombstones() == []
        assert {draft.path for draft in guard.store.drafts} == {str(path)}


def test_a_killed_server_leaves_nothing_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with protecting(tmp_path) as guard:
        guard.settle()
        path.write_bytes(b"")
        (tmp_path / ".~a.ipynb").write_bytes(TWO)
        guard.watcher.request_sweep()
        guard.until(lambda: guard.store.of(str(path)) == [TWO], 5)
        assert (guard.store.drafts[0].trigger, guard.store.drafts[0].tip) == (Trigger.RESCUE, False)


class Bench:
    """Saves over a folder with time by hand; notices are put by the test."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root, self.clock, self.store, self.heads = root, HandClock(), MemoryStore(), Heads()
        self.faults: list[Draft] = []
        self.fails = False
        limits = limits or Limits()
        keeper = Keeper(
            store=self.store,
            heads=self.heads,
            clock=self.clock,
            limits=limits,
            root_of=lambda path: str(root),
            kept=self._told,
            knows=self.store.knows,
        )
        missing = Missing(
            heads=self.heads,
            clock=self.clock,
            hold_seconds=86_400,
            root_of=lambda path: str(root),
            root_is_sound=lambda root: True,
        )
        self.saves = Saves(keeper=keeper, missing=missing, clock=self.clock, limits=limits)

    def _told(self, draft: Draft, data: bytes | None) -> None:
        if self.fails:
            self.faults.append(draft)
            raise RuntimeError("the recorder broke")

    def save(self, name: str, data: bytes, kind: NoticeKind = NoticeKind.CLOSED) -> str:
        path = self.root / name
        path.write_bytes(data)
        self.notice(str(path), kind)
        return str(path)

    def notice(self, path: str, kind: NoticeKind = NoticeKind.CLOSED) -> None:
        self.saves.put(SaveNotice(path, kind, self.clock.monotonic()))

    def after(self, seconds: float) -> int:
        self.clock.advance(seconds)
        return self.saves.step(0)

    def codes(self) -> list[str]:
        return [problem.code for problem in self.saves.problems()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_half_a_save_climbs_the_ladder_and_is_kept_at_its_end(bench: Bench) -> None:
    path = bench.save("a.ipynb", ONE[:-5])
    bench.after(0.02)
    for seconds in RETRY_SECONDS:
        assert bench.store.of(path) == []
        bench.after(seconds)
    assert bench.store.of(path) == [ONE[:-5]]
    assert bench.saves.pending() == 0


def test_the_other_half_is_kept_as_soon_as_it_comes(bench: Bench) -> None:
    path = bench.save("a.ipynb", ONE[:-5])
    bench.after(0.02)
    bench.save("a.ipynb", ONE)
    bench.after(0.02)
    assert bench.store.of(path) == [ONE]
    bench.after(20)
    assert bench.store.of(path) == [ONE]


def test_events_in_between_neither_use_up_the_ladder_nor_stop_it(bench: Bench) -> None:
    path = bench.save("a.ipynb", ONE[:-5])
    for _ in range(9):
        bench.after(0.04)
        bench.notice(path)
    assert bench.store.of(path) == []
    for _ in range(200):
        bench.after(0.1)
        bench.notice(path)
    assert bench.store.of(path) == [ONE[:-5]]


def test_a_full_disk_keeps_the_notice_raises_the_alarm_and_mends_itself(bench: Bench) -> None:
    bench.store.trouble = StorageTrouble("no room", hint="free some space", code="no-space")
    paths = [bench.save(name, ONE) for name in ("a.ipynb", "b.ipynb")]
    for _ in range(20):
        bench.after(5)
    assert bench.store.refused > 5, "the fault fired, and again"
    (problem,) = bench.saves.problems()
    assert (problem.code, problem.subject) == ("no-space", "spool")
    assert "1 more" in problem.message
    assert bench.saves.pending() == 2
    bench.store.trouble = None
    bench.after(31)
    assert [bench.store.of(path) for path in paths] == [[ONE], [ONE]]
    assert bench.codes() == []


def test_what_is_deleted_while_the_disk_is_full_is_not_waited_for(bench: Bench) -> None:
    bench.store.trouble = StorageTrouble("no room", code="no-space")
    path = bench.save("a.ipynb", ONE)
    bench.after(1)
    assert bench.codes() == ["no-space"]
    os.unlink(path)
    bench.after(60)
    assert (bench.codes(), bench.saves.pending()) == ([], 0)


def test_a_tombstone_waits_for_the_disk_too(bench: Bench) -> None:
    path = bench.save("a.ipynb", ONE)
    bench.after(0.02)
    bench.store.trouble = StorageTrouble("no room", code="no-space")
    os.unlink(path)
    bench.notice(path, NoticeKind.GONE)
    for _ in range(4):
        bench.after(2)
    assert (bench.codes(), bench.store.tombstones()) == (["no-space"], [])
    bench.store.trouble = None
    bench.after(60)
    assert (bench.codes(), bench.store.tombstones()) == ([], [path])


def test_a_fault_of_the_recorder_loses_no_version(bench: Bench) -> None:
    bench.fails = True
    path = bench.save("a.ipynb", ONE)
    with pytest.raises(RuntimeError):
        bench.after(0.02)
    assert len(bench.faults) == 1
    bench.fails = False
    bench.after(2)
    assert bench.store.of(path) == [ONE]
    assert bench.saves.pending() == 0


def test_too_large_is_a_problem_and_not_a_version(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Limits(stream_over_bytes=100, refuse_over_bytes=1000))
    path = bench.save("a.ipynb", notebook_bytes("x" * 2000))
    bench.after(0.02)
    assert bench.codes() == ["too-large"]
    bench.save("a.ipynb", ONE)
    bench.after(0.02)
    assert (bench.codes(), bench.store.of(path)) == ([], [ONE])


def test_a_large_notebook_is_kept_slowly_and_its_last_state_always(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Limits(slow_over_bytes=500))

    def state(number: int) -> bytes:
        return notebook_bytes("x" * 1000, str(number))

    path = bench.save("a.ipynb", state(0))
    bench.after(0.02)
    for number in range(1, 21):  # an autosave every two minutes
        bench.save("a.ipynb", state(number))
        bench.after(120)
    kept = bench.store.of(path)
    assert kept[0] == state(0)
    assert 4 <= len(kept) <= 6, "one in ten minutes"
    assert bench.saves.slowed() == (path,)
    bench.after(200)
    assert bench.store.of(path)[-1] == state(20), "and the state it was left in"
    bench.save("a.ipynb", ONE)
    bench.after(0.02)
    assert bench.saves.slowed() == (), "it is not large any more"


def test_at_the_end_of_the_daemon_nothing_waits_for_quiet(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Limits(slow_over_bytes=500))
    large = bench.save("large.ipynb", notebook_bytes("x" * 1000))
    bench.after(0.02)
    bench.save("large.ipynb", notebook_bytes("y" * 1000))
    bench.after(0.02)
    created = bench.save("new.ipynb", ONE, NoticeKind.CREATED)
    bench.saves.drain()
    assert bench.store.of(created) == [ONE]
    assert len(bench.store.of(large)) == 2


def test_a_burst_of_four_thousand_saves_is_kept_whole(tmp_path: Path) -> None:
    with protecting(tmp_path) as guard:
        guard.settle()
        for number in range(4000):
            (tmp_path / f"{number % 200}-{number}.ipynb").write_bytes(b'{"cells": [], "n": %d\n}\n' % number)
        guard.until(lambda: len(guard.store.drafts) == 4000, 30)


def test_an_idle_worker_sleeps_until_it_is_woken(tmp_path: Path) -> None:
    with protecting(tmp_path) as guard:
        guard.settle()
        looked: list[int] = []
        thread = threading.Thread(target=lambda: looked.append(guard.saves.step(30.0)))
        began = time.process_time()
        thread.start()
        path = tmp_path / "a.ipynb"
        path.write_bytes(ONE)
        thread.join(10)
        while not guard.store.drafts and guard.saves.pending():
            guard.saves.step(1.0)
        assert guard.store.of(str(path)) == [ONE]
        assert time.process_time() - began < 1.0


def test_saves_700_ms_apart_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    states = [json.dumps({"cells": [], "n": number}, indent=1).encode() + b"\n" for number in range(4)]
    with protecting(tmp_path) as guard:
        guard.settle()
        for state in states:
            _as_jupyter_does(path, state)
            until = guard.clock.monotonic() + 0.7
            guard.until(lambda until=until: guard.clock.monotonic() >= until)  # type: ignore[misc]
        assert guard.store.of(str(path)) == states
