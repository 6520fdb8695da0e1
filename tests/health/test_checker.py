"""The daemon notices that nobody checks it any more, and complains of no checker that nobody set up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbguard.health.checker import REGULAR, REGULAR_LIGHT, CheckerWatch
from nbguard.health.memory import CheckMemory, write_memory
from nbguard.health.remembered import Run
from nbguard.settings import Checks


@dataclass
class Clocks:
    awake: float = 50_000.0
    asleep: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self.awake + self.asleep)

    def boottime_ns(self) -> int:
        return int((self.awake + self.asleep) * 1e9)

    def monotonic(self) -> float:
        return self.awake


@dataclass
class Watched:
    path: Path
    clocks: Clocks
    is_installed: bool = False

    def __post_init__(self) -> None:
        self.watch = CheckerWatch(
            str(self.path),
            clock=self.clocks,
            boot="b",
            checks=Checks(late_seconds=1800),
            is_installed=lambda: self.is_installed,
        )

    def checked(self, *, in_row: int, boot: str = "b", light_in_row: int = 0) -> None:
        clocks = self.clocks
        run = Run(
            at=clocks.now(), boot=boot, boottime_seconds=clocks.boottime_ns() / 1e9, monotonic_seconds=clocks.awake
        )
        write_memory(
            str(self.path),
            CheckMemory(full=run, in_row=in_row, light=run if light_in_row else None, light_in_row=light_in_row),
        )

    def says(self) -> list[str]:
        return [problem.code for problem in self.watch.problems()]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "checks.json", Clocks())


def test_a_regular_checker_that_stops_is_missed_after_half_an_hour(watched: Watched) -> None:
    watched.checked(in_row=REGULAR)
    watched.clocks.awake += 1_799
    assert watched.says() == []
    watched.clocks.awake += 2
    assert watched.says() == ["checker-late"]
    watched.checked(in_row=1)
    assert watched.says() == []


def test_somebody_who_checked_by_hand_now_and_then_is_not_missed(watched: Watched) -> None:
    watched.checked(in_row=REGULAR - 1)
    watched.clocks.awake += 1e6
    assert watched.says() == []


def test_where_a_service_was_installed_a_checker_that_never_came_is_missed(watched: Watched) -> None:
    watched.is_installed = True
    assert watched.says() == []
    watched.clocks.awake += 481
    assert watched.says() == ["checker-late"]


def test_light_checks_that_stop_are_missed_after_eight_minutes(watched: Watched) -> None:
    watched.checked(in_row=9, light_in_row=REGULAR_LIGHT)
    watched.clocks.awake += 479
    assert watched.says() == []
    watched.clocks.awake += 2
    assert watched.says() == ["checker-late"]


def test_a_night_asleep_makes_no_checker_late(watched: Watched) -> None:
    watched.checked(in_row=9)
    watched.clocks.asleep += 30_000
    watched.clocks.awake += 100
    assert watched.says() == []


def test_after_a_start_of_the_machine_the_daemon_waits_as_long_as_ever(tmp_path: Path) -> None:
    before = Watched(tmp_path / "checks.json", Clocks(awake=900_000.0))
    before.checked(in_row=9, boot="a")
    watched = Watched(tmp_path / "checks.json", Clocks(awake=60.0))
    assert watched.says() == []
    watched.clocks.awake += 1_801
    assert watched.says() == ["checker-late"]


def test_garbage_in_its_file_is_no_checker(watched: Watched) -> None:
    watched.path.write_bytes(b"\xff" * 100)
    watched.clocks.awake += 1e6
    assert watched.says() == []
