"""What checks remember: read back as written, and never trusted when it is something else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.health.memory import CheckMemory, read_memory, write_memory
from nbguard.health.remembered import Covered, Jump, PackRead, Run, Sample, Still

AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
RUN = Run(at=AT, boot="b", boottime_seconds=10.5, monotonic_seconds=9.5)
FULL = CheckMemory(
    light=RUN,
    full=RUN,
    looked=RUN,
    canary_at=AT,
    drill_at=AT,
    whole_drill_at=AT,
    connected_at=AT,
    woke_at=5.0,
    in_row=3,
    light_in_row=4,
    runs=9,
    notebooks=2,
    protected=1,
    told=("daemon-down",),
    jump=Jump(seconds=-7200.0, wall_before=1.0, boot="b", boottime_seconds=2.0),
    covered={"/home/ada/\udcff": Covered(notebooks=3, device=7, fell_at=None)},
    space={"/": (Sample(at=1.0, bytes=2, inodes=3),)},
    packs={"pack-a.pack": PackRead(offset=12, read_at=4.0)},
    still={"drill": Still(code="archive-damaged", message="m", hint="h", since=AT, subject="id")},
)


def test_it_reads_back_as_it_was_written_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "checks.json"
    write_memory(str(path), FULL)
    assert read_memory(str(path)) == FULL
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_remembered_where_nothing_lies(tmp_path: Path) -> None:
    assert read_memory(str(tmp_path / "checks.json")) == CheckMemory()


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"null",
    b'{"v": 2}',
    b'{"v": 1, "runs": 1e999}',
    b'{"v": 1, "runs": NaN}',
    b'{"v": 1, "runs": true}',
    b'{"v": 1, "covered": []}',
    b'{"v": 1, "full": {"at": 5}}',
    b'{"v": 1, "space": {"/": [{"at": 1}]}}',
    b'{"v": 1, "told": [1]}',
    b'{"v": 1, "still": {"x": {"since": "yesterday"}}}',
]


@pytest.mark.parametrize("data", HOSTILE)
def test_what_makes_no_sense_is_as_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "checks.json"
    path.write_bytes(data)
    assert read_memory(str(path)) == CheckMemory()


def test_a_pipe_or_a_link_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "checks.json"
    os.mkfifo(path)
    assert read_memory(str(path)) == CheckMemory()
    path.unlink()
    write_memory(str(tmp_path / "other"), FULL)
    path.symlink_to(tmp_path / "other")
    assert read_memory(str(path)) == CheckMemory()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.sampled_from(list(FULL.__dataclass_fields__)),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_any_value_in_any_place_is_read_or_refused_without_a_sound(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "checks.json"
    write_memory(str(path), FULL)
    table = json.loads(path.read_bytes())
    table[name] = value
    path.write_text(json.dumps(table))
    found = read_memory(str(path))
    assert isinstance(found, CheckMemory)
    write_memory(str(path), replace(found, runs=1))
