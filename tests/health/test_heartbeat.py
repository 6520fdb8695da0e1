"""The heartbeat file says exactly what the daemon said, or nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.health.heartbeat import read_heartbeat, write_heartbeat
from nbguard.model import Heartbeat, Problem, RootReport

_times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))
_paths = st.binary(min_size=1, max_size=40).map(os.fsdecode)
_numbers = st.integers(0, 2**63 - 1)
_heartbeats = st.builds(
    Heartbeat,
    pid=st.integers(1, 2**22),
    boot=st.text(max_size=32),
    since=_times,
    beat_at=_times,
    beat_boottime_ns=_numbers,
    version=st.text(max_size=8),
    roots=st.lists(
        st.builds(
            RootReport,
            path=_paths,
            mode=st.sampled_from(["events", "polling", "gone"]),
            notebooks=_numbers,
            watches=_numbers,
            last_sweep_at=st.none() | _times,
            note=st.text(max_size=9),
        ),
        max_size=3,
    ).map(tuple),
    problems=st.lists(
        st.builds(Problem, code=st.text(max_size=9), message=st.text(), hint=st.text(), since=_times, subject=_paths),
        max_size=3,
    ).map(tuple),
    stopped=st.booleans(),
    kept=_numbers,
    missed_events=_numbers,
    beat_monotonic=st.none() | st.floats(0, 1e9),
)
BEAT = Heartbeat(
    pid=1,
    boot="b",
    since=datetime(2026, 1, 1, tzinfo=UTC),
    beat_at=datetime(2026, 1, 1, tzinfo=UTC),
    beat_boottime_ns=5,
    version="0",
    roots=(),
    problems=(),
)


@given(heartbeat=_heartbeats)
def test_what_is_written_reads_back_the_same(heartbeat: Heartbeat, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.getbasetemp() / "heartbeat.json")
    write_heartbeat(path, heartbeat)
    assert read_heartbeat(path) == heartbeat


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"pid": "1"}', b"\xff\xfe", b"[" * 100_000], ids=lambda raw: repr(raw[:12])
)
def test_what_cannot_be_read_counts_as_absent(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "heartbeat.json"
    path.write_bytes(raw)
    assert read_heartbeat(str(path)) is None


@pytest.mark.parametrize("key", ["pid", "boot", "since", "beat_at", "beat_boottime_ns", "roots", "problems"])
def test_a_heartbeat_without_its_essentials_counts_as_absent(tmp_path: Path, key: str) -> None:
    path = tmp_path / "heartbeat.json"
    write_heartbeat(str(path), BEAT)
    table = json.loads(path.read_bytes())
    del table[key]
    path.write_text(json.dumps(table))
    assert read_heartbeat(str(path)) is None


def test_a_missing_file_counts_as_absent(tmp_path: Path) -> None:
    assert read_heartbeat(str(tmp_path / "none")) is None


def test_keys_of_a_newer_nbguard_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    write_heartbeat(str(path), BEAT)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "mood": "fine"}))
    assert read_heartbeat(str(path)) == BEAT


def test_it_is_private_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    write_heartbeat(str(path), BEAT)
    write_heartbeat(str(path), BEAT)
    assert os.listdir(tmp_path) == ["heartbeat.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_refuses_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_heartbeat(str(tmp_path / "gone" / "heartbeat.json"), BEAT)
