"""Local time by the system's own rules agrees with the zone database."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.cli.zone import LOCAL
from nbguard.recover.when import Until, parse_when

NAME = "America/Havana"  # goes back from 01:00 to 00:00: a day that ends twice


@pytest.fixture(scope="module", autouse=True)
def havana() -> Generator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", NAME)
        time.tzset()
        yield
    time.tzset()


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))


@given(TIMES)
def test_any_instant_reads_the_same(instant: datetime) -> None:
    ours, theirs = instant.astimezone(LOCAL), instant.astimezone(ZoneInfo(NAME))
    assert ours.replace(tzinfo=None) == theirs.replace(tzinfo=None)
    assert ours.utcoffset() == theirs.utcoffset()
    assert ours.astimezone(UTC) == instant


@pytest.mark.parametrize("minutes", range(-130, 131, 10))
def test_also_around_a_clock_change(minutes: int) -> None:
    instant = datetime(2026, 11, 1, 5, 0, tzinfo=UTC) + timedelta(minutes=minutes)
    ours, theirs = instant.astimezone(LOCAL), instant.astimezone(ZoneInfo(NAME))
    assert (ours.replace(tzinfo=None), ours.fold) == (theirs.replace(tzinfo=None), theirs.fold)
    assert ours.astimezone(UTC) == instant


@given(
    TIMES, st.sampled_from(["2026-11-01", "2026-11-01 00:30", "yesterday", "sunday 00:30", "3 days ago", "2020-03-08"])
)
def test_when_means_the_same_in_it(now: datetime, text: str) -> None:
    ours, theirs = parse_when(text, now, LOCAL), parse_when(text, now, ZoneInfo(NAME))
    assert isinstance(ours, Until)
    assert ours == theirs
