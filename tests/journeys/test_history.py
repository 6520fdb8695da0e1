"""Executed cells and the whole daemon: they are kept as they run, and what happens to the database costs none."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from tests.helpers import poll
from tests.history.rig import kernel, rows_of
from tests.journeys.guarded import Guarded, guarding


def _executed(guard: Guarded) -> list[dict[str, Any]]:
    answer = guard.nbguard("history", "--json")
    return list(answer.json) if answer.code == 0 else []


def _until(guard: Guarded, *sources: str) -> list[dict[str, Any]]:
    poll(lambda: set(sources) <= {row["source"] for row in _executed(guard)}, 20, every=0.1)
    return _executed(guard)


def _from_databases(rows: list[dict[str, Any]]) -> list[str]:
    """A kernel that was not asked for its session before its database went is a session of its own beside these."""
    return sorted(row["source"] for row in rows if row["origin"] == "database")


def test_what_runs_is_in_history_at_once_and_stays_there_whatever_becomes_of_the_database(
    tmp_path: Path, home: Path
) -> None:
    database = home / ".ipython" / "profile_default" / "history.sqlite"
    with kernel() as first, guarding(tmp_path, tmp_path / "work") as guard:
        first.run("before = 1")
        _until(guard, "before = 1")
        began = time.monotonic()
        first.run("answer = 42")
        _until(guard, "answer = 42")
        assert time.monotonic() - began < 4, "a row, a poll, and a command or two"

        database.unlink()
        guard.until_code("kernel-history-lost")
        assert list(guard.home.glob("spool/databases/*.sqlite")), "what the kernel holds open is kept as well"
        shutil.rmtree(home / ".ipython")
        with kernel() as second:
            second.run("after = 1")
            rows = _until(guard, "before = 1", "answer = 42", "after = 1")
            assert _from_databases(rows) == ["after = 1", "answer = 42", "before = 1"], "each once"
            assert rows_of(database) == [(1, 1, "after = 1")], "session numbers began again at 1"
            assert len({row["session"] for row in rows if row["origin"] == "database"}) == 2

        guard.kill()
        guard.start()
        assert _from_databases(_until(guard, "after = 1")) == ["after = 1", "answer = 42", "before = 1"]
