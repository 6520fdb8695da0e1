"""Ages by a wall clock that was set meanwhile, sleep, and how long a disk will last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.health.ages import Ages, awake_seconds_since, awake_since, clock_facts, jump_between
from nbguard.health.forecast import KEPT_SAMPLES, remember, seconds_left
from nbguard.health.remembered import Jump, Run, Sample

EPOCH = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0


def run(awake: float, *, asleep: float = 0.0, set_by: float = 0.0, boot: str = "b") -> Run:
    """A look after so many seconds awake and asleep, on a clock that was set by so many."""
    return Run(
        at=EPOCH + timedelta(seconds=awake + asleep + set_by),
        boot=boot,
        boottime_seconds=1000.0 + awake + asleep,
        monotonic_seconds=1000.0 + awake,
    )


@pytest.mark.parametrize("set_by", [-2 * HOUR, DAY, 31.0, -31.0])
def test_a_clock_that_was_set_is_noticed_and_by_how_much(set_by: float) -> None:
    jump = jump_between(run(0), run(120, set_by=set_by), None)
    assert jump is not None
    assert jump.seconds == pytest.approx(set_by)
    assert clock_facts(jump, run(120 + 60, set_by=set_by)).ago_seconds == pytest.approx(60)


@pytest.mark.parametrize("asleep", [0.0, 8 * HOUR, 30 * DAY])
def test_sleep_sets_no_clock(asleep: float) -> None:
    assert jump_between(run(0), run(120, asleep=asleep), None) is None


def test_small_corrections_and_another_start_of_the_machine_are_no_jump() -> None:
    assert jump_between(run(0), run(120, set_by=29), None) is None
    assert jump_between(run(0), run(120, set_by=DAY, boot="c"), None) is None
    assert clock_facts(Jump(seconds=9, wall_before=0, boot="a", boottime_seconds=0), run(0)).jump_seconds == 0


@given(
    set_by=st.sampled_from([-2 * HOUR, DAY, -DAY, HOUR]),
    saved=st.floats(-600, 0),
    looked=st.floats(130, 1000),
)
def test_what_was_saved_before_the_clock_was_set_is_as_old_as_it_is(set_by: float, saved: float, looked: float) -> None:
    jump = jump_between(run(0), run(120, set_by=set_by), None)
    now = run(looked, set_by=set_by).at.timestamp()
    age = Ages(now=now, jump=jump).of(EPOCH.timestamp() + saved)
    assert age == pytest.approx(looked - saved, abs=0.01)


@given(set_by=st.sampled_from([-2 * HOUR, DAY, -DAY, HOUR]), saved=st.floats(121, 1000), later=st.floats(0, 1000))
def test_what_was_saved_after_it_too(set_by: float, saved: float, later: float) -> None:
    jump = jump_between(run(0), run(120, set_by=set_by), None)
    now = run(saved + later, set_by=set_by).at.timestamp()
    age = Ages(now=now, jump=jump).of(run(saved, set_by=set_by).at.timestamp())
    assert age == pytest.approx(later, abs=0.01)


def test_ages_count_from_waking() -> None:
    before, now = run(0), run(30, asleep=8 * HOUR)
    woke = awake_since(before, 0.0, now)
    assert now.at.timestamp() - woke == pytest.approx(30)
    later = run(1000, asleep=8 * HOUR)
    assert later.at.timestamp() - awake_since(now, woke, later) == pytest.approx(1000)


def test_waking_seconds_are_of_this_start_of_the_machine() -> None:
    assert awake_seconds_since(run(0), run(50, asleep=HOUR)) == pytest.approx(50)
    assert awake_seconds_since(run(0, boot="a"), run(50)) == pytest.approx(1050)


def falling(*, hours: float, gigabytes_an_hour: float, left: float = 10.0) -> list[tuple[float, float]]:
    steps = int(hours * 4)
    return [(step * 900.0, 1e9 * (left + gigabytes_an_hour * (steps - step) / 4)) for step in range(steps + 1)]


def test_a_disk_that_fills_steadily_is_foretold() -> None:
    left = seconds_left(falling(hours=6, gigabytes_an_hour=1), floor=0, total=1e11, least_seconds=3600)
    assert left == pytest.approx(10 * HOUR)


@pytest.mark.parametrize(
    ("samples", "total"),
    [
        (falling(hours=6, gigabytes_an_hour=0), 1e11),
        (falling(hours=6, gigabytes_an_hour=-1), 1e11),
        (falling(hours=0.5, gigabytes_an_hour=1), 1e11),
        (falling(hours=6, gigabytes_an_hour=1), 4e10),
        ([*falling(hours=6, gigabytes_an_hour=0), (6.25 * 3600, 5e9)], 1e11),
    ],
    ids=["as it was", "emptier", "looked at for half an hour only", "a quarter is free", "one large file just now"],
)
def test_no_alarm_is_foretold_from(samples: list[tuple[float, float]], total: float) -> None:
    left = seconds_left(samples, floor=0, total=total, least_seconds=3600)
    assert left is None or left > DAY


def test_samples_of_the_future_and_of_long_ago_are_dropped() -> None:
    samples = [Sample(at=float(at), bytes=1, inodes=1) for at in range(0, 200_000, 900)]
    kept = remember(samples, Sample(at=100_000.0, bytes=1, inodes=1), window_seconds=DAY)
    assert all(0 <= 100_000 - each.at <= DAY for each in kept)
    assert len(kept) <= KEPT_SAMPLES
