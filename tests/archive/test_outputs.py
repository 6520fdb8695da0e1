"""Recorded outputs: durable when put, given back whole, pruned by age and size and in no other way."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest

from nbguard.archive.outputs import DayFile, KeepOutputs, RecordedOutputs, choose_pruned
from nbguard.errors import StorageTrouble
from nbguard.executed import RunOutputs
from tests.archive.rig import NO_RESERVE, HeldClock

TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def of(run: str, outputs: str = "[]") -> RunOutputs:
    return RunOutputs(run=run, recorded_at=NOW, outputs=outputs)


def new_store(base: Path, clock: HeldClock | None = None, **policy: float) -> RecordedOutputs:
    store = RecordedOutputs(
        str(base / "recorded"),
        clock=clock or HeldClock(),
        emergency=str(base / "emergency"),
        policy=KeepOutputs(**policy),  # type: ignore[arg-type]
        reserve=NO_RESERVE,
    )
    store.make()
    return store


@pytest.mark.parametrize("outputs", ["[]", '[{"text":"é\\n\\ud83d"}]', "\ud83d", "x" * 3_000_000])
def test_what_was_put_comes_back(tmp_path: Path, outputs: str) -> None:
    store = new_store(tmp_path)
    store.put([of("r0"), of("r1", outputs), of("r2")])
    assert store.get("r1") == outputs
    assert new_store(tmp_path).get("r1") == outputs
    assert store.get("r3") is None
    (file,) = store.files()
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600


def test_of_a_run_whose_time_is_known_no_older_day_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HeldClock()
    store = new_store(tmp_path, clock)
    days = []
    for number in range(6):
        days.append(clock.wall)
        store.put([of(f"r{number}", f"[{number}]")])
        clock.wall += timedelta(days=1)
    opened: list[str] = []

    def listening(path: str, mode: str) -> IO[bytes]:
        opened.append(os.path.basename(path)[:10])
        return open(path, mode)

    monkeypatch.setattr("nbguard.archive.outputs.open", listening, raising=False)
    reader = new_store(tmp_path, clock)
    assert reader.get("r2", days[2]) == "[2]"
    assert set(opened) == {f"{day:%Y-%m-%d}" for day in days[2:4]}
    assert reader.get("r0", days[5]) is None and reader.get("r0") == "[0]"
    assert reader.get("r5", days[2]) == "[5]"


def test_of_two_under_one_run_the_later_counts(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.put([of("r", "[1]")])
    assert store.get("r") == "[1]"
    store.put([of("r", "[2]")])
    assert store.get("r") == "[2]"


def test_each_day_and_each_process_has_its_own_file(tmp_path: Path) -> None:
    clock = HeldClock()
    store, other = new_store(tmp_path, clock), new_store(tmp_path, clock)
    store.put([of("a")])
    other.put([of("b")])
    store.put([of("c")])
    clock.wall += timedelta(days=1)
    store.put([of("d")])
    assert len(store.files()) == 3
    assert all(store.get(run) == "[]" for run in "abcd")


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.put([of("a")])
    with open(store.files()[0].path, "ab") as file:
        file.write(b'garbage\n{"v":1,"run":"b",garbage\n{"v":1,"run":"c","outp')
    later = new_store(tmp_path)
    later.put([of("d")])
    assert (later.get("a"), later.get("b"), later.get("c"), later.get("d")) == ("[]", None, None, "[]")


def test_after_an_fsync_error_another_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    store.put([of("a")])
    fired: list[int] = []
    really = os.fsync

    def fail_once(fd: int) -> None:
        if not fired:
            fired.append(fd)
            raise OSError(errno.EIO, "lost")
        really(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    store.put([of("b")])
    assert fired
    store.put([of("c")])
    assert len(store.files()) == 3
    assert all(store.get(run) == "[]" for run in "abc")


def test_a_wiped_folder_is_not_made_anew_the_emergency_place_takes_what_comes(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.put([of("a")])
    shutil.rmtree(tmp_path / "recorded")
    store.put([of("b")])
    assert store.get("b") == "[]"
    assert not (tmp_path / "recorded").exists()
    alone = RecordedOutputs(str(tmp_path / "nowhere"), clock=HeldClock(), reserve=NO_RESERVE)
    with pytest.raises(StorageTrouble):
        alone.put([of("c")])


def file(days_ago: int, size: int) -> DayFile:
    day = TODAY - timedelta(days=days_ago)
    return DayFile(day, f"/r/{day.isoformat()}-1-{size:016x}.jsonl", size)


@pytest.mark.parametrize(
    ("files", "gone"),
    [
        ([], []),
        ([file(89, 5), file(0, 5)], []),
        ([file(90, 5)], []),
        ([file(91, 5), file(90, 5)], [file(91, 5)]),
        ([file(3, 60), file(2, 60), file(1, 30)], [file(3, 60)]),
        ([file(1, 30), file(3, 60), file(2, 60)], [file(3, 60)]),
        ([file(2, 500), file(1, 10)], [file(2, 500)]),
        ([file(0, 500)], []),  # today's is being written
        ([file(1, 90), file(0, 90)], [file(1, 90)]),
        ([file(-2, 500)], []),  # a clock that went back
    ],
)
def test_the_oldest_days_go_until_the_rest_is_small_enough(files: list[DayFile], gone: list[DayFile]) -> None:
    assert choose_pruned(files, KeepOutputs(days=90, bytes=100), TODAY) == gone


def test_pruned_outputs_are_gone_and_the_others_stay(tmp_path: Path) -> None:
    clock = HeldClock()
    store = new_store(tmp_path, clock, days=5)
    store.put([of("old")])
    clock.wall += timedelta(days=7)
    store.put([of("new")])
    assert store.get("old") == "[]"
    assert len(store.prune()) == 1
    assert (store.get("old"), store.get("new")) == (None, "[]")
    (tmp_path / "recorded" / "2000-01-01-notes.txt").write_text("not ours")
    store.prune()
    assert (tmp_path / "recorded" / "2000-01-01-notes.txt").exists()
