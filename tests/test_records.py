"""Records as lines: what was kept comes back, and no line costs another one."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import ArchiveTrouble
from nbguard.executed import (
    CellOrigin,
    Confidence,
    ExecutedCell,
    Frontend,
    Generation,
    HistorySession,
    Link,
    Record,
    Run,
)
from nbguard.records import BrokenRecord, UnknownRecord, decode, decode_lines, encode, encode_lines

NOW = datetime(2026, 11, 21, 9, 30, 0, 123456, tzinfo=UTC)

_texts = st.text(st.characters(codec=None), max_size=40)  # lone surrogates too
_paths = st.binary(min_size=1, max_size=30).filter(lambda raw: b"\0" not in raw).map(lambda raw: "/" + os.fsdecode(raw))
_words = st.text("0123456789abcdef", min_size=1, max_size=32)
_numbers = st.integers(0, 1 << 60)
_times = st.datetimes(datetime(1000, 1, 2), datetime(9998, 12, 1), timezones=st.just(UTC))
_maybe_time = st.none() | _times
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Generation,
        id=_words,
        path=_paths,
        device=_numbers,
        inode=_numbers,
        first_started_at=_texts,
        seen_at=_times,
    ),
    st.builds(
        HistorySession,
        generation=_words,
        session=_numbers,
        started_at=_maybe_time,
        ended_at=_maybe_time,
        seen_at=_times,
    ),
    st.builds(
        ExecutedCell,
        generation=_words,
        session=_numbers,
        line=_numbers,
        source=_texts,
        seen_at=_times,
        origin=st.sampled_from(CellOrigin),
        transformed=st.none() | _texts,
        output=st.none() | _texts,
    ),
    st.builds(
        Link,
        generation=st.none() | _words,
        session=st.none() | _numbers,
        path=st.none() | _paths,
        frontend=st.sampled_from(Frontend),
        confidence=st.sampled_from(Confidence),
        evidence=st.lists(st.sampled_from(["server", "environment", "rename"]), max_size=3).map(tuple),
        seen_at=_times,
        since=_maybe_time,
        until=_maybe_time,
        kernel=st.none() | _words,
        pid=st.none() | _numbers,
    ),
    st.builds(
        Run,
        id=_words,
        kernel=_words,
        execution_count=st.none() | _numbers,
        source=_texts,
        started_at=_times,
        ended_at=_maybe_time,
        status=st.sampled_from(["ok", "error", "aborted", "unfinished"]),
        path=st.none() | _paths,
        generation=st.none() | _words,
        session=st.none() | _numbers,
        outputs=_numbers,
        output_bytes=_numbers,
        note=_texts,
    ),
)


def cell(line: int = 1, source: str = "x = 1") -> ExecutedCell:
    return ExecutedCell(generation="ab" * 16, session=1, line=line, source=source, seen_at=NOW)


@given(RECORDS)
def test_every_record_comes_back_from_one_line_of_ascii(record: Record) -> None:
    line = encode(record)
    assert decode(line) == record
    assert line.isascii() and b"\n" not in line
    assert json.loads(line)["v"] == 1


@pytest.mark.parametrize("source", ["\ud83d", "\ud83d\ude00", "😀", "\0", "\r\n", "\u2028", "\x1b[31m", "é\udcff"])
def test_odd_text_comes_back_as_it_was(source: str) -> None:
    found = decode(encode(cell(source=source)))
    assert isinstance(found, ExecutedCell)
    assert found.source == source


def test_a_path_that_is_not_utf8_stands_as_base64_beside_a_null() -> None:
    link = Link(
        generation=None,
        session=None,
        path=os.fsdecode(b"/w/\xff.ipynb"),
        frontend=Frontend.NOTEBOOK,
        confidence=Confidence.EXACT,
        evidence=(),
        seen_at=NOW,
    )
    fields = json.loads(encode(link))
    assert (fields["path"], fields["path_b64"]) == (None, "L3cv/y5pcHluYg==")
    assert decode(encode(link)) == link


def test_times_of_any_zone_are_stored_as_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    found = decode(encode(ExecutedCell(generation="a", session=1, line=1, source="", seen_at=there)))
    assert isinstance(found, ExecutedCell) and found.seen_at == NOW and found.seen_at.tzinfo is UTC


@pytest.mark.parametrize("odd", [datetime.min, datetime.max])
def test_a_time_that_no_clock_has_shown_costs_only_itself(odd: datetime) -> None:
    session = HistorySession(generation="ab", session=1, started_at=odd.replace(tzinfo=UTC), ended_at=NOW, seen_at=NOW)
    found = decode(encode(session))
    assert isinstance(found, HistorySession)
    assert (found.started_at, found.ended_at) == (None, NOW)


@pytest.mark.parametrize(
    "line",
    [
        b'{"v":2,"kind":"cell","generation":"a"}',
        b'{"v":1,"kind":"roll-call","id":"a"}',
    ],
)
def test_what_a_newer_nbguard_wrote_is_named_as_such(line: bytes) -> None:
    with pytest.raises(UnknownRecord, match="newer"):
        decode(line)


@given(st.binary(max_size=200) | RECORDS.map(lambda record: encode(record)[:-3]))
def test_garbage_is_reported_and_never_crashes(line: bytes) -> None:
    with pytest.raises(ArchiveTrouble):
        decode(line)


@pytest.mark.parametrize("depth", [100_000])
def test_json_nested_without_end_is_reported(depth: int) -> None:
    with pytest.raises(BrokenRecord):
        decode(b'{"v":1,"kind":"cell","x":' + b"[" * depth)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generation", "../../x"),
        ("line", 1 << 70),
        ("line", True),
        ("seen_at", "yesterday"),
        ("source", 3),
        ("seen_at", "9999-12-31T23:59:59Z"),
        ("seen_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_field_that_cannot_be_is_reported(key: str, value: object) -> None:
    fields = json.loads(encode(cell())) | {key: value}
    with pytest.raises(BrokenRecord):
        decode(json.dumps(fields).encode())


def test_a_line_that_cannot_be_read_costs_no_other_and_a_torn_tail_is_no_line() -> None:
    data = encode_lines([cell(1)]) + b"{torn\0\n\n" + b"\0\0\0\n" + encode_lines([cell(2)]) + encode(cell(3))[:20]
    found = list(decode_lines(data))
    assert [one for one in found if isinstance(one, ExecutedCell)] == [cell(1), cell(2)]
    assert sum(isinstance(one, ArchiveTrouble) for one in found) == 1
