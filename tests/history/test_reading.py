"""Reading a database is never felt: nothing is written beside it, nothing waited for, and no content breaks it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nbguard.errors import Busy
from nbguard.history import open_database
from nbguard.history import reading as reading_module
from nbguard.history.reading import reading, state_of
from nbguard.history.trouble import NeedsCopy, Unreadable
from tests.archive.mounts import needs_mounts, remount, small_disk
from tests.history.rig import Rig, add, held_for_writing, make_database

MONDAY = "2026-11-16 09:00:00.123456"
_EVERYTHING = (1 << 63) - 1

# A writer that dies without closing: `journal` leaves a hot journal, `wal` a log with its index.
_DIES = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "wal":
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("INSERT INTO history VALUES (1, 100, 'in the log', 'in the log')")
else:
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO history VALUES (9, ?, ?, ?)", [(i, "x" * 1000, "y" * 900) for i in range(900)])
print("ready", flush=True)
if sys.argv[3:] == ["stay"]:
    sys.stdin.readline()
os._exit(9)
"""


def sources_in(path: Path) -> list[str]:
    with reading(str(path)) as database:
        return [row.source for row in database.rows(-1, _EVERYTHING).rows]


def names_beside(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "profile" / "history.sqlite"
    make_database(found, [(1, MONDAY, ["a", "b"])])
    return found


def test_a_read_leaves_bytes_times_and_folder_as_they_were(path: Path) -> None:
    before, data, names = path.stat(), path.read_bytes(), names_beside(path)
    assert sources_in(path) == ["a", "b"]
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino, path.read_bytes(), names_beside(path)) == (
        before.st_mtime_ns,
        before.st_ino,
        data,
        names,
    )


def test_a_writer_in_a_transaction_means_later_at_once(path: Path) -> None:
    with held_for_writing(path):
        began = time.monotonic()
        with pytest.raises(Busy):
            sources_in(path)
        assert time.monotonic() - began < 0.1
    assert sources_in(path) == ["a", "b"]


