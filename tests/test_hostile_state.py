"""Whatever lies in the place of a file of ours: nobody waits for it, and nobody reads gigabytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from nbguard.durable import read_plain
from nbguard.health.heartbeat import read_heartbeat
from nbguard.health.memory import CheckMemory, read_memory
from nbguard.health.starts import bad_starts
from nbguard.notices import read_notice
from nbguard.stops import read_stop

HOSTILE: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "far too large": lambda path: _of_bytes(path, 3_000_000_000),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


def _of_bytes(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)  # a hole: it takes no room


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_small_plain_file_is_refused_at_once(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    harm(tmp_path / "file")
    with pytest.raises(OSError, match=r"no plain file|far too large"):
        read_plain(str(tmp_path / "file"), 1_000)


def test_a_link_to_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x" * 1_000)
    (tmp_path / "file").symlink_to("there")
    assert read_plain(str(tmp_path / "file"), 1_000) == b"x" * 1_000
    with pytest.raises(OSError, match="symbolic links"):
        read_plain(str(tmp_path / "file"), 1_000, follow=False)


def test_a_folder_in_the_place_of_a_file_costs_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert read_notice(str(path)) == ""
        assert read_stop(str(path)) is None
        assert read_heartbeat(str(path)) is None
        assert read_memory(str(path)) == CheckMemory()
        with pytest.raises(OSError, match="no plain file"):
            read_plain(str(path), 1_000)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", ["heartbeat.json", "checks.json", "starts", "notice", "stop.json"])
def test_a_look_takes_no_time_whatever_lies_there(tmp_path: Path, name: str, harm: Callable[[Path], object]) -> None:
    path = tmp_path / name
    harm(path)
    readers: dict[str, Callable[[str], object]] = {
        "heartbeat.json": read_heartbeat,
        "checks.json": read_memory,
        "starts": lambda path: bad_starts(path, now=1e9),
        "notice": read_notice,
        "stop.json": read_stop,
    }
    began = monotonic()
    assert readers[name](str(path)) in (None, 0, "", CheckMemory()) or name == "notice"
    assert monotonic() - began < 5
