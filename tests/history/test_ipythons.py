"""IPython 7, 8 and 9 write their times in different ways; all are read right, far from Greenwich too."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.history.generations import naive_or_aware
from tests.history.rig import Rig, kernel, rows_of


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("packages", "major", "end_is_aware"),
    [
        pytest.param((), 9, True, id="installed"),
        pytest.param(("ipython>=8.18,<9", "ipykernel>=6.29,<7", "decorator"), 8, False, id="8", marks=pytest.mark.long),
        pytest.param(
            ("ipython>=7.34,<8", "ipykernel>=6.29,<7", "backcall", "pickleshare", "decorator"),
            7,
            False,
            id="7",
            marks=pytest.mark.long,
        ),
    ],
)
@pytest.mark.usefixtures("tokyo")
def test_starts_and_ends_are_instants(
    home: Path, tmp_path: Path, packages: tuple[str, ...], major: int, end_is_aware: bool
) -> None:
    environment = {}
    if packages:
        folder = tmp_path / "packages"
        words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *packages]
        subprocess.run(words, check=True, timeout=240, stderr=subprocess.DEVNULL)
        environment["PYTHONPATH"] = str(folder)
    rig = Rig(home, tmp_path)
    began = rig.clock.now()
    with kernel(**environment) as running:
        running.run("import IPython; version = IPython.version_info[0]")
        running.run("assert version == %d, version" % major)  # noqa: UP031 - as it is typed
        running.run("!echo hello")
        rig.until_kept("!echo hello")
        assert "kernel-history-lost" not in rig.codes()
        running.end(now=False)
    rig.until(lambda: rig.kept.sessions()[0].ended_at)
    (session,) = rig.kept.sessions()
    assert session.started_at is not None
    assert session.ended_at is not None
    assert began - timedelta(seconds=1) <= session.started_at <= session.ended_at <= rig.clock.now()
    _, start, end = _raw(rig.database)
    stored = naive_or_aware(end)
    assert stored is not None
    assert (stored.tzinfo is not None) == end_is_aware
    assert (naive_or_aware(start) or stored).tzinfo is None
    assert [source for _, _, source in rows_of(rig.database)] == rig.kept.sources()
    transformed = [cell.transformed for cell in rig.kept.all_cells()]
    assert transformed[-1] == "get_ipython().system('echo hello')"


def _raw(path: Path) -> tuple[int, str, str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        ((number, start, end),) = connection.execute("SELECT session, start, end FROM sessions").fetchall()
    return number, start, end
