"""The record log: an append is durable, tears nothing, and goes where there is room."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.archive.record_log import Holding, RecordSegments
from nbguard.errors import Busy, StorageTrouble
from nbguard.executed import ExecutedCell, Record
from nbguard.records import decode_lines
from tests.archive.rig import NO_RESERVE, HeldClock
from tests.helpers import REPOSITORY

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def cell(line: int, source: str = "x") -> ExecutedCell:
    return ExecutedCell(generation="ab" * 16, session=1, line=line, source=source, seen_at=NOW)


def new_log(base: Path, **options: float) -> RecordSegments:
    log = RecordSegments(
        str(base / "records"),
        clock=HeldClock(),
        emergency=str(base / "emergency"),
        reserve=NO_RESERVE,
        **options,  # type: ignore[arg-type]
    )
    log.make()
    return log


def kept(log: RecordSegments) -> list[Record]:
    """Every record in every segment, the oldest segment first."""
    found: list[Record] = []
    for segment in log.segments():
        for one in decode_lines(Path(segment.path).read_bytes()):
            assert not isinstance(one, Exception), one
            found.append(one)
    return found


def test_what_was_appended_is_there_in_order_and_readable_by_us_alone(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append([cell(1), cell(2)])
    log.append([cell(3)])
    log.append([])
    assert kept(log) == [cell(1), cell(2), cell(3)]
    (segment,) = log.segments()
    assert stat.S_IMODE(os.stat(segment.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(segment.folder).st_mode) == 0o700


def test_an_append_is_one_write_and_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])  # the segment and its folder
    synced: list[int] = []
    really = os.fsync

    def counted(fd: int) -> None:
        synced.append(fd)
        really(fd)

    monkeypatch.setattr(os, "fsync", counted)
    log.append([cell(2), cell(3)])
    assert len(synced) == 1


def test_a_segment_ends_when_it_is_full_or_old(tmp_path: Path) -> None:
    log = new_log(tmp_path, most_bytes=300)
    for line in range(4):
        log.append([cell(line, "y" * 100)])
    assert len(log.segments()) == 2
    clock = HeldClock()
    old = RecordSegments(str(tmp_path / "old"), clock=clock, reserve=NO_RESERVE, most_seconds=900.0)
    old.make()
    old.append([cell(1)])
    clock.boottime += 900_000_000_000
    old.append([cell(2)])
    assert len(old.segments()) == 2
    assert kept(old) == [cell(1), cell(2)]


def test_a_segment_is_held_while_its_writer_lives_and_free_once_it_is_sealed(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])
    (segment,) = log.segments()
    with pytest.raises(Busy):
        Holding(segment.path)
    log.seal()
    with Holding(segment.path):
        log.append([cell(2)])  # not into that one
    assert len(log.segments()) == 2


def test_a_write_that_the_disk_cut_short_tears_nothing_and_swallows_nothing(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])
    size = log.segments()[0].size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))  # the next write stops in mid-line
    try:
        with pytest.raises(StorageTrouble) as refused:
            log.append([cell(2, "z" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.code == "no-space"
    assert log.trouble() is not None
    assert kept(log) == [cell(1)]
    log.append([cell(2, "z" * 1000)])
    assert kept(log) == [cell(1), cell(2, "z" * 1000)]
    assert log.trouble() is None


def test_a_tail_that_could_not_be_cut_off_again_hides_no_earlier_and_no_later_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])
    fired: list[str] = []

    def fail(fd: int, size: int) -> None:
        fired.append("ftruncate")
        raise OSError(errno.EIO, "no")

    size = log.segments()[0].size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(os, "ftruncate", fail)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
    try:
        with pytest.raises(StorageTrouble):
            log.append([cell(2, "z" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fired
    assert log.segments()[0].size == size + 50  # torn
    log.append([cell(3)])
    assert kept(log) == [cell(1), cell(3)]


def test_after_an_fsync_error_the_same_file_is_never_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])
    first = log.segments()[0]
    really = os.fsync
    fired: list[int] = []

    def fail_once(fd: int) -> None:
        if not fired:
            fired.append(fd)
            raise OSError(errno.EIO, "lost")
        really(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    log.append([cell(2)])  # the emergency place takes it
    assert fired
    assert log.trouble() is not None
    log.append([cell(3)])
    assert log.trouble() is None
    assert sorted(one.line for one in kept(log) if isinstance(one, ExecutedCell)) == [1, 2, 3]
    again = next(segment for segment in log.segments() if segment.name == first.name)
    assert again.size == first.size
    assert len([segment for segment in log.segments() if "emergency" in segment.folder]) == 1


def test_a_wiped_folder_swallows_nothing_and_is_not_made_anew(tmp_path: Path) -> None:
    import shutil

    log = new_log(tmp_path)
    log.append([cell(1), cell(2)])
    shutil.rmtree(tmp_path / "records")
    log.tend()
    assert kept(log) == [cell(1), cell(2)]
    log.append([cell(3)])
    assert kept(log) == [cell(1), cell(2), cell(3)]
    assert not (tmp_path / "records").exists()
    assert len(log.segments()) <= 2  # one for what was rescued, none for each append


def test_where_nothing_takes_it_what_was_rescued_waits_for_a_place_that_does(tmp_path: Path) -> None:
    import shutil

    log = RecordSegments(str(tmp_path / "records"), clock=HeldClock(), reserve=NO_RESERVE)
    log.make()
    log.append([cell(1)])
    shutil.rmtree(tmp_path / "records")
    for _ in range(2):
        with pytest.raises(StorageTrouble):
            log.append([cell(2)])
    log.make()
    log.append([cell(2)])
    assert kept(log) == [cell(1), cell(2)]


def test_somebody_elses_emergency_place_is_not_used(tmp_path: Path) -> None:
    import shutil

    log = new_log(tmp_path)
    (tmp_path / "emergency").mkdir(mode=0o777)
    (tmp_path / "emergency").chmod(0o777)
    shutil.rmtree(tmp_path / "records")
    with pytest.raises(StorageTrouble):
        log.append([cell(1)])
    assert log.segments() == []


def test_a_symlink_and_a_pipe_among_the_segments_are_passed_over(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append([cell(1)])
    os.mkfifo(tmp_path / "records" / "a.jsonl")
    os.symlink("/etc/passwd", tmp_path / "records" / "b.jsonl")
    (tmp_path / "records" / "c.jsonl").mkdir()
    assert kept(log) == [cell(1)]


def test_a_leftover_of_a_writer_that_died_before_its_first_record_goes(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    dead, living = tmp_path / "records" / "x.jsonl.new", tmp_path / "records" / "y.jsonl.new"
    dead.touch()
    living.touch()
    with living.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log.sweep_leftovers()
        assert living.exists() and not dead.exists()


_WRITER = """
import os, sys
from tests.archive.test_record_log import RecordSegments, HeldClock, NO_RESERVE, cell
log = RecordSegments(sys.argv[1], clock=HeldClock(), reserve=NO_RESERVE, most_bytes=3000)
for line in range(int(sys.argv[2]), 1 << 30):
    log.append([cell(line, "x" * (line % 300))])
    os.write(1, b"%d\\n" % line)
"""


@pytest.mark.parametrize("rounds", [2, pytest.param(60, marks=pytest.mark.long)])
def test_killed_at_any_moment_nothing_that_was_acknowledged_is_lost(tmp_path: Path, rounds: int) -> None:
    log = new_log(tmp_path)
    acknowledged = 0
    for number in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path / "records"), str(acknowledged + 1)],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        ) as child:
            assert child.stdout is not None
            for _ in range(5 + 7 * number % 40):
                acknowledged = int(child.stdout.readline())
            log.append([cell(0)])  # this process appends at the same time
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split(b"\n")[:-1]
            acknowledged = int(rest[-1]) if rest else acknowledged
    found = {one.line for one in kept(log) if isinstance(one, ExecutedCell)}
    assert set(range(acknowledged + 1)) <= found
    log.seal()
    for segment in log.segments():
        with Holding(segment.path):  # nobody holds what the dead have left
            pass
