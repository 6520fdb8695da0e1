"""What was executed, read back: the same answers however the index came to be, and whatever lies beside it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.archive.executed_library import ExecutedArchive
from nbguard.errors import StorageTrouble
from nbguard.executed import (
    CellOrigin,
    Confidence,
    ExecutedCell,
    Frontend,
    Generation,
    HistorySession,
    Link,
    Record,
    Run,
)
from tests.archive.test_record_packing import Records

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def cell(line: int, source: str = "x", *, seen: int = 0, session: int = 1, output: str | None = None) -> ExecutedCell:
    return ExecutedCell(generation="ab", session=session, line=line, source=source, seen_at=at(seen), output=output)


def link(path: str | None, *, seen: int = 0, session: int | None = 1, evidence: str = "server") -> Link:
    return Link(
        generation=None if session is None else "ab",
        session=session,
        path=path,
        frontend=Frontend.NOTEBOOK,
        confidence=Confidence.EXACT,
        evidence=(evidence,),
        seen_at=at(seen),
        kernel="k1",
        pid=7,
    )


def run(identity: str, *, ended: int | None, path: str | None = None, kernel: str = "k1") -> Run:
    return Run(
        id=identity,
        kernel=kernel,
        execution_count=1,
        source="x",
        started_at=at(0),
        ended_at=None if ended is None else at(ended),
        status="ok",
        path=path,
    )


@pytest.fixture
def records(tmp_path: Path) -> Generator[Records]:
    made = Records(tmp_path)
    yield made
    made.close()


def answers(library: ExecutedArchive) -> object:
    sessions = library.sessions()
    return (
        library.generations(),
        sessions,
        [library.cells(one.generation, one.session) for one in sessions],
        library.links(),
        library.runs(),
    )


def test_the_same_cell_seen_twice_is_one_and_the_first_time_counts(records: Records) -> None:
    records.log.append([cell(1, seen=5), cell(1, seen=3), cell(1, seen=9)])
    assert records.library().cells("ab", 1) == [cell(1, seen=3)]


def test_another_text_on_the_same_line_is_another_cell_and_both_are_shown_as_they_were_seen(records: Records) -> None:
    records.log.append([cell(2, "b", seen=2), cell(1, "new", seen=4), cell(1, "old", seen=1)])
    assert [one.source for one in records.library().cells("ab", 1)] == ["old", "new", "b"]


def test_what_the_kernel_remembers_of_a_row_completes_it(records: Records) -> None:
    records.log.append([cell(1, seen=1), replace(cell(1, seen=2, output="42"), origin=CellOrigin.KERNEL)])
    assert records.library().cells("ab", 1) == [cell(1, seen=1, output="42")]


def test_sessions_as_last_seen_oldest_first_also_those_of_which_only_cells_were_seen(records: Records) -> None:
    early = HistorySession(generation="ab", session=7, started_at=at(-50), ended_at=None, seen_at=at(0))
    late = HistorySession(generation="ab", session=1, started_at=at(10), ended_at=None, seen_at=at(11))
    ended = replace(late, ended_at=at(20), seen_at=at(21))
    records.log.append([ended, late, early, cell(1, session=1), cell(3, session=9, seen=5)])
    only_cells = HistorySession(generation="ab", session=9, started_at=None, ended_at=None, seen_at=at(5))
    assert records.library().sessions() == [early, only_cells, ended]


def test_generations_in_the_order_in_which_they_were_first_seen_and_as_last_seen(records: Records) -> None:
    one = Generation(id="b", path="/h", device=1, inode=1, first_started_at="", seen_at=at(1))
    moved = replace(one, path="/h-corrupt", seen_at=at(9))
    two = replace(one, id="a", seen_at=at(2))
    records.log.append([two, moved, one])
    assert records.library().generations() == [moved, two]


def test_of_a_session_and_a_path_the_newest_link_counts(records: Records) -> None:
    older, newer = link("/w/a.ipynb", seen=1, evidence="environment"), link("/w/a.ipynb", seen=2)
    renamed, console, no_session = link("/w/b.ipynb", seen=3), link(None, seen=4), link("/w/c.ipynb", session=None)
    records.log.append([newer, console, renamed, older, no_session])
    assert records.library().links() == [no_session, newer, renamed, console]


def test_a_run_that_ended_counts_more_than_the_same_unfinished_and_runs_are_found_by_kernel_and_path(
    records: Records,
) -> None:
    path = os.fsdecode(b"/w/\xff.ipynb")
    records.log.append(
        [run("r1", ended=3, path=path), run("r1", ended=None, path=path), run("r2", ended=1, kernel="k2")]
    )
    library = records.library()
    assert library.runs() == [run("r1", ended=3, path=path), run("r2", ended=1, kernel="k2")]
    assert [one.id for one in library.runs(path=path)] == ["r1"]
    assert [one.id for one in library.runs(kernel="k2")] == ["r2"]
    assert library.runs(kernel="k2", path=path) == []


def test_a_reader_follows_what_is_appended_and_packed_meanwhile(records: Records) -> None:
    library = records.library()
    for line in range(6):
        records.log.append([cell(line)])
        if line % 2:
            records.packer.pack()
        library.catch_up()
        assert [one.line for one in library.cells("ab", 1)] == list(range(line + 1))


def test_a_line_that_cannot_be_read_is_counted_once_and_costs_no_other(records: Records) -> None:
    records.log.append([cell(1)])
    records.log.seal()
    (segment,) = records.log.segments()
    with open(segment.path, "ab") as file:
        file.write(b'garbage\n{"v":1,"kind":"roll-call"}\n')
    records.log.append([cell(2)])
    library = records.library()
    assert [one.line for one in library.cells("ab", 1)] == [1, 2]
    assert library.unreadable() == 2
    records.packer.pack()
    library.catch_up()
    assert library.unreadable() == 2
    assert records.library(":memory:").unreadable() == 2


@pytest.mark.parametrize("harm", ["removed", "garbage", "another", "emptied"])
def test_an_index_that_is_harmed_at_any_moment_costs_time_and_no_answer(records: Records, harm: str) -> None:
    records.log.append([cell(1), link("/w/a.ipynb"), run("r", ended=1)])
    records.packer.pack()
    records.log.append([cell(2)])
    library = records.library()
    expected = answers(library)
    path = Path(records.places.executed_index)
    if harm == "removed":
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    else:
        library.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        if harm == "garbage":
            path.write_bytes(b"SQLite format 3\0" + os.urandom(8000))
        elif harm == "another":
            path.unlink()
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE x (y)")
                other.execute("PRAGMA user_version = 7")
            other.close()
        else:
            path.write_bytes(b"")
        library = records.library()
    library.catch_up()
    assert answers(library) == expected


def test_on_a_disk_that_takes_no_index_one_in_memory_answers(records: Records) -> None:
    records.log.append([cell(1)])
    Path(records.places.state).mkdir(exist_ok=True)
    Path(records.places.executed_index).mkdir()
    assert [one.line for one in records.library().cells("ab", 1)] == [1]


def test_a_full_disk_under_the_index_costs_no_answer(records: Records) -> None:
    import resource

    records.log.append([cell(line, "x" * 5000) for line in range(200)])
    library = records.library(":memory:")
    expected = answers(library)
    library = ExecutedArchive(path=records.places.executed_index, archive=records.archive, log=records.log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        library.catch_up()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.path.getsize(records.places.executed_index) < 200_000  # the disk did refuse
    assert answers(library) == expected
    library.close()


def test_a_broken_object_in_the_archive_costs_only_its_own_cells_and_is_looked_at_again(records: Records) -> None:
    packs = []
    for line in (1, 2, 3):
        records.log.append([cell(line, f"{line}" * 400)])
        records.packer.pack()
        folder = Path(records.places.archive, "objects", "pack")
        packs.append(next(pack for pack in folder.glob("*.pack") if pack not in packs))
    sound = packs[1].read_bytes()
    packs[1].chmod(0o600)
    packs[1].write_bytes(sound[:12] + bytes(byte ^ 0xFF for byte in sound[12:60]) + sound[60:])
    library = records.library()
    assert [one.line for one in library.cells("ab", 1)] == [1, 3]
    assert library.unreadable() == 1
    packs[1].write_bytes(sound)
    library.catch_up()
    assert [one.line for one in library.cells("ab", 1)] == [1, 2, 3]
    assert library.unreadable() == 0


def test_a_segment_that_its_disk_does_not_give_back_holds_up_no_other(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in (1, 2, 3):
        records.log.append([cell(line)])
        records.log.seal()
    bad = sorted(segment.path for segment in records.log.segments())[1]
    really = os.open
    fired: list[str] = []

    def fail(path: str, *arguments: int, **named: int) -> int:
        if path == bad:
            fired.append(path)
            raise OSError(5, "Input/output error", path)
        return really(path, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fail)
        library = records.library()
        assert [one.line for one in library.cells("ab", 1)] == [1, 3]
        assert library.unreadable() == 1
        with pytest.raises(StorageTrouble, match="to pack"):
            records.packer.pack()
    assert fired
    assert [segment.path for segment in records.log.segments()] == [bad]
    library.catch_up()
    assert [one.line for one in library.cells("ab", 1)] == [1, 2, 3]


_RECORD: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        cell,
        st.integers(1, 3),
        st.sampled_from(["x", "y"]),
        seen=st.integers(0, 3),
        session=st.integers(1, 2),
        output=st.sampled_from([None, "1", "2"]),
    ),
    st.builds(link, st.sampled_from([None, "/a", "/b"]), seen=st.integers(0, 3), session=st.sampled_from([None, 1])),
    st.builds(run, st.sampled_from("ab"), ended=st.sampled_from([None, 1, 2])),
    st.builds(
        HistorySession,
        generation=st.just("ab"),
        session=st.integers(1, 2),
        started_at=st.sampled_from([None, at(0)]),
        ended_at=st.sampled_from([None, at(5)]),
        seen_at=st.integers(0, 2).map(at),
    ),
)
_STEP = st.one_of(
    st.lists(_RECORD, min_size=1, max_size=4),
    st.sampled_from(["seal", "pack", "catch up", "forget"]),
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_STEP, max_size=12), st.randoms(use_true_random=False))
def test_an_index_that_grew_answers_as_one_that_is_new(steps: list[list[Record] | str], chance: object) -> None:
    del chance
    with tempfile.TemporaryDirectory() as base:
        records = Records(Path(base))
        try:
            grown = records.library()
            for step in steps:
                if isinstance(step, list):
                    records.log.append(step)
                elif step == "seal":
                    records.log.seal()
                elif step == "pack":
                    records.packer.pack()
                elif step == "forget":
                    Path(records.places.executed_index).unlink(missing_ok=True)
                grown.catch_up() if step == "catch up" else None
            grown.catch_up()
            assert answers(grown) == answers(records.library(":memory:"))
        finally:
            records.close()
