"""Executed cells in the archive: read back before they leave the spool, shown once, kept by all that tidies up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.archive.executed_library import ExecutedArchive
from nbguard.archive.maintenance import Maintenance
from nbguard.archive.record_log import RecordSegments
from nbguard.archive.record_packing import RecordPacker
from nbguard.archive.repository import RECORDS, Archive
from nbguard.archive.spool import Reserve
from nbguard.durable import FileLock
from nbguard.errors import ArchiveMoved, Busy, NbguardError, NoArchive, ReadBackFailed, StorageTrouble
from nbguard.executed import ExecutedCell
from nbguard.places import find_places
from tests.archive.rig import NO_RESERVE, HeldClock, fsck, git
from tests.helpers import REPOSITORY, notebook_bytes, poll

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def cell(line: int, source: str = "x") -> ExecutedCell:
    return ExecutedCell(generation="ab", session=1, line=line, source=source, seen_at=NOW)


class Records:
    """A record log and its archive, with the objects of one process; ``other`` is another process's log."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.places = find_places(home=str(base))
        self.clock = HeldClock()
        self.archive = Archive(self.places)
        self.archive.ensure()
        self.log = self.new_log()
        self.packer = self.new_packer()
        self._libraries: list[ExecutedArchive] = []

    def new_log(self) -> RecordSegments:
        log = RecordSegments(self.places.records, clock=self.clock, emergency=self.places.emergency, reserve=NO_RESERVE)
        log.make()
        return log

    def new_packer(self, log: RecordSegments | None = None, reserve: Reserve = NO_RESERVE) -> RecordPacker:
        return RecordPacker(archive=self.archive, log=log or self.log, clock=self.clock, reserve=reserve)

    def library(self, path: str | None = None) -> ExecutedArchive:
        library = ExecutedArchive(
            path=path or self.places.executed_index, archive=Archive(self.places), log=self.new_log()
        )
        self._libraries.append(library)
        library.catch_up()
        return library

    def lines(self) -> list[int]:
        """Lines of all cells, as a reader that begins with nothing sees them."""
        return [one.line for one in self.library(":memory:").cells("ab", 1)]

    def files(self) -> dict[str, bytes]:
        """Every file on the branch, through stock git."""
        if self.archive.git.tip(RECORDS) is None:
            return {}
        names = git(self.places.archive, "ls-tree", "-r", "--name-only", "records").decode().split()
        return {name: git(self.places.archive, "show", f"records:{name}") for name in names}

    def close(self) -> None:
        for library in self._libraries:
            library.close()


@pytest.fixture
def records(tmp_path: Path) -> object:
    made = Records(tmp_path)
    yield made
    made.close()


def test_what_is_packed_leaves_the_spool_and_stock_git_shows_it(records: Records) -> None:
    records.log.append([cell(1), cell(2)])
    (segment,) = records.log.segments()
    raw = Path(segment.path).read_bytes()
    done = records.packer.pack()
    assert (done.segments, done.bytes) == (1, len(raw))
    assert records.log.segments() == []
    assert records.files() == {f"executed/2026/11/20/{segment.name}": raw}
    records.log.append([cell(3)])
    records.packer.pack()
    assert len(records.files()) == 2
    assert records.lines() == [1, 2, 3]
    assert git(records.places.archive, "rev-list", "--count", "records").strip() == b"2"
    fsck(records.places.archive)


def test_nothing_recorded_makes_no_commit(records: Records) -> None:
    assert records.packer.pack().tip is None
    assert records.archive.git.tip(RECORDS) is None


def test_the_segment_of_a_living_process_is_packed_as_far_as_it_goes_and_stays(records: Records) -> None:
    other = records.new_log()
    other.append([cell(1)])
    assert records.packer.pack().segments == 0
    assert len(other.segments()) == 1
    assert [data.count(b"\n") for data in records.files().values()] == [1]
    assert records.packer.pack().tip is None  # nothing new
    other.append([cell(2)])
    records.packer.pack()
    assert [data.count(b"\n") for data in records.files().values()] == [2]
    assert records.lines() == [1, 2]
    other.seal()
    assert records.packer.pack().segments == 1
    assert records.log.segments() == []
    assert records.lines() == [1, 2]
    fsck(records.places.archive)


def test_a_torn_tail_is_kept_and_hides_nothing(records: Records) -> None:
    records.log.append([cell(1)])
    records.log.seal()
    (segment,) = records.log.segments()
    with open(segment.path, "ab") as file:
        file.write(b'{"v":1,"ki')
    records.packer.pack()
    assert [data[-10:] for data in records.files().values()] == [b'{"v":1,"ki']
    records.log.append([cell(2)])
    assert records.lines() == [1, 2]


def test_what_spilled_to_the_emergency_place_is_shown_and_packed_like_the_rest(records: Records) -> None:
    records.log.append([cell(1)])
    os.rename(records.places.records, records.places.records + ".away")
    records.log.append([cell(2)])
    assert [segment.folder.startswith(records.places.emergency) for segment in records.log.segments()] == [True]
    assert records.lines() == [1, 2]
    os.rename(records.places.records + ".away", records.places.records)
    records.log.append([cell(3)])
    assert records.lines() == [1, 2, 3]
    records.packer.pack()
    assert records.log.segments() == []
    assert records.lines() == [1, 2, 3]


