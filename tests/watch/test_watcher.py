"""Whatever happens to a root: it is watched again or reported, and nothing is taken for deleted that is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify_c import InotifyFD

from nbguard.model import SaveNotice
from nbguard.settings import Intervals
from nbguard.watch import watcher as watcher_module
from nbguard.watch.mounts import Mount
from tests.helpers import notebook_bytes, poll
from tests.powers import without_root_powers
from tests.protection import Protection, protecting

BRISK = Intervals(guard_seconds=0.1, sweep_seconds=3600.0, poll_seconds=0.2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.ipynb").write_bytes(notebook_bytes("a"))
    (folder / "deep").mkdir()
    (folder / "deep" / "b.ipynb").write_bytes(notebook_bytes("b"))
    return folder


@contextmanager
def guarding(*roots: Path, intervals: Intervals = BRISK) -> Generator[Protection]:
    """Roots whose notebooks are all kept already."""
    with protecting(*roots, intervals=intervals) as guard:
        guard.until(lambda: not any(root.needs_full_sweep for root in guard.watcher._roots if root.is_sound))
        guard.until(lambda: not guard.saves.pending())
        yield guard


def hears(guard: Protection, path: Path, *words: str) -> None:
    """A save of ``path`` is kept, and no sweep was needed for it."""
    sweeps = guard.watcher.sweeps
    path.write_bytes(notebook_bytes(*words))
    guard.until(lambda: guard.store.of(str(path))[-1:] == [notebook_bytes(*words)], 5)
    assert guard.watcher.sweeps == sweeps


def reader_of(observer: BaseObserver) -> InotifyFD:
    """The thread of watchdog's that reads the kernel's queue."""
    reader = vars(observer)["_inotify_fd"]
    assert isinstance(reader, InotifyFD)
    return reader


def mode(guard: Protection) -> str:
    return guard.watcher.reports()[0].mode


def test_a_watched_root_reports_itself(root: Path) -> None:
    with guarding(root) as guard:
        (report,) = guard.watcher.reports()
        assert (report.path, report.mode, report.notebooks, report.watches) == (str(root), "events", 2, 2)
        assert report.last_sweep_at is not None
        assert guard.watcher.problems() == ()


def test_a_renamed_root_is_reported_and_watched_again_when_it_is_back(root: Path, tmp_path: Path) -> None:
    with guarding(root) as guard:
        root.rename(tmp_path / "elsewhere")
        guard.until(lambda: "root-gone" in guard.codes())
        assert mode(guard) == "gone"
        (tmp_path / "elsewhere").rename(root)
        guard.until(lambda: mode(guard) == "events" and "root-gone" not in guard.codes())
        guard.until(lambda: guard.watcher.reports()[0].notebooks == 2)
        hears(guard, root / "a.ipynb", "again")
        assert guard.store.tombstones() == []


def test_a_deleted_root_is_reported_and_nothing_recorded(root: Path) -> None:
    with guarding(root) as guard:
        shutil.rmtree(root)
        guard.until(lambda: "root-gone" in guard.codes())
        guard.until(lambda: not guard.saves.pending(), 5)
        assert guard.store.tombstones() == []


def test_a_root_recreated_between_two_looks_is_watched_anew(root: Path) -> None:
    with guarding(root) as guard:
        rebuilds = guard.watcher.rebuilds
        shutil.copytree(root, root.with_name("copy"))
        shutil.rmtree(root)
        root.with_name("copy").rename(root)
        guard.until(lambda: guard.watcher.rebuilds > rebuilds)
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep)
        guard.until(lambda: not guard.saves.pending(), 5)
        hears(guard, root / "deep" / "b.ipynb", "anew")
        assert guard.store.tombstones() == []


def test_a_root_that_appears_later_is_picked_up(tmp_path: Path) -> None:
    root = tmp_path / "later"
    with protecting(root, intervals=BRISK) as guard:
        guard.step()
        assert guard.codes() == {"root-gone"}
        root.mkdir()
        (root / "a.ipynb").write_bytes(notebook_bytes("a"))
        guard.until(lambda: guard.store.of(str(root / "a.ipynb")) == [notebook_bytes("a")])
        assert guard.codes() == set()


def test_a_root_replaced_by_a_file_is_gone(root: Path) -> None:
    with guarding(root) as guard:
        shutil.rmtree(root)
        root.write_text("not a folder")
        guard.until(lambda: "root-gone" in guard.codes())
        assert guard.store.tombstones() == []


def test_an_unreadable_root_is_reported_and_recovers(root: Path) -> None:
    with guarding(root) as guard:
        root.chmod(0)
        try:
            with without_root_powers():
                guard.until(lambda: guard.codes() == {"root-unreadable"})
        finally:
            root.chmod(0o700)
        guard.until(lambda: guard.codes() == set())
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep)
        hears(guard, root / "a.ipynb", "again")
        assert guard.store.tombstones() == []


def test_an_unreadable_folder_is_reported_and_recovers(root: Path) -> None:
    with guarding(root) as guard:
        (root / "deep").chmod(0)
        try:
            with without_root_powers():
                guard.watcher.request_sweep()
                guard.until(lambda: "unreachable" in guard.codes())
        finally:
            (root / "deep").chmod(0o700)
        guard.watcher.request_sweep()
        guard.until(lambda: guard.codes() == set())
        assert guard.store.tombstones() == []


@pytest.mark.parametrize("part", ["emitter", "dispatcher", "reader"])
def test_a_dead_thread_is_replaced(root: Path, part: str) -> None:
    with guarding(root) as guard:
        source = guard.watcher._roots[0]._source
        assert source is not None
        observer = source._observer
        assert observer is not None
        if part == "emitter":
            for emitter in observer.emitters:
                emitter.stop()
        elif part == "dispatcher":
            observer._stopped_event.set()
            observer.event_queue.put(type(observer).stop_event)
        else:
            reader_of(observer).stop()
        poll(lambda: not source.state().alive, 5)
        guard.until(lambda: guard.watcher.rebuilds == 1)
        assert "watcher-dead" in guard.codes(), "told for a while, though mended"
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep)
        hears(guard, root / "a.ipynb", "again")
        assert mode(guard) == "events"


def test_a_fault_while_handing_on_is_answered_by_a_sweep(root: Path) -> None:
    with guarding(root) as guard:
        fired: list[SaveNotice] = []

        def fail(notice: SaveNotice) -> None:
            fired.append(notice)
            raise RuntimeError("full")

        guard.watcher.deliver_to(fail, guard.saves.put_leftover)
        (root / "a.ipynb").write_bytes(notebook_bytes("unheard"))
        poll(lambda: fired, 5)
        guard.watcher.deliver_to(guard.saves.put, guard.saves.put_leftover)
        guard.until(lambda: guard.store.of(str(root / "a.ipynb"))[-1] == notebook_bytes("unheard"), 5)


def test_a_save_that_no_event_told_of_is_found_counted_and_mended(root: Path) -> None:
    with guarding(root) as guard:
        path = root / "a.ipynb"
        source = guard.watcher._roots[0]._source
        assert source is not None
        source._translator._covers = lambda path: False
        path.write_bytes(notebook_bytes("unheard"))
        changed = path.stat().st_ctime
        # Older than an event could still be in flight.
        guard.until(lambda: guard.clock.now().timestamp() > changed + 2.1, 5)
        assert guard.store.of(str(path)) == [notebook_bytes("a")], "the fault fired"
        guard.watcher.request_sweep()
        guard.until(lambda: guard.store.of(str(path))[-1] == notebook_bytes("unheard"))
        assert (guard.watcher.missed_events, guard.watcher.rebuilds) == (1, 1)
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep)
        hears(guard, path, "heard")
        guard.watcher.request_sweep()
        guard.until(lambda: not guard.watcher._roots[0].needs_full_sweep)
        assert guard.watcher.missed_events == 1


def test_an_overflow_of_the_kernels_queue_loses_no_notebook(root: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with guarding(root) as guard:
        source = guard.watcher._roots[0]._source
        assert source is not None
        assert source._observer is not None
        descriptor = reader_of(source._observer)
        count = limit // 2 + 200
        with descriptor._lock:  # its reader waits, the kernel's queue fills
            (root / "wake.txt").write_text("")
            for number in range(count):
                (root / f"{number}.ipynb").write_bytes(b'{"cells": []\n}\n')
        guard.until(lambda: "watch-overflow" in guard.codes(), 20)
        guard.until(lambda: len(guard.store.drafts) >= count + 2, 60)
        assert {d.path for d in guard.store.drafts} >= {str(root / f"{n}.ipynb") for n in range(count)}


def test_a_network_root_is_polled_and_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "read_mounts", lambda: (Mount(str(root), "nfs4", 99),))
    with guarding(root) as guard:
        assert mode(guard) == "polling"
        assert "nfs4" in guard.watcher.reports()[0].note
        assert guard.codes() == {"polling"}
        (root / "a.ipynb").write_bytes(notebook_bytes("polled"))
        guard.until(lambda: guard.store.of(str(root / "a.ipynb"))[-1] == notebook_bytes("polled"), 5)
        (root / "new").mkdir()
        (root / "new" / "c.ipynb").write_bytes(notebook_bytes("c"))
        guard.until(lambda: guard.store.of(str(root / "new" / "c.ipynb")) == [notebook_bytes("c")], 5)
        assert guard.watcher.missed_events == 0


def test_a_network_folder_below_a_local_root_is_polled_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = (Mount("/", "ext4", 1), Mount(str(root / "deep"), "fuse.sshfs", 99))
    monkeypatch.setattr(watcher_module, "read_mounts", lambda: mounts)
    with guarding(root) as guard:
        assert mode(guard) == "events"
        assert str(root / "deep") in guard.watcher.reports()[0].note
        assert guard.codes() == {"polling"}
        source = guard.watcher._roots[0]._source
        assert source is not None
        source._translator._covers = lambda path: False
        (root / "deep" / "b.ipynb").write_bytes(notebook_bytes("polled"))
        guard.until(lambda: guard.store.of(str(root / "deep" / "b.ipynb"))[-1] == notebook_bytes("polled"), 5)


def test_five_hundred_deleted_at_once_are_held_and_told(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.ipynb").write_bytes(notebook_bytes(str(number)))
    with guarding(tmp_path) as guard:
        guard.until(lambda: len(guard.store.drafts) == 500)
        for number in range(500):
            (tmp_path / f"{number}.ipynb").unlink()
        guard.until(lambda: "mass-deletion" in guard.codes(), 15)
        assert guard.store.tombstones() == []
        (problem,) = guard.saves.problems()
        assert "500 notebooks" in problem.message


def test_a_notebook_moved_to_another_root_keeps_its_lineage(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "a.ipynb").write_bytes(notebook_bytes("a"))
    with guarding(one, two) as guard:
        (one / "a.ipynb").rename(two / "b.ipynb")
        guard.until(lambda: str(two / "b.ipynb") in {d.path for d in guard.store.drafts})
        assert guard.store.drafts[-1].renamed_from == str(one / "a.ipynb")
        assert guard.watcher.root_of(str(two / "b.ipynb")) == str(two)


def test_what_happened_while_nobody_watched_is_found_at_the_start(root: Path) -> None:
    with guarding(root) as guard:
        heads, store = guard.heads, guard.store
    (root / "a.ipynb").rename(root / "renamed.ipynb")
    (root / "deep" / "b.ipynb").unlink()
    (root / "new.ipynb").write_bytes(notebook_bytes("new"))
    with protecting(root, heads=heads, store=store, intervals=BRISK) as guard:
        guard.until(lambda: store.tombstones() == [str(root / "deep" / "b.ipynb")])
        assert {d.path: d.renamed_from for d in store.drafts[2:4]} == {
            str(root / "renamed.ipynb"): str(root / "a.ipynb"),
            str(root / "new.ipynb"): None,
        }
        assert guard.watcher.missed_events == 0


def test_a_root_taken_out_of_the_configuration_is_unwatched_not_deleted(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with guarding(root, other) as guard:
        heads, store = guard.heads, guard.store
    shutil.rmtree(root)
    with protecting(other, heads=heads, store=store, intervals=BRISK) as guard:
        guard.settle()
        guard.until(lambda: not guard.saves.pending())
        assert store.tombstones() == []
        assert guard.codes() == set()


def test_nothing_is_left_running_when_it_is_stopped(root: Path) -> None:
    import threading

    before = set(threading.enumerate())
    with guarding(root):
        assert set(threading.enumerate()) > before
    poll(lambda: set(threading.enumerate()) <= before, 5)
    assert os.path.exists(root)
