"""WHEN: what each form means, clock changes included, and that nothing makes the grammar crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import UsageError
from nbguard.recover.when import LastGood, Named, Nth, Until, When, parse_when
from nbguard.recover.wording import local

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)  # a Saturday, 09:30 in Berlin


def until(text: str, *, now: datetime = NOW, zone: ZoneInfo = BERLIN) -> str:
    """The instant that ``text`` means, in UTC, to the microsecond."""
    found = parse_when(text, now, zone)
    assert isinstance(found, Until), found
    return found.instant.strftime("%Y-%m-%d %H:%M:%S.%f")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("~0", Nth(0)),
        ("~12", Nth(12)),
        (" LAST-GOOD ", LastGood()),
        ("7f3a9c", Named("7f3a9c")),
        ("7F3A9C", Named("7f3a9c")),
        ("20261120", Named("20261120", Until(datetime(2026, 11, 20, 22, 59, 59, 999_999, tzinfo=UTC)))),
    ],
)
def test_rows_names_and_beginnings_of_ids(text: str, meaning: When) -> None:
    assert parse_when(text, NOW, BERLIN) == meaning


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-20", "2026-11-20 22:59:59.999999"),
        ("2026-11-20T10:00", "2026-11-20 09:00:00.999999"),
        ("2026-11-20 10:00", "2026-11-20 09:00:00.999999"),
        ("2026-11-20 9:05", "2026-11-20 08:05:00.999999"),
        ("2026-11-20T10:00:07", "2026-11-20 09:00:07.999999"),
        ("2026-11-20T10:00:07.25", "2026-11-20 09:00:07.250000"),
        ("2026-11-20T10:00:07.250000Z", "2026-11-20 10:00:07.250000"),
        ("2026-11-20t10:00:07.250000z", "2026-11-20 10:00:07.250000"),
        ("2026-11-20T10:00:07.250000-05:00", "2026-11-20 15:00:07.250000"),
        ("2026-11-20 10:00:07 +01:00", "2026-11-20 09:00:07.999999"),
        ("0001-01-01", "1970-01-01 00:00:00.000000"),
        ("9999-12-31", "9999-12-30 00:00:00.000000"),
    ],
)
def test_iso_times_are_local_unless_they_say_otherwise(text: str, instant: str) -> None:
    assert until(text) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("0 seconds ago", "2026-11-21 08:30:00.000000"),
        ("a minute ago", "2026-11-21 08:29:00.000000"),
        ("an hour ago", "2026-11-21 07:30:00.000000"),
        ("2 hours ago", "2026-11-21 06:30:00.000000"),
        ("1 day ago", "2026-11-20 08:30:00.000000"),
        ("2 weeks ago", "2026-11-07 08:30:00.000000"),
        ("1 month ago", "2026-10-21 07:30:00.000000"),
        ("9 months ago", "2026-02-21 08:30:00.000000"),
        ("2 years ago", "2024-11-21 08:30:00.000000"),
        ("999999999 years ago", "1970-01-01 00:00:00.000000"),
        ("999999999999 hours ago", "1970-01-01 00:00:00.000000"),
    ],
)
def test_so_long_ago(text: str, instant: str) -> None:
    assert until(text) == instant


def test_a_month_before_the_31st_is_the_last_day_there_is() -> None:
    assert until("1 month ago", now=datetime(2026, 3, 31, 10, tzinfo=UTC)) == "2026-02-28 11:00:00.000000"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("today", "2026-11-21 22:59:59.999999"),
        ("yesterday", "2026-11-20 22:59:59.999999"),
        ("Yesterday 18:00", "2026-11-20 17:00:00.999999"),
        ("today 7:15", "2026-11-21 06:15:00.999999"),
        ("friday", "2026-11-20 22:59:59.999999"),
        ("sunday 12:00", "2026-11-15 11:00:00.999999"),
        ("saturday", "2026-11-14 22:59:59.999999"),
        ("saturday 09:00", "2026-11-21 08:00:00.999999"),
        ("saturday 10:00", "2026-11-14 09:00:00.999999"),
    ],
)
def test_days_by_name(text: str, instant: str) -> None:
    assert until(text) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-10-25 02:30:00.0", "2026-10-25 01:30:00.000000"),  # told twice: the later one
        ("2026-03-29 02:30:00.0", "2026-03-29 01:30:00.000000"),  # never told: as if the clock had not moved
        ("2026-10-25", "2026-10-25 22:59:59.999999"),
        ("2026-03-29", "2026-03-29 21:59:59.999999"),
    ],
)
def test_clock_changes(text: str, instant: str) -> None:
    assert until(text) == instant


def test_a_day_ends_at_a_midnight_told_twice_at_its_first_telling() -> None:
    havana = ZoneInfo("America/Havana")  # 2026-11-01 01:00 goes back to 00:00
    assert until("2026-10-31", zone=havana) == "2026-11-01 03:59:59.999999"


def test_a_day_ends_where_a_skipped_midnight_would_have_been() -> None:
    havana = ZoneInfo("America/Havana")  # 2026-03-08 00:00 goes forward to 01:00
    assert until("2026-03-07", zone=havana) == "2026-03-08 04:59:59.999999"
    assert until("2026-03-08", zone=havana) == "2026-03-09 03:59:59.999999"


@pytest.mark.parametrize(
    "text", ["", "~", "~-1", "~x", "gestern", "2 fortnights ago", "2026-13-01", "2026-11-31", "25:00", "7f3a9", "now"]
)
def test_what_is_not_understood_is_refused_with_three_examples(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW, BERLIN)
    assert caught.value.exit_code == 2
    assert caught.value.hint.count(",") == 2


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC))
WORDS = st.lists(
    st.sampled_from(
        ["~", "1", "2026-11-21", "T", "10:30", "ago", "hours", "a", "yesterday", "monday", " ", "Z", "+01:00", "9" * 20]
    )
).map("".join)


@given(text=st.one_of(st.text(), WORDS), now=TIMES, zone=ZONES)
def test_nothing_crashes_it(text: str, now: datetime, zone: str) -> None:
    try:
        parse_when(text, now, ZoneInfo(zone))
    except UsageError:
        pass


@given(saved_at=TIMES, zone=ZONES)
def test_a_time_as_it_is_shown_finds_what_was_saved_then(saved_at: datetime, zone: str) -> None:
    found = parse_when(local(saved_at, ZoneInfo(zone)), NOW, ZoneInfo(zone))
    assert isinstance(found, Until)
    assert saved_at <= found.instant < saved_at + timedelta(seconds=1)


@given(saved_at=TIMES, zone=ZONES)
def test_a_bare_day_includes_all_of_it(saved_at: datetime, zone: str) -> None:
    day = saved_at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d")
    found = parse_when(day, NOW, ZoneInfo(zone))
    assert isinstance(found, Until)
    assert saved_at <= found.instant


@given(now=TIMES, zone=ZONES, day=st.sampled_from(["monday", "wednesday", "sunday"]))
def test_a_weekday_lies_within_the_past_week(now: datetime, zone: str, day: str) -> None:
    found = parse_when(day, now, ZoneInfo(zone))
    assert isinstance(found, Until)
    assert now - timedelta(days=8) < found.instant <= now + timedelta(seconds=1)