def test_a_log_with_its_writer_is_read_in_place_and_nothing_beside_it_changes(path: Path) -> None:
    words = [sys.executable, "-c", _DIES, str(path), "wal", "stay"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        beside = {name: (path.parent / name).stat().st_mtime_ns for name in names_beside(path)}
        assert len(beside) == 3, "the writer has made -wal and -shm"
        assert sources_in(path) == ["a", "b", "in the log"]
        assert {name: (path.parent / name).stat().st_mtime_ns for name in names_beside(path)} == beside
        writer.communicate(b"\n")
    assert sources_in(path) == ["a", "b", "in the log"], "its writer died; log and index are still there"
    assert {name: (path.parent / name).stat().st_mtime_ns for name in names_beside(path)} == beside


def test_a_log_mode_database_without_a_log_gets_none_from_us(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    assert names_beside(path) == ["history.sqlite"]
    assert sources_in(path) == ["a", "b"]
    assert names_beside(path) == ["history.sqlite"]


@pytest.mark.parametrize("kind", ["journal", "wal"])
def test_what_a_dead_writer_left_is_read_from_a_copy_and_stays_for_whoever_comes(
    home: Path, tmp_path: Path, kind: str
) -> None:
    rig = Rig(home, tmp_path, only_kernels=False)
    make_database(rig.database, [(1, MONDAY, ["a", "b"])])
    subprocess.run([sys.executable, "-c", _DIES, str(rig.database), kind], check=False, stdout=subprocess.DEVNULL)
    if kind == "wal":
        os.unlink(f"{rig.database}-shm")
    left = {name: (rig.profile / name).read_bytes() for name in names_beside(rig.database)}
    assert len(left) == 2, "a hot journal, or a log without its index"
    with pytest.raises(NeedsCopy):
        sources_in(rig.database)
    rig.until_kept("a", "b", *(["in the log"] if kind == "wal" else []))
    assert {name: (rig.profile / name).read_bytes() for name in names_beside(rig.database)} == left
    assert not [name for name in os.listdir(rig.folder / "databases") if name.startswith(".")], "the copy is gone"
    assert len(rig.kept.sources()) == len(left) if kind == "journal" else 3


@pytest.mark.root
@needs_mounts()
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_home_on_a_read_only_file_system_is_read(tmp_path: Path, mode: str) -> None:
    with small_disk(tmp_path / "disk", size="8m") as disk:
        rig = Rig(disk, tmp_path, only_kernels=False)
        make_database(rig.database, [(1, MONDAY, ["a", "b"])], mode=mode)
        remount(disk, "ro")
        with pytest.raises(OSError, match="Read-only"):
            rig.database.touch()
        rig.until_kept("a", "b")
        assert rig.codes() == []


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _with_schema(path: Path, schema: str) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"garbage" * 5000),
        lambda path: path.write_bytes(path.read_bytes()[:50]),
        lambda path: path.write_bytes(b"garbage!" * 4 + path.read_bytes()[32:]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * (path.stat().st_size - 100)),
        _fifo,
        _folder,
        _device,
        lambda path: _with_schema(path, "CREATE TABLE other (x);"),
        lambda path: _with_schema(path, "CREATE TABLE history (x);"),
        lambda path: _with_schema(path, "CREATE VIEW history AS SELECT 1 session, 1 line, 'x' source, 'x' source_raw;"),
    ],
    ids=["garbage", "torn", "header", "pages", "fifo", "folder", "device", "other", "columns", "view"],
)
def test_what_is_no_history_database_is_named_and_never_hangs(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    began = time.monotonic()
    with pytest.raises(Unreadable) as refused:
        state_of(str(path))
        sources_in(path)
    assert refused.value.hint
    assert time.monotonic() - began < 1


def test_nothing_and_an_empty_file_are_no_fault(home: Path, tmp_path: Path) -> None:
    rig = Rig(home, tmp_path, only_kernels=False)
    rig.profile.mkdir(parents=True)
    rig.step()
    rig.database.touch()
    rig.step()
    rig.database.unlink()
    (rig.profile / "history.sqlite").symlink_to("nowhere")
    rig.step()
    assert rig.codes() == []
    rig.database.unlink()
    make_database(rig.database, [(1, MONDAY, ["a"])])
    rig.until_kept("a")


def test_every_kind_of_value_comes_back_and_none_is_dropped(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE loose (session, line, source, source_raw)")
        connection.execute("DROP TABLE history")
        connection.execute("ALTER TABLE loose RENAME TO history")
        connection.executemany(
            "INSERT INTO history VALUES (?, ?, ?, ?)",
            [
                (1, 1, "ran", None),
                (1, 2, None, None),
                (1, 3, b"\xff\x00bytes", b"\xff\x00bytes"),
                (1, 4, 5, 6.5),
                (None, None, "no key", "no key"),
                ("text", 2**62, "odd key", "odd key"),
                (1, 7, "nul \0 inside", "nul \0 inside"),
            ],
        )
        connection.execute("INSERT INTO history VALUES (1, 8, CAST(x'80ff' AS TEXT), CAST(x'80ff' AS TEXT))")
    with reading(str(path)) as database:
        rows = database.rows(-1, _EVERYTHING).rows
    assert [(row.session, row.line, row.source) for row in rows] == [
        (1, 1, "ran"),
        (1, 2, ""),
        (1, 3, "\udcff\0bytes"),
        (1, 4, "6.5"),
        (-1, -1, "no key"),
        (-1, -1, "odd key"),
        (1, 7, "nul \0 inside"),
        (1, 8, "\udc80\udcff"),
    ]


def test_huge_sources_are_read_in_slices_and_small_ones_around_them_as_usual(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "MOST_IN_ONE_GO_BYTES", 100_000)
    monkeypatch.setattr(open_database, "_SLICE_BYTES", 30_000)
    rig = Rig(home, tmp_path, only_kernels=False)
    huge = "é" * 200_000
    make_database(rig.database, [(1, MONDAY, ["small", huge, "after", huge + "!", "last"])])
    rig.until_kept("small", huge, "after", huge + "!", "last")
    assert sorted(rig.kept.sources()) == sorted(["small", huge, "after", huge + "!", "last"])


def test_a_chunk_ends_after_a_moment_and_the_lock_with_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, (1, MONDAY, ["x" * 1000] * 3000))
    longest = 0.0
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as writer:
        after, chunks = -1, 0
        while True:
            began = time.monotonic()
            with reading(str(path)) as database:
                chunk = database.rows(after, _EVERYTHING)
                writer.execute("BEGIN EXCLUSIVE")  # at once: no lock outlives the statement
                writer.execute("ROLLBACK")
            longest = max(longest, time.monotonic() - began)
            chunks += 1
            if chunk.is_all:
                break
            after = chunk.rows[-1].rowid
    assert chunks > 5
    assert longest < 0.2
    monkeypatch.setattr(open_database, "MOST_LOCKED_SECONDS", 0.0)
    with reading(str(path)) as database:
        assert len(database.rows(-1, _EVERYTHING).rows) < 100


def test_rows_around_damaged_pages_are_read(home: Path, tmp_path: Path) -> None:
    rig = Rig(home, tmp_path, only_kernels=False)
    sources = [f"x = {number:04d}  # {'y' * 300}" for number in range(2000)]
    make_database(rig.database, [(1, MONDAY, sources)])
    data = bytearray(rig.database.read_bytes())
    pages = {data.find(f"x = {number:04d}".encode()) // 4096 for number in (100, 900, 901, 1500)}
    for page in pages:
        data[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    rig.database.write_bytes(data)
    with closing(sqlite3.connect(rig.database)) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT source_raw FROM history ORDER BY rowid").fetchall()
    rig.until_kept(sources[0], sources[-1])
    kept = rig.kept.sources()
    assert len(kept) == len(set(kept)) >= len(sources) - 8 * len(pages), "eight rows are on a page"
    assert set(kept) <= set(sources)


def test_a_fifo_put_in_place_of_a_database_stops_nothing(home: Path, tmp_path: Path) -> None:
    rig = Rig(home, tmp_path, only_kernels=False)
    make_database(rig.database, [(1, MONDAY, ["a"])])
    rig.until_kept("a")
    rig.database.unlink()
    os.mkfifo(rig.database)
    assert stat.S_ISFIFO(rig.database.stat().st_mode)
    make_database(rig.home / ".ipython" / "profile_b" / "history.sqlite", [(1, MONDAY, ["b"])])
    rig.until_kept("b")
    rig.until(lambda: "kernel-history-lost" in rig.codes())
    rig.database.unlink()
    make_database(rig.database, [(1, "2026-11-17 09:00:00.5", ["c"])])
    rig.until_kept("c")
    rig.until(lambda: rig.codes() == [])
