"""How full a notebook is, also when finding out is dangerous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbguard.capture.measuring import Finding, measure_bytes, measure_file
from nbguard.model import Measure
from tests.helpers import notebook_bytes


def test_bytes_in_memory_are_measured() -> None:
    assert measure_bytes(notebook_bytes("ab", "c")).measure == Measure(2, 3)
    assert measure_bytes(b"[]").finding is Finding.NOT_READABLE


@pytest.mark.parametrize("offset", [0, 777])
def test_a_notebook_inside_a_file_is_measured_by_a_child(tmp_path: Path, offset: int) -> None:
    file = tmp_path / "draft"
    file.write_bytes(b"x" * offset + notebook_bytes("ab", "c"))
    assert measure_file(str(file), offset).measure == Measure(2, 3)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe{}", b'\xef\xbb\xbf{"cells": []}', b"[" * 100_000])
def test_what_is_no_notebook_is_not_readable(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "draft").write_bytes(data)
    assert measure_file(str(tmp_path / "draft"), 0).finding is Finding.NOT_READABLE


def test_a_child_that_cannot_tell_says_nothing_of_the_notebook(tmp_path: Path) -> None:
    answer = measure_file(str(tmp_path / "nothing there"), 0)
    assert (answer.finding, answer.measure) == (Finding.COULD_NOT_TELL, None)
    assert answer.reason


def test_a_child_without_time_could_not_tell(tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(notebook_bytes("a"))
    answer = measure_file(str(tmp_path / "draft"), 0, timeout_seconds=0.001)
    assert answer.finding is Finding.COULD_NOT_TELL


def test_a_child_without_memory_could_not_tell(tmp_path: Path) -> None:
    many = {"cells": [{"source": "x"}] * 10, "pad": list(range(3_000_000))}
    (tmp_path / "draft").write_bytes(json.dumps(many).encode())
    answer = measure_file(str(tmp_path / "draft"), 0, memory_bytes=80_000_000)
    assert answer.finding is Finding.COULD_NOT_TELL, "the fault fired, and is not taken for damage"
    assert measure_file(str(tmp_path / "draft"), 0).measure == Measure(10, 10)
