"""Whole copies: sound, private, once a day when something changed, of databases that are written all the time too."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.errors import Busy, StorageTrouble
from nbguard.history import copying
from nbguard.history.copies import DatabaseCopies
from nbguard.history.copying import parts_of
from tests.history.rig import Rig, TestClock, add, held_for_writing, make_database, rows_of

MONDAY = "2026-11-16 09:00:00.123456"
LIFE = "0123456789abcdef"


def _copies(*folders: Path, clock: TestClock | None = None) -> DatabaseCopies:
    found = DatabaseCopies(
        [str(folder) for folder in folders], clock=clock or TestClock(), check_room=lambda folder, size: None
    )
    found.make()
    return found


def _old(path: Path) -> None:
    """Written a while ago."""
    os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "profile" / "history.sqlite"
    make_database(found, [(1, MONDAY, ["a", "b"])])
    _old(found)
    return found


def test_a_copy_is_whole_private_and_sound_and_the_original_is_as_it_was(tmp_path: Path, path: Path) -> None:
    before, data = path.stat(), path.read_bytes()
    copy = Path(_copies(tmp_path / "copies").take(parts_of(str(path)), LIFE))
    assert copy.read_bytes() == data
    assert copy.name.startswith(f"{LIFE}-")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert rows_of(copy) == [(1, 1, "a"), (1, 2, "b")]
    assert (path.stat().st_mtime_ns, path.read_bytes()) == (before.st_mtime_ns, data)
    assert os.listdir(path.parent) == ["history.sqlite"]


@pytest.mark.parametrize("mode", ["wal", "journal"])
def test_what_lies_beside_a_database_is_part_of_its_copy(tmp_path: Path, path: Path, mode: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        if mode == "wal":
            writer.execute("PRAGMA journal_mode=WAL")
            writer.execute("INSERT INTO history VALUES (1, 3, 'in the log', 'in the log')")
        else:
            writer.execute("PRAGMA cache_size=1")
            writer.execute("BEGIN")
            writer.executemany("INSERT INTO history VALUES (2, ?, 'x', ?)", [(i, "y" * 900) for i in range(900)])
        parts = parts_of(str(path))
        assert set(parts) == {"", f"-{mode}"}
        for part in parts.values():
            _old(Path(part))
        copy = Path(_copies(tmp_path / "copies").take(parts, LIFE))
        if mode == "journal":
            writer.execute("ROLLBACK")
    assert rows_of(copy) == [(1, 1, "a"), (1, 2, "b"), *([(1, 3, "in the log")] if mode == "wal" else [])]
    assert os.listdir(copy.parent) == [copy.name], "one file"


def test_some_of_each_generation_are_kept(tmp_path: Path, path: Path) -> None:
    copies = _copies(tmp_path / "copies")
    taken = [copies.take(parts_of(str(path)), LIFE) for _ in range(5)]
    other = copies.take(parts_of(str(path)), "f" * 16)
    assert sorted(os.listdir(tmp_path / "copies")) == sorted(os.path.basename(name) for name in (*taken[-3:], other))


def test_a_copy_is_due_once_a_day_when_something_changed(home: Path, tmp_path: Path) -> None:
    rig = Rig(home, tmp_path, only_kernels=False)
    make_database(rig.database, [(1, MONDAY, ["a"])])

    def taken_after(wait: timedelta) -> int:
        rig.clock.later += wait
        _old_enough(rig)
        rig.histories.copy_due()
        return len(rig.copies)

    def _old_enough(rig: Rig) -> None:
        rig.until(lambda: "a" in rig.kept.sources())
        rig.until(lambda: _is_settled(rig.database))
        rig.step()

    assert taken_after(timedelta()) == 1, "the first at once"
    assert taken_after(timedelta(days=2)) == 1, "nothing changed"
    add(rig.database, (1, MONDAY, ["b"]))
    rig.until_kept("b")
    assert taken_after(timedelta()) == 2, "changed, and the last copy is two days old"
    add(rig.database, (1, MONDAY, ["c"]))
    rig.until_kept("c")
    assert taken_after(timedelta(hours=1)) == 2, "changed again, an hour later"
    assert taken_after(timedelta(days=1)) == 3
    rig.start()
    rig.step()
    assert taken_after(timedelta(days=3)) == 3, "a restart changes nothing"


def _is_settled(path: Path) -> bool:
    import time

    return time.time_ns() - path.stat().st_mtime_ns > 150_000_000


def test_a_database_that_is_written_all_the_time_is_copied_under_a_short_lock(tmp_path: Path, path: Path) -> None:
    ending, written = threading.Event(), [0]

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=5)) as connection:
            while not ending.is_set():
                written[0] += 1
                with connection:
                    connection.execute("INSERT INTO history VALUES (2, ?, 'x', 'x')", (written[0],))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = _copies(tmp_path / "copies")
        copy = None
        for _ in range(200):
            try:
                copy = copies.take(parts_of(str(path)), LIFE)
                break
            except Busy:
                continue
    finally:
        ending.set()
        writer.join()
    assert copy is not None
    rows = rows_of(Path(copy))
    assert [line for session, line, _ in rows if session == 2] == list(range(1, len(rows) - 1)), "a moment, not a blur"
    assert len(rows_of(path)) == written[0] + 2, "the writer lost nothing"


def test_one_that_takes_too_long_under_the_lock_is_left_for_later(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "MOST_LOCKED_SECONDS", 0.0)
    monkeypatch.setattr(copying, "TICK_NS", 1 << 62)  # as if it were always being written
    with pytest.raises(Busy):
        _copies(tmp_path / "copies").take(parts_of(str(path)), LIFE)
    assert os.listdir(tmp_path / "copies") == []
    with closing(sqlite3.connect(path, timeout=0)) as writer, writer:
        writer.execute("INSERT INTO history VALUES (1, 3, 'c', 'c')")


def test_an_exclusive_writer_means_later(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_for_writing(path):
        monkeypatch.setattr(copying, "TICK_NS", 1 << 62)
        with pytest.raises(Busy):
            _copies(tmp_path / "copies").take(parts_of(str(path)), LIFE)


def test_a_damaged_database_is_copied_all_the_same_and_named_so(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"damaged" + path.read_bytes()[7:])
    _old(path)
    copy = Path(_copies(tmp_path / "copies").take(parts_of(str(path)), LIFE))
    assert copy.name.endswith("-damaged.sqlite")
    assert copy.read_bytes() == path.read_bytes()


def test_no_room_means_the_emergency_place_and_then_a_named_trouble(tmp_path: Path, path: Path) -> None:
    refused = [str(tmp_path / "first")]

    def check(folder: str, size: int) -> None:
        assert size == path.stat().st_size
        if folder in refused:
            raise StorageTrouble("full", hint="free some", code="no-space")
        os.makedirs(folder, exist_ok=True)

    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    copies = DatabaseCopies(folders, clock=TestClock(), check_room=check)
    copies.make()
    assert os.path.dirname(copies.take(parts_of(str(path)), LIFE)) == folders[1]
    refused.append(folders[1])
    with pytest.raises(StorageTrouble) as trouble:
        copies.take(parts_of(str(path)), LIFE)
    assert trouble.value.code == "no-space"


def test_a_folder_that_was_wiped_is_not_made_again(tmp_path: Path, path: Path) -> None:
    def check(folder: str, size: int) -> None:
        if folder == str(tmp_path / "second"):
            os.makedirs(folder, exist_ok=True)
        os.statvfs(folder)

    copies = DatabaseCopies([str(tmp_path / "first"), str(tmp_path / "second")], clock=TestClock(), check_room=check)
    copies.make()
    (tmp_path / "first").rmdir()
    copies.take(parts_of(str(path)), LIFE)
    assert not (tmp_path / "first").exists()
    assert len(os.listdir(tmp_path / "second")) == 1


def test_what_a_killed_process_left_half_made_is_removed_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir(mode=0o700)
    (folder / ".making-abc").write_bytes(b"half")
    (folder / f"{LIFE}-20261116T090000.000000Z.sqlite").write_bytes(b"whole")
    _copies(folder)
    assert os.listdir(folder) == [f"{LIFE}-20261116T090000.000000Z.sqlite"]
