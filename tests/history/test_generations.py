"""Sessions keep their generation whatever file they are met in, and times are read as IPython wrote them."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.executed import Generation, HistorySession
from nbguard.history.generations import (
    FileIdentity,
    Lives,
    SessionRow,
    ended_utc,
    generation_id,
    mark_of,
    naive_or_aware,
    started_utc,
)
from tests.history.rig import timezone

FIRST = FileIdentity(1, 100)
OTHER = FileIdentity(1, 200)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    import time

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _row(number: int, start: str, end: str = "") -> SessionRow:
    return SessionRow(number, start, end)


def _starts(*numbers: int) -> list[SessionRow]:
    return [_row(number, f"2026-11-{number:02d} 08:00:00.{100_000 + number}") for number in numbers]


def _assigned(lives: Lives, file: FileIdentity, rows: list[SessionRow]) -> list[str]:
    return [generation for _row, generation, _is_new in lives.assign(file, rows)]


# -- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21 13:05:31.859890", "2026-11-21 12:05:31.859890"),  # winter, naive: IPython 7, 8 and 9
        ("2026-07-21 13:05:31.859890", "2026-07-21 11:05:31.859890"),  # summer
        ("2026-11-21 04:05:36+00:00", "2026-11-21 04:05:36"),  # aware: the end in IPython 9
        ("2026-11-21 13:05:36.5+09:00", "2026-11-21 04:05:36.5"),
        ("2026-11-21T13:05:31", "2026-11-21 12:05:31"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_naive_times_are_local_and_aware_ones_say_so(text: str, utc: str) -> None:
    assert started_utc(text) == _at(utc)
    assert ended_utc(text, started_at=None) == _at(utc)


@pytest.mark.parametrize("text", ["", "   ", "yesterday", "0001-01-01 00:00:00", "99999-01-01", "\x00", "é"])
@pytest.mark.usefixtures("berlin")
def test_what_is_no_time_is_none(text: str) -> None:
    assert started_utc(text) in (None, _at("0001-01-01 00:00:00"))


@pytest.mark.parametrize(
    ("not_before", "not_after", "utc"),
    [
        (None, None, "2026-10-25 00:30:00"),  # the first telling
        ("2026-10-25 00:45:00", None, "2026-10-25 01:30:00"),  # the session before it was later than that
        (None, "2026-10-25 00:31:00", "2026-10-25 00:30:00"),  # and we saw it then
        ("2026-10-25 00:45:00", "2026-10-25 01:31:00", "2026-10-25 01:30:00"),
        ("2026-10-26 00:00:00", None, "2026-10-25 00:30:00"),  # neither fits: the clock was set
    ],
)
@pytest.mark.usefixtures("berlin")
def test_an_hour_told_twice_is_placed_by_what_is_known_around_it(
    not_before: str | None, not_after: str | None, utc: str
) -> None:
    found = started_utc(
        "2026-10-25 02:30:00",
        not_before=_at(not_before) if not_before else None,
        not_after=_at(not_after) if not_after else None,
    )
    assert found == _at(utc)


@pytest.mark.usefixtures("berlin")
def test_an_end_is_never_read_as_before_its_start_where_both_tellings_are_there() -> None:
    started = started_utc("2026-10-25 02:50:00")
    assert ended_utc("2026-10-25 02:10:00", started_at=started) == _at("2026-10-25 01:10:00")


@settings(max_examples=50, deadline=None)
@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-56, 56))
def test_a_mark_is_the_same_in_every_zone(moment: datetime, quarters: int) -> None:
    from datetime import timedelta

    assert mark_of(moment) == mark_of(moment + timedelta(minutes=15 * quarters))
    assert mark_of(moment) == mark_of(moment.replace(tzinfo=UTC))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    naive_or_aware(text)
    started_utc(text)


# -- generations ---------------------------------------------------------------------------------------------------


def test_sessions_of_one_file_are_one_generation_with_an_id_that_can_be_found_again() -> None:
    rows = _starts(1, 2, 3)
    found = list(Lives().assign(FIRST, rows))
    assert [generation for _, generation, _ in found] == [generation_id(FIRST, rows[0])] * 3
    assert [is_new for _, _, is_new in found] == [True, False, False]
    assert _assigned(Lives(), FIRST, rows) == _assigned(Lives(), FIRST, rows)


@pytest.mark.parametrize(
    ("name", "file", "rows", "is_first"),
    [
        ("it goes on", FIRST, _starts(4), [True]),
        ("trimmed: a new file with its last sessions", OTHER, _starts(2, 3), [True, True]),
        ("trimmed, and one that is new", OTHER, _starts(2, 3, 4), [True, True, False]),
        ("deleted, ids start again at 1", OTHER, [_row(1, "2026-11-20 09:00:00.7")], [False]),
        ("the same inode, ids start again at 1", FIRST, [_row(1, "2026-11-20 09:00:00.7")], [False]),
        ("an older copy over it", FIRST, [*_starts(1), _row(2, "2026-11-20 09:00:00.7")], [True, False]),
        ("moved aside as corrupt", OTHER, _starts(1, 2, 3), [True, True, True]),
        ("no start that can be read", FIRST, [_row(4, "")], [True]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_known_sessions_keep_their_generation_and_numbers_used_again_begin_another(
    name: str, file: FileIdentity, rows: list[SessionRow], is_first: list[bool]
) -> None:
    lives = Lives()
    first = _assigned(lives, FIRST, _starts(1, 2, 3))[0]
    assert [generation == first for generation in _assigned(lives, file, rows)] == is_first


def test_what_was_kept_is_known_again_in_another_zone() -> None:
    timezone("UTC")
    rows = _starts(1, 2)
    before = Lives()
    (first, _) = _assigned(before, FIRST, rows)
    seen = datetime(2026, 11, 21, tzinfo=UTC)
    generation = Generation(id=first, path="/h", device=1, inode=100, first_started_at=rows[0].start, seen_at=seen)
    shifted = [_at(row.start).replace(hour=3) for row in rows]  # as if it had been read five zones away
    sessions = [
        HistorySession(generation=first, session=row.number, started_at=at, ended_at=None, seen_at=seen)
        for row, at in zip(rows, shifted, strict=True)
    ]
    assert set(_assigned(Lives([generation], sessions), FIRST, rows)) == {first}
    assert set(_assigned(Lives([], sessions), FileIdentity(9, 100), rows)) == {first}, "the device has another number"


def test_a_file_whose_device_got_another_number_goes_on() -> None:
    lives = Lives()
    (first, _) = _assigned(lives, FIRST, _starts(1, 2))
    again = FileIdentity(77, FIRST.inode)
    assert set(_assigned(lives, again, _starts(1, 2, 3))) == {first}
    assert _assigned(lives, again, _starts(4)) == [first]


def test_cells_without_a_session_have_a_generation_too() -> None:
    lives = Lives()
    generation, is_new = lives.of_stray(FIRST, 7)
    assert is_new
    assert lives.of_stray(FIRST, 8) == (generation, False)
    assert _assigned(lives, FIRST, [_row(7, "2026-11-20 09:00:00.7")]) == [generation], "its row came later"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([FIRST, OTHER]), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=5)
        ),
        max_size=8,
    )
)
def test_two_starts_never_share_a_generation_and_number(
    looks: list[tuple[FileIdentity, list[tuple[int, int]]]],
) -> None:
    """Whatever is met in whatever order: (generation, session) names one start."""
    lives, owners = Lives(), dict[tuple[str, int], int]()
    for file, found in looks:
        rows = {number: _row(number, f"2026-11-20 09:00:0{start}.5") for number, start in found}
        for row, generation, _ in lives.assign(file, rows.values()):
            mark = mark_of(naive_or_aware(row.start))
            assert mark is not None
            assert owners.setdefault((generation, row.number), mark) == mark