def test_many_segments_are_packed_in_several_commits(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbguard.archive.record_packing._MOST_SEGMENTS", 3)
    for line in range(7):
        records.log.append([cell(line)])
        records.log.seal()
    assert records.packer.pack().segments == 7
    assert git(records.places.archive, "rev-list", "--count", "records").strip() == b"3"
    assert records.lines() == list(range(7))


def test_one_at_a_time(records: Records) -> None:
    records.log.append([cell(1)])
    with FileLock(records.archive.lock_path), pytest.raises(Busy):
        records.packer.pack()
    assert records.packer.pack().segments == 1


def test_without_an_archive_everything_stays(records: Records) -> None:
    records.log.append([cell(1)])
    os.rename(records.places.archive, records.places.archive + ".away")
    with pytest.raises(NoArchive):
        records.packer.pack()
    assert records.lines() == [1]


def test_without_room_everything_stays(records: Records) -> None:
    records.log.append([cell(1)])
    with pytest.raises(StorageTrouble) as refused:
        records.new_packer(reserve=Reserve(bytes=1 << 60, percent=100.0)).pack()
    assert refused.value.code == "no-space"
    assert records.lines() == [1]


def _before_the_ref(records: Records, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., object]) -> None:
    monkeypatch.setattr(type(records.archive.git), "update_refs", fail)


def _after_the_ref(records: Records, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., object]) -> None:
    monkeypatch.setattr("nbguard.archive.record_packing.fsync_file", fail)


def _before_reading_back(records: Records, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., object]) -> None:
    monkeypatch.setattr(type(records.archive.git), "sha256_of", fail)


def _before_noting(records: Records, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., object]) -> None:
    monkeypatch.setattr(Archive, "note_verified", fail)


def _before_unlinking(records: Records, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., object]) -> None:
    monkeypatch.setattr("nbguard.archive.record_packing.unlink_quietly", fail)


@pytest.mark.parametrize(
    "crash", [_before_the_ref, _after_the_ref, _before_reading_back, _before_noting, _before_unlinking]
)
def test_a_crash_at_any_step_loses_nothing_and_shows_nothing_twice(
    records: Records,
    crash: Callable[[Records, pytest.MonkeyPatch, Callable[..., object]], None],
) -> None:
    records.log.append([cell(1)])
    records.packer.pack()
    records.log.append([cell(2)])
    fired: list[object] = []

    def fail(*arguments: object, **named: object) -> object:
        fired.append(arguments)
        raise OSError(5, "the power is gone")

    with pytest.MonkeyPatch.context() as patched:
        crash(records, patched, fail)
        with pytest.raises(NbguardError):
            records.packer.pack()
    assert fired
    assert records.lines() == [1, 2]
    records.log = records.new_log()
    assert records.new_packer().pack().segments == 1
    assert records.log.segments() == []
    assert records.lines() == [1, 2]
    assert len(records.files()) == 2
    fsck(records.places.archive)


