"""What is remembered of mirrors: durable, private, and whatever lies in its place harms nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.mirror.standing import MirrorState, with_written
from nbguard.mirror.state import Known, StateFile, key_of

_TIME = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
_OID = "a" * 40


def test_everything_comes_back(tmp_path: Path) -> None:
    state = MirrorState(
        tried_at=_TIME,
        verified_at=_TIME,
        beat_at=_TIME,
        behind_since=_TIME,
        sampled_at=_TIME,
        read_whole_at=_TIME,
        verified_by="tips",
        trouble='no "route"\u202e',
        foreign="x",
        failures=3,
        network="n",
        written=(_OID,),
        main=_OID,
        records=_OID,
        step_commits=7,
        chained=True,
    )
    file = StateFile(str(tmp_path / "state"))
    file.put("k", state)
    file.change(lambda known: replace(known, namespace="h-u-01234567", sequence=5))
    assert file.read() == Known(namespace="h-u-01234567", sequence=5, mirrors={"k": state})
    assert os.stat(file.path).st_mode & 0o777 == 0o600 and os.stat(tmp_path / "state").st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"v": 1}',
        b'{"v": 2, "namespace": "", "sequence": 0, "mirrors": {}}',
        b'{"v": 1, "namespace": "", "sequence": -1, "mirrors": {}}',
        b'{"v": 1, "namespace": "", "sequence": 0, "mirrors": {"k": {"written": 5}}}',
        b'{"v": 1, "namespace": "", "sequence": 0, "mirrors": {"k": {"written": [], "tried_at": "soon"}}}',
        b"[" * 100_000,
        b" " * 1_100_000,
    ],
)
def test_what_cannot_be_understood_is_found_out_anew(tmp_path: Path, raw: bytes) -> None:
    file = StateFile(str(tmp_path))
    Path(file.path).write_bytes(raw)
    assert file.read() == Known(mirrors={})
    file.put("k", MirrorState(failures=1))
    assert file.of("k").failures == 1


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = StateFile(str(tmp_path_factory.getbasetemp()))
    Path(file.path).write_bytes(raw)
    assert file.read() == Known(mirrors={})


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    file = StateFile(str(tmp_path))
    os.symlink(tmp_path / "elsewhere", file.path)
    with pytest.raises(OSError, match="symbolic"):
        file.put("k", MirrorState())
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path))
    os.mkfifo(file.path)
    file.put("k", MirrorState(failures=2))
    assert file.of("k").failures == 2


def test_another_address_is_another_mirror_and_memory_is_bounded() -> None:
    assert key_of("m", "/a") != key_of("m", "/b")
    state = MirrorState()
    for number in range(50):
        state = with_written(state, f"{number:040x}")
    assert len(state.written) == 8 and state.written[-1] == f"{49:040x}"
