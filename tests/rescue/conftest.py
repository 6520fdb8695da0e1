"""A home with things in it to be found, and the command line asked for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from nbguard.cli import main
from tests.helpers import Answer


@pytest.fixture
def work(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notebooks in the home; temporary files have a folder of their own beside it."""
    temporary = home.parent / f"{home.name}-tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    folder = home / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def rescue(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """`nbguard rescue --json …`, as typed in the folder of notebooks; in this process, there are many of them."""
    monkeypatch.chdir(work)

    def ask(*arguments: str) -> Answer:
        out, talk = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(talk):
            try:
                main.run(["rescue", "--json", *arguments])
            except SystemExit as end:
                assert isinstance(end.code, int)
                return Answer(end.code, out.getvalue(), talk.getvalue())
        raise AssertionError("the command line always exits")

    return ask


def put(path: Path, data: bytes, *, seconds: float = 1_700_000_000.0) -> Path:
    """A file with these bytes, written at that time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (seconds, seconds))
    return path