def test_what_does_not_read_back_stays_in_the_spool(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    records.log.append([cell(1)])
    with monkeypatch.context() as patched:
        patched.setattr(type(records.archive.git), "sha256_of", lambda self, names: ["0" * 64 for _ in names])
        with pytest.raises(ReadBackFailed, match="other bytes"):
            records.packer.pack()
    assert len(records.log.segments()) == 1


def test_a_branch_that_somebody_moved_is_not_built_on(records: Records) -> None:
    for line in (1, 2):
        records.log.append([cell(line)])
        records.packer.pack()
    first = git(records.places.archive, "rev-parse", "records^").decode().strip()
    git(records.places.archive, "update-ref", "refs/heads/records", first)
    records.log.append([cell(3)])
    with pytest.raises(ArchiveMoved, match="records was moved"):
        records.packer.pack()
    assert records.lines() == [1, 2, 3]  # what was verified is still followed
    git(records.places.archive, "update-ref", "-d", "refs/heads/records")
    with pytest.raises(ArchiveMoved):
        records.packer.pack()
    assert records.lines() == [1, 2, 3]


def test_another_file_of_the_same_name_in_the_branch_costs_neither(records: Records) -> None:
    records.log.append([cell(1)])
    records.log.seal()
    (segment,) = records.log.segments()
    raw = Path(segment.path).read_bytes()
    records.packer.pack()
    Path(segment.path).write_bytes(raw.replace(b'"line":1', b'"line":2'))  # from a backup of another day, say
    assert records.packer.pack().segments == 1
    assert len(records.files()) == 2
    Path(segment.path).write_bytes(raw[:20])  # cut short by a disk: the branch has more
    assert records.packer.pack().segments == 1
    assert sorted(data.count(b"\n") for data in records.files().values()) == [1, 1]


@pytest.mark.parametrize("full", [False, True])
def test_maintenance_drops_nothing_that_only_this_branch_refers_to(records: Records, full: bool) -> None:
    for line in range(12):
        records.log.append([cell(line, f"y = {line}" * 50)])
        records.packer.pack()
    before = records.files()
    Maintenance(records.archive, reserve=NO_RESERVE).run(full=full)
    packs = [name for name in os.listdir(Path(records.places.archive, "objects/pack")) if name.endswith(".pack")]
    assert len(packs) < 12
    assert records.files() == before
    assert records.lines() == list(range(12))
    fsck(records.places.archive)


def test_a_clone_of_the_archive_holds_the_executed_cells(records: Records, tmp_path: Path) -> None:
    records.log.append([cell(1), cell(2)])
    records.packer.pack()
    subprocess.run(
        ["git", "clone", "--quiet", "--mirror", records.places.archive, str(tmp_path / "other" / "archive.git")],
        check=True,
    )
    other = Records(tmp_path / "other")
    try:
        assert other.lines() == [1, 2]
        other.log.append([cell(3)])
        other.packer.pack()
        assert other.lines() == [1, 2, 3]
    finally:
        other.close()


def test_packing_is_due_when_records_wait_long_or_are_many(records: Records) -> None:
    packer = RecordPacker(
        archive=records.archive, log=records.log, clock=records.clock, reserve=NO_RESERVE, seconds=900.0
    )
    assert not packer.is_due()
    records.log.append([cell(1)])
    assert not packer.is_due()
    records.clock.boottime += 900_000_000_000
    assert packer.is_due()
    packer.pack()
    assert not packer.is_due()
    records.log.append([cell(2, "z" * 5_000_000)])
    assert packer.is_due()


def _acknowledged(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


@pytest.mark.parametrize("rounds", [4, pytest.param(80, marks=pytest.mark.long)])
def test_killed_at_random_moments_every_cell_is_there_once(records: Records, tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    acknowledged = tmp_path / "acknowledged"
    met = {"spooled": 0, "packed": 0}
    for number in range(rounds):
        before = len(_acknowledged(acknowledged))
        tip = records.archive.git.tip(RECORDS)
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.archive.record_worker",
                str(records.base),
                str(max(_acknowledged(acknowledged), default=0) + 1),
                str(acknowledged),
            ],
            cwd=REPOSITORY,
            start_new_session=True,
        )
        try:
            poll(lambda was=before: len(_acknowledged(acknowledged)) > was, 60, every=0.005)  # type: ignore[misc]
            if number % 4:  # else it dies before its first commit, or in it
                poll(lambda was=tip: records.archive.git.tip(RECORDS) != was, 60, every=0.005)  # type: ignore[misc]
            end = time.monotonic() + chance.random() * 0.3
            poll(lambda end=end: time.monotonic() >= end, 60, every=0.001)  # type: ignore[misc]
        finally:
            os.killpg(child.pid, 9)
            child.wait()
        met["spooled"] += bool(records.new_log().segments())
        met["packed"] += records.archive.git.tip(RECORDS) is not None
        lines = records.lines()
        assert set(_acknowledged(acknowledged)) <= set(lines)
        assert len(lines) == len(set(lines))
    assert met["spooled"] and met["packed"], met
    records.packer.pack()
    assert records.log.segments() == []
    assert set(_acknowledged(acknowledged)) <= set(records.lines())
    fsck(records.places.archive)


@pytest.mark.parametrize("looks", [12, pytest.param(100, marks=pytest.mark.long)])
def test_readers_beside_a_process_that_appends_and_packs_see_every_cell_once(
    records: Records, tmp_path: Path, looks: int
) -> None:
    acknowledged = tmp_path / "acknowledged"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.archive.record_worker", str(records.base), "1", str(acknowledged)],
        cwd=REPOSITORY,
        start_new_session=True,
    ) as child:
        try:
            readers = [records.library(), records.library(), records.library(":memory:")]
            for number in range(looks):
                poll(lambda least=5 * number: len(_acknowledged(acknowledged)) > least, 60)  # type: ignore[misc]
                if number % 8 == 7:
                    Path(records.places.executed_index).unlink()
                known = _acknowledged(acknowledged)
                reader = readers[number % 3]
                reader.catch_up()
                lines = [one.line for one in reader.cells("ab", 1)]
                assert set(known) <= set(lines)
                assert len(lines) == len(set(lines))
            assert child.poll() is None
            assert records.archive.git.tip(RECORDS) is not None
        finally:
            os.killpg(child.pid, 9)


def test_run_once_packs_executed_cells_too(home: Path, tmp_path: Path) -> None:
    from nbguard import app_history
    from nbguard.cli.context import Context
    from tests.helpers import nbguard

    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.ipynb").write_bytes(notebook_bytes("x = 1"))
    assert nbguard("run", "--watch", str(tmp_path / "work"), "--once").code == 0
    context = Context.from_environment(None)
    log = app_history.record_log_of(context)
    log.append([cell(1)])
    log.seal()
    assert nbguard("run", "--once").code == 0
    assert log.segments() == []
    assert git(context.places.archive, "ls-tree", "-r", "--name-only", "records").startswith(b"executed/")
