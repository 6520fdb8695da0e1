"""The way of a save inside the daemon, with real files and real events."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import notebook_bytes
from tests.protection import protecting


def test_what_was_there_at_the_start_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(notebook_bytes("1"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.ipynb").write_bytes(notebook_bytes("2"))
    with protecting(tmp_path) as guard:
        guard.until(lambda: len(guard.store.drafts) == 2)
        assert guard.store.of(str(tmp_path / "below" / "b.ipynb")) == [notebook_bytes("2")]


def test_every_save_of_a_known_notebook_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with protecting(tmp_path) as guard:
        guard.settle()
        for number in range(5):
            path.write_bytes(notebook_bytes(str(number)))
            guard.until(lambda: guard.store.of(str(path))[-1:] == [path.read_bytes()], 3)
        assert len(guard.store.of(str(path))) == 5
        assert guard.watcher.missed_events == 0


def test_a_rename_is_followed_and_a_deletion_recorded(tmp_path: Path) -> None:
    one, two = tmp_path / "one.ipynb", tmp_path / "two.ipynb"
    one.write_bytes(notebook_bytes("x"))
    with protecting(tmp_path) as guard:
        guard.settle()
        one.rename(two)
        guard.until(lambda: len(guard.store.drafts) == 2)
        assert guard.store.drafts[-1].renamed_from == str(one)
        two.unlink()
        guard.until(lambda: guard.store.tombstones() == [str(two)])
