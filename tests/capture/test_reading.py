"""A read that is the whole file at one moment, or the reason why there is none."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from nbguard.capture.reading import (
    Missing,
    NotAFile,
    Reading,
    Same,
    TooLarge,
    Trouble,
    Unreadable,
    Unstable,
    read_stably,
    reopened,
    signature_of,
)
from nbguard.model import Signature
from tests.powers import without_root_powers


def read(path: Path, *, stream_over: int = 1000, known: Signature | None = None) -> Reading | Same | Trouble:
    return read_stably(
        str(path), stream_over=stream_over, refuse_over=5000, now_ns=time.time_ns() + 10**10, known=known
    )


def test_a_file_is_read_whole_with_its_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"{}\n")
    found = read(path)
    assert isinstance(found, Reading)
    assert (found.data, found.sha256, found.is_certain) == (b"{}\n", hashlib.sha256(b"{}\n").hexdigest(), True)
    assert found.signature == signature_of(path.stat())
    assert read(path, known=found.signature) == Same()


def test_a_large_file_is_hashed_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    data = b"{" + b"x" * 3000 + b"\n}\n"
    path.write_bytes(data)
    found = read(path)
    assert isinstance(found, Reading)
    assert (found.data, found.sha256) == (None, hashlib.sha256(data).hexdigest())
    assert found.ends.startswith(b"{")
    assert found.ends.endswith(b"x\n}\n")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 4999, 5000])
def test_the_ends_of_a_file_of_any_size_are_its_ends(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.ipynb"
    data = bytes(range(1, 251)) * 20
    path.write_bytes(data[:size])
    found = read(path, stream_over=0)
    assert isinstance(found, Reading)
    if size:
        assert (found.data, found.ends) == (None, data[:1] + data[:size][max(1, size - 4096) :])
    else:
        assert (found.data, found.ends) == (b"", b"")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "folder.ipynb")
    os.mkfifo(tmp_path / "fifo.ipynb")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.ipynb"))
        for name in ("folder", "link", "fifo", "socket"):
            assert read(tmp_path / f"{name}.ipynb") == NotAFile(), name
    assert read(tmp_path / "none.ipynb") == Missing()
    (tmp_path / "file").write_text("")
    assert read(tmp_path / "file" / "a.ipynb") == Missing()


def test_what_is_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"x" * 5001)
    assert read(path) == TooLarge(5001)


def test_what_may_not_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"{}")
    path.chmod(0)
    with without_root_powers():
        assert read(path) == Unreadable(os.strerror(errno.EACCES), errno.EACCES)


@pytest.mark.parametrize("change", ["grown", "truncated", "rewritten", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_read_is_unstable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"{1}")
    real, fired = os.read, []

    def read_and_change(fd: int, size: int) -> bytes:
        data = real(fd, size)
        fired.append(change)
        if change == "replaced":
            (tmp_path / "new").write_bytes(b"{1}")
            (tmp_path / "new").rename(path)
        elif change == "removed":
            path.unlink()
        else:
            path.write_bytes({"grown": b"{1}{2}", "truncated": b"", "rewritten": b"{2}"}[change])
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    found = read(path)
    monkeypatch.undo()
    assert fired
    assert found == Unstable()


def test_a_read_in_the_tick_of_a_write_is_not_certain(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"{}")
    written = path.stat().st_ctime_ns
    certain = []
    for later_ns in (0, 5_000_000, 20_000_000, 3_000_000_000):
        found = read_stably(str(path), stream_over=1000, refuse_over=5000, now_ns=written + later_ns)
        assert isinstance(found, Reading)
        certain.append(found.is_certain)
    coarse = written % 1_000_000_000 == 0
    assert certain == [False, False, not coarse, True]


def test_a_file_is_reopened_only_if_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"{}")
    signature = signature_of(path.stat())
    with reopened(str(path), signature) as fd:
        assert fd is not None
    path.write_bytes(b"{2}")
    with reopened(str(path), signature) as fd:
        assert fd is None
