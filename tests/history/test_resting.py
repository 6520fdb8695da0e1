"""While no kernel lives nobody looks again and again, and what comes is seen as soon all the same."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbguard.bell import Bell
from nbguard.clock import SystemClock
from nbguard.history import population
from nbguard.history.kernels import KernelFinder
from nbguard.history.linking import TICK_SECONDS, Linking
from nbguard.history.population import Population
from tests.helpers import poll
from tests.history.rig import Rig, add, make_database
from tests.history.test_kernels import Log, process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

MONDAY, TUESDAY = "2026-11-16 09:00:00.000000", "2026-11-17 09:00:00.000000"
SOON = 3.0  # a loaded machine's second; without the bell it were ten
QUIET = 1.5


@pytest.fixture
def rig(home: Path, tmp_path: Path) -> Rig:
    return Rig(home, tmp_path, only_kernels=False)


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell(SystemClock())
    yield bell
    bell.wait(0.0)


class Reader:
    """The daemon's way to read histories, in this thread; ``looks`` counts."""

    def __init__(self, rig: Rig, bell: Bell) -> None:
        self.rig, self.bell, self.looks = rig, bell, 0

    def look(self) -> float:
        self.looks += 1
        seconds, histories = self.rig.histories.step(), self.rig.histories
        if rest_seconds := histories.rest_seconds():
            self.bell.rest(histories.folders(), rest_seconds, otherwise_seconds=seconds)
        else:
            self.bell.wait(seconds)
        return rest_seconds

    def until_resting(self) -> None:
        poll(self.look, every=0.0)
        self.looks = 0

    def seconds_until_kept(self, source: str, happen: Callable[[], object]) -> float:
        """From when it happens, a while from now, until it is kept."""
        happened: list[float] = []

        def soon() -> None:
            happen()
            happened.append(time.monotonic())

        timer = threading.Timer(QUIET, soon)
        timer.start()
        poll(lambda: self.look() is not None and source in self.rig.kept.seen, 30.0, every=0.0)
        timer.join()
        return time.monotonic() - happened[0]


def test_a_row_of_a_kernel_that_nobody_met_is_kept_as_soon_as_if_somebody_had_looked(rig: Rig, bell: Bell) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"])])
    rig.until_kept("a")
    reader = Reader(rig, bell)
    reader.until_resting()
    assert reader.seconds_until_kept("b", lambda: add(rig.database, (1, MONDAY, ["b"]))) < SOON
    assert reader.looks <= 5, "nobody looked while nothing happened"


def test_the_first_database_of_a_user_is_found_as_soon(rig: Rig, bell: Bell, home: Path) -> None:
    assert not (home / ".ipython").exists()
    reader = Reader(rig, bell)
    reader.until_resting()
    assert reader.seconds_until_kept("first", lambda: make_database(rig.database, [(1, TUESDAY, ["first"])])) < SOON


def test_a_kernel_is_found_by_the_file_it_writes(home: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "_RESTLESS_SECONDS", 2.0)
    runtime = home / ".local/share/jupyter/runtime"
    clock, looks = SystemClock(), 0
    worker = Linking(
        population=Population(KernelFinder(only_home=str(home), runtimes=[str(runtime)]), clock),
        log=Log(),
        clock=clock,
        generation_of=lambda device, inode, session: None,
        chain=lambda path, at: (),
        known_links=list,
    )

    def look() -> bool:
        nonlocal looks
        looks += 1
        worker.step()
        if worker.is_resting:
            bell.rest(worker.runtimes, 60.0, otherwise_seconds=TICK_SECONDS)
        else:
            bell.wait(0.2)
        return worker.is_resting

    poll(look, 30.0, every=0.0)
    look()
    assert not worker.kernels() and worker.is_resting
    file = runtime / "kernel-new.json"
    with process(sys.executable, "-m", "ipykernel_launcher", "-f", str(file)) as started:
        poll(lambda: look() is not None and worker.kernels(), 30.0, every=0.0)
        came = file.stat().st_mtime
        assert time.time() - came < SOON
        assert [one.pid for one in worker.kernels()] == [started.pid]
