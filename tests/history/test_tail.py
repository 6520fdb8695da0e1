"""Rows of history databases are kept as they appear, once, of every generation."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nbguard.errors import StorageTrouble
from nbguard.history.generations import FileIdentity
from nbguard.history.tail import Source
from tests.history.rig import Rig, add, held_for_writing, make_database

MONDAY = "2026-11-16 09:00:00.123456"
TUESDAY = "2026-11-17 09:00:00.654321"
WEDNESDAY = "2026-11-18 09:30:00.111111"


@pytest.fixture
def rig(home: Path, tmp_path: Path) -> Rig:
    return Rig(home, tmp_path, only_kernels=False)


def sessions_of(rig: Rig) -> set[tuple[str, int]]:
    return {(session.generation, session.session) for session in rig.kept.sessions()}


def test_rows_that_were_there_and_rows_that_come_are_kept_once(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a", "b"])])
    rig.until_kept("a", "b")
    add(rig.database, (1, MONDAY, ["c"]), (2, TUESDAY, ["d"]))
    rig.until_kept("c", "d")
    rig.step()
    assert sorted(rig.kept.sources()) == ["a", "b", "c", "d"]
    (generation,) = rig.kept.generations()
    assert generation.path == str(rig.database)
    assert (generation.device, generation.inode) == (rig.database.stat().st_dev, rig.database.stat().st_ino)
    assert generation.first_started_at == MONDAY
    assert sessions_of(rig) == {(generation.id, 1), (generation.id, 2)}


def test_every_row_carries_the_time_it_was_seen(rig: Rig) -> None:
    before = rig.clock.now()
    make_database(rig.database, [(1, MONDAY, ["old"])])
    rig.until_kept("old")
    middle = rig.clock.now()
    add(rig.database, (1, MONDAY, ["new"]))
    rig.until_kept("new")
    old, new = rig.kept.all_cells()
    assert before <= old.seen_at <= middle <= new.seen_at <= rig.clock.now()


def test_source_raw_is_what_was_typed_and_the_transformed_text_is_beside_it_where_it_differs(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["x = 1"])])
    with closing(sqlite3.connect(rig.database)) as connection, connection:
        connection.execute("INSERT INTO history VALUES (1, 2, ?, ?)", ("get_ipython().system('ls')", "!ls"))
    rig.until_kept("x = 1", "!ls")
    plain, magic = sorted(rig.kept.all_cells(), key=lambda cell: cell.line)
    assert (plain.transformed, magic.transformed) == (None, "get_ipython().system('ls')")


def test_an_output_that_history_gets_later_completes_its_cell(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["1 + 1"])])
    rig.until_kept("1 + 1")
    with closing(sqlite3.connect(rig.database)) as connection, connection:
        connection.execute("INSERT INTO output_history VALUES (1, 1, '2')")
    rig.until(lambda: [cell.output for cell in rig.kept.all_cells()] == [None, "2"])


def test_new_rows_do_not_wait_for_a_long_history_to_be_imported(rig: Rig) -> None:
    old = [f"old {number}" for number in range(1300)]
    make_database(rig.database, [(1, MONDAY, old)])
    status = rig.database.stat()
    source = Source(str(rig.database), FileIdentity(status.st_dev, status.st_ino), str(rig.database))
    tail = rig.histories.tail
    assert tail.look(source), "there is more behind"
    add(rig.database, (1, MONDAY, ["new"]))
    assert tail.look(source)
    assert "new" in rig.kept.sources()
    assert len(rig.kept.sources()) < 1301
    while tail.look(source):
        pass
    assert sorted(rig.kept.sources()) == sorted([*old, "new"])


def test_a_restart_goes_on_where_it_was_and_a_lost_position_keeps_nothing_twice(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a", "b"]), (2, TUESDAY, ["c"])])
    rig.until_kept("a", "b", "c")
    rig.end()
    add(rig.database, (2, TUESDAY, ["while away"]))
    rig.start()
    rig.until_kept("while away")
    # killed: the noted position is an old one
    rig.start()
    rig.step()
    assert len(rig.kept.sources()) == 4
    os.unlink(rig.folder / "histories.json")
    rig.start()
    rig.step()
    (rig.folder / "histories.json").write_text("{broken")
    rig.start()
    rig.step()
    add(rig.database, (2, TUESDAY, ["and on"]))
    rig.until_kept("and on")
    assert sorted(rig.kept.sources()) == ["a", "and on", "b", "c", "while away"]
    assert len(rig.kept.generations()) == 1
    assert len([record for record in rig.kept.records if record in rig.kept.sessions()]) == 2


def test_a_disk_that_takes_nothing_costs_nothing_once_it_does(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"])])
    rig.kept.refuses = True
    for _ in range(3):
        with pytest.raises(StorageTrouble):
            rig.step()
    rig.kept.refuses = False
    add(rig.database, (1, MONDAY, ["b"]))
    rig.until_kept("a", "b")
    assert sorted(rig.kept.sources()) == ["a", "b"]
    assert len(rig.kept.generations()) == 1


def test_a_busy_database_is_read_later_and_the_writer_is_not_kept_waiting(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"])])
    with held_for_writing(rig.database):
        waits = [rig.histories.step() for _ in range(3)]
        assert rig.kept.sources() == []
        assert max(waits) <= 0.1, "soon again"
    rig.until_kept("a")


# -- generations ---------------------------------------------------------------------------------------------------


def test_ids_that_start_again_at_one_are_another_generation(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["mine"])])
    rig.until_kept("mine")
    rig.database.unlink()
    rig.step()
    make_database(rig.database, [(1, TUESDAY, ["another"])])
    rig.until_kept("another")
    assert len(rig.kept.generations()) == 2
    first, second = rig.kept.all_cells()
    assert (first.session, first.line) == (second.session, second.line) == (1, 1)
    assert first.generation != second.generation


def test_a_file_with_the_same_inode_and_other_sessions_is_another_generation(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["mine"])])
    rig.until_kept("mine")
    inode = rig.database.stat().st_ino
    make_database(rig.folder / "other.sqlite", [(1, TUESDAY, ["another"])])
    rig.database.write_bytes((rig.folder / "other.sqlite").read_bytes())
    assert rig.database.stat().st_ino == inode
    rig.until_kept("another")
    first, second = rig.kept.all_cells()
    assert first.generation != second.generation
    assert {generation.inode for generation in rig.kept.generations()} == {inode}


def test_a_trimmed_database_goes_on_as_another_generation_and_its_old_rows_are_known(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"]), (2, TUESDAY, ["b"])])
    rig.until_kept("a", "b")
    make_database(rig.folder / "new.sqlite", [(2, TUESDAY, ["b"])])  # `ipython history trim`: a new file, renamed
    os.unlink(rig.database)
    os.rename(rig.folder / "new.sqlite", rig.database)
    add(rig.database, (3, WEDNESDAY, ["c"]))
    rig.until_kept("c")
    assert rig.kept.sources() == ["a", "b", "c"]
    assert len(rig.kept.generations()) == 2
    assert sessions_of(rig) == {
        (rig.kept.generations()[0].id, 1),
        (rig.kept.generations()[0].id, 2),
        (rig.kept.generations()[1].id, 3),
    }
    status = rig.database.stat()
    file = FileIdentity(status.st_dev, status.st_ino)
    assert rig.histories.tail.generation_of(file, 3) == rig.kept.generations()[1].id


def test_an_older_copy_put_over_it_loses_nothing_and_numbers_used_again_are_another_generation(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"])])
    older = rig.database.read_bytes()
    add(rig.database, (2, TUESDAY, ["lost from the file", "this too"]))
    rig.until_kept("a", "this too")
    rig.database.write_bytes(older)
    rig.step()
    add(rig.database, (2, WEDNESDAY, ["after"]))
    rig.until_kept("after")
    assert rig.kept.sources() == ["a", "lost from the file", "this too", "after"]
    assert len(rig.kept.generations()) == 2
    before, after = rig.kept.all_cells()[1], rig.kept.all_cells()[3]
    assert (before.session, before.line) == (after.session, after.line) == (2, 1)
    assert before.generation != after.generation


def test_another_text_on_the_same_line_is_kept_beside_the_first(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a"])])
    older = rig.database.read_bytes()
    add(rig.database, (1, MONDAY, ["one text"]))
    rig.until_kept("one text")
    rig.database.write_bytes(older)
    add(rig.database, (1, MONDAY, ["another text"]))
    rig.until_kept("another text")
    assert [cell.line for cell in rig.kept.all_cells()] == [1, 2, 2]


def test_what_was_deleted_while_nobody_looked_is_not_forgotten(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a", "b"]), (2, TUESDAY, ["c"])])
    rig.until_kept("a", "b", "c")
    rig.end()
    with closing(sqlite3.connect(rig.database)) as connection, connection:
        connection.execute("DELETE FROM history")
    rig.start()
    rig.step()
    add(rig.database, (2, TUESDAY, ["d"]))
    rig.until_kept("d")
    assert rig.kept.sources() == ["a", "b", "c", "d"]
    assert len(rig.kept.generations()) == 1


def test_vacuum_gives_rows_other_numbers_and_keeps_nothing_twice(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["a", "b", "c", "d"])])
    rig.until_kept("a", "b", "c", "d")
    with closing(sqlite3.connect(rig.database)) as connection:
        with connection:
            connection.execute("DELETE FROM history WHERE line < 3")
        connection.execute("VACUUM")
    add(rig.database, (1, MONDAY, ["e"]))
    rig.until_kept("e")
    assert rig.kept.sources() == ["a", "b", "c", "d", "e"]


def test_databases_put_aside_are_read_also_the_one_that_is_overwritten_each_time(rig: Rig) -> None:
    aside = rig.profile / "history-corrupt.sqlite"
    make_database(rig.database, [(1, MONDAY, ["live"])])
    make_database(rig.profile / "history-corrupt-2026-11-16T09.00.00.123456.sqlite", [(1, TUESDAY, ["old one"])])
    make_database(rig.profile / "history.sqlite.old.1", [(4, WEDNESDAY, ["before the trim"])])
    make_database(aside, [(1, "2026-11-01 08:00:00.000001", ["small one"])])
    rig.until_kept("live", "old one", "before the trim", "small one")
    make_database(rig.folder / "next.sqlite", [(1, "2026-11-02 08:00:00.000002", ["small two"])])
    os.rename(rig.folder / "next.sqlite", aside)
    rig.until_kept("small two")
    assert len(rig.kept.generations()) == 5
    os.rename(rig.database, rig.profile / "history-corrupt-2026-11-21T09.00.00.1.sqlite")
    make_database(rig.database, [(1, WEDNESDAY, ["live again"])])
    rig.until_kept("live again")
    assert rig.kept.sources().count("live") == 1


def test_a_new_profile_and_a_profile_reached_by_a_link_are_found(rig: Rig) -> None:
    make_database(rig.database, [(1, MONDAY, ["default"])])
    rig.until_kept("default")
    make_database(rig.home / ".ipython" / "profile_other" / "history.sqlite", [(1, TUESDAY, ["other"])])
    elsewhere = rig.folder / "elsewhere"
    make_database(elsewhere / "history.sqlite", [(1, WEDNESDAY, ["linked"])])
    (rig.home / ".ipython" / "profile_linked").symlink_to(elsewhere)
    (rig.home / ".ipython" / "profile_again").symlink_to(elsewhere)
    rig.until_kept("other", "linked")
    assert sorted(rig.kept.sources()) == ["default", "linked", "other"]


@pytest.mark.parametrize("name", [b"q?x=1#y%41 z", b"\xff\xfe raw", "naïve 名".encode()], ids=repr)
def test_names_that_mean_something_to_sqlite_or_are_not_utf8(tmp_path: Path, home: Path, name: bytes) -> None:
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    make_database(tmp_path / "plain.sqlite", [(1, MONDAY, ["found"])])
    (folder / ".ipython" / "profile_default").mkdir(parents=True)
    shutil.move(tmp_path / "plain.sqlite", folder / ".ipython" / "profile_default" / "history.sqlite")
    rig = Rig(folder, tmp_path, only_kernels=False)
    rig.until_kept("found")
    assert rig.kept.generations()[0].path == str(folder / ".ipython" / "profile_default" / "history.sqlite")
