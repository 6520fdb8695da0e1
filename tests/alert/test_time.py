"""Desk seconds: they never run back, whatever the clocks do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alert.state import Seen, instant
from tests.alert.town import BEGIN, DAY

SEEN = Seen(seconds=1_000.0, at=BEGIN, boot="a", boottime_ns=500_000_000_000)

TABLE = [
    ("the same boot", "a", 560.0, 60.0, 60.0),
    ("the clock was set back meanwhile", "a", 560.0, -DAY, 60.0),
    ("the clock was set forward meanwhile", "a", 560.0, DAY, 60.0),
    ("a restart", "b", 20.0, 3_600.0, 3_600.0),
    ("a restart, and the clock went back: it has run for so long", "b", 20.0, -DAY, 20.0),
    ("a restart long ago, and the clock went back", "b", 600.0, -DAY, 100.0),
    ("a boot clock that runs back is another boot", "a", 20.0, 3_600.0, 3_600.0),
]


@pytest.mark.parametrize(
    ("boot", "boottime", "wall", "passed"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_seconds_that_passed(boot: str, boottime: float, wall: float, passed: float) -> None:
    now = instant(SEEN, at=BEGIN + timedelta(seconds=wall), boot=boot, boottime_ns=int(boottime * 1e9))
    assert now.seconds - SEEN.seconds == pytest.approx(passed)


@given(st.sampled_from("abc"), st.integers(0, 10**15), st.floats(-1e9, 1e9))
def test_it_never_runs_back(boot: str, boottime_ns: int, wall: float) -> None:
    assert instant(SEEN, at=BEGIN + timedelta(seconds=wall), boot=boot, boottime_ns=boottime_ns).seconds >= 1_000.0


def test_before_anything_was_written_no_time_has_passed() -> None:
    assert instant(Seen(), at=BEGIN, boot="a", boottime_ns=10**15).seconds == 0.0
