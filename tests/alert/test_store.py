"""The desk's file: durable, ours alone, and whatever lies in its place, nothing is lost silently."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard import durable
from nbguard.alert.state import State
from nbguard.alert.state_json import decode, encode
from nbguard.alert.store import LOCK, AlertStore
from nbguard.alerting import ChannelState
from nbguard.durable import FileLock
from nbguard.errors import Busy, Refused, StorageTrouble
from tests.alert.town import DAY, HOUR, MINUTE, Town, swift_folder


def test_what_was_written_reads_back_the_same(town: Town) -> None:
    town.prove("mail")
    town.break_("daemon-down", "/a\udcff b")
    town.live(HOUR)
    town.desk.answer("nonsense")
    data = town.path.read_bytes()
    assert encode(decode(data)) == data
    assert stat.S_IMODE(town.path.stat().st_mode) == 0o600


def test_nothing_is_written_while_nothing_changes(town: Town) -> None:
    town.prove()
    before = town.path.stat()
    town.live(DAY, every=30)
    assert town.path.stat().st_ino == before.st_ino


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
        ).map(lambda x: json.dumps(x).encode()),
    )
)
def test_anything_may_lie_in_its_place(data: bytes) -> None:
    with swift_folder() as folder:
        town = Town(folder)
        town.path.write_bytes(data)
        town.break_("daemon-down")
        town.live(MINUTE)
        told = town.sees(town.boxes.of("mail")[-1])
        assert "daemon-down" in told and "alerts-damaged" in told
        assert (folder / "alerts.json.unreadable-1").read_bytes() == data


def _instead(make: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def harm(path: Path, good: bytes) -> None:
        path.unlink()
        make(path)

    return harm


HOSTILE: dict[str, Callable[[Path, bytes], object]] = {
    "a truncated file": lambda path, good: path.write_bytes(good[: len(good) // 2]),
    "zeros after a power cut": lambda path, good: path.write_bytes(bytes(len(good))),
    "very deep JSON": lambda path, good: path.write_bytes(b"[" * 200_000),
    "a huge file": lambda path, good: os.truncate(path, 50_000_000_000),
    "a symlink": _instead(lambda path: path.symlink_to("/etc/passwd")),
    "a fifo": _instead(os.mkfifo),
    "a folder": _instead(lambda path: path.mkdir()),
    "wrong types": lambda path, good: path.write_bytes(good.replace(b'"ways": [', b'"ways": [7, ')),
    "not a number": lambda path, good: path.write_bytes(good.replace(b'"seconds": 0', b'"seconds": NaN, "x": 0', 1)),
    "no salt": lambda path, good: path.write_bytes(good.replace(b'"salt": "', b'"salt": "zz', 1)),
}


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_unreadable_file_is_put_aside_and_told_of(town: Town, harm: Callable[[Path, bytes], object]) -> None:
    town.prove()
    good = town.path.read_bytes()
    harm(town.path, good)
    town.restart()
    town.live(3 * MINUTE)
    assert any(name.startswith("alerts.json.unreadable") for name in os.listdir(town.folder)), "kept"
    assert [each.code for each in town.desk.open_incidents()] == ["alerts-damaged"]
    assert any("alerts-damaged" in town.sees(each) for each in town.boxes.of("mail"))
    decode(town.path.read_bytes())


def test_a_copy_outside_makes_up_for_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "emergency").mkdir(mode=0o700)
    town = Town(tmp_path / "state", copies=(str(tmp_path / "emergency" / "alerts.json"),))
    town.prove()
    town.path.write_bytes(b"{")
    town.restart()
    town.live(3 * MINUTE)
    assert {report.state for report in town.desk.reports()} == {ChannelState.LIVE}
    assert "a copy had it all" in town.sees(town.boxes.of("mail")[-1])


def test_damage_that_a_command_saw_first_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "emergency").mkdir(mode=0o700)
    town = Town(tmp_path / "state", copies=(str(tmp_path / "emergency" / "alerts.json"),))
    town.prove()
    town.path.write_bytes(b"{")
    town.restart()
    assert town.desk.reports(), "`status` and `alert list` look, and write nothing"
    assert town.path.read_bytes() == b"{"
    town.restart()
    town.live(3 * MINUTE)
    assert "alerts-damaged" in town.sees(town.boxes.of("mail")[-1])
    assert (town.folder / "alerts.json.unreadable-1").read_bytes() == b"{"


def test_a_removed_state_folder_changes_nothing_about_what_is_told(tmp_path: Path) -> None:
    (tmp_path / "emergency").mkdir(mode=0o700)
    town = Town(tmp_path / "state", copies=(str(tmp_path / "emergency" / "alerts.json"),))
    town.prove()
    town.break_("home-wiped")
    for name in os.listdir(town.folder):
        (town.folder / name).unlink()
    town.folder.rmdir()
    town.live(31 * MINUTE)
    town.restart()
    town.live(40 * MINUTE)
    assert [each.message.kind for each in town.boxes.of("mail")] == ["incident", "reminder"]
    assert not town.folder.exists(), "nothing is made anew where it was removed"


def test_a_copy_in_a_folder_that_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "emergency").mkdir(mode=0o777)
    (tmp_path / "emergency").chmod(0o777)
    copy = tmp_path / "emergency" / "alerts.json"
    copy.write_bytes(encode(State(salt="00" * 16, revision=10_000)))
    store = AlertStore(str(tmp_path / "alerts.json"), (str(copy),))
    assert store.load().state is None


def test_a_newer_nbguards_file_is_never_written_over(town: Town) -> None:
    town.prove()
    data = town.path.read_bytes().replace(b'{"v": 1', b'{"v": 2', 1)
    town.path.write_bytes(data)
    with pytest.raises(Refused):
        AlertStore(str(town.path)).load()
    town.restart()
    town.break_("daemon-down")
    town.live(2 * MINUTE)
    assert len(town.boxes.of("mail", "incident")) == 1, "told all the same"
    assert town.path.read_bytes() == data


class FullDisk:
    """A disk that takes nothing while ``is_full``, for whoever writes durably."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.refused = 0
        real = durable.write_all

        def write_all(fd: int, data: bytes) -> None:
            if self.is_full:
                self.refused += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            real(fd, data)

        monkeypatch.setattr(durable, "write_all", write_all)


def test_a_full_disk_is_sent_through_remembered_and_written_later(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.prove()
    disk = FullDisk(monkeypatch)
    disk.is_full = True
    town.break_("no-space")
    town.live(29 * MINUTE)
    assert disk.refused > 0
    assert len(town.boxes.of("mail", "incident")) == 1, "told once, by a process that cannot write"
    assert [each.problem.code for each in town.desk.problems()] == ["no-space"]
    disk.is_full = False
    town.live(2 * MINUTE)
    assert "no-space" in town.path.read_text()
    assert town.desk.problems() == ()


def test_a_little_space_is_kept_back_for_the_moment_when_there_is_none(tmp_path: Path) -> None:
    """On a real small disk: full to the last byte, and yet the state is written."""
    import shutil
    import subprocess

    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs root: mounts a small disk")
    try:
        town = Town(mount / "state")
        town.prove()
        with pytest.raises(OSError, match="No space left"), (mount / "filler").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        with pytest.raises(OSError, match="No space left"):
            (mount / "more").write_bytes(bytes(8192))
        town.break_("no-space")
        town.live(2 * MINUTE)
        assert "no-space" in town.path.read_text()
        town.restart()
        town.live(10 * MINUTE)
        assert len(town.boxes.of("mail", "incident")) == 1, "written, so that another process need not tell it again"
    finally:
        subprocess.run(["umount", str(mount)], check=True)
        shutil.rmtree(mount)


def test_where_every_disk_is_full_the_runtime_folder_takes_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    last = tmp_path / "run" / "alerts-1.json"
    store = AlertStore(str(tmp_path / "gone" / "alerts.json"), last_resort=str(last))
    written = store.save(State(salt="00" * 16))
    assert store.load().state == written
    (tmp_path / "gone").mkdir()
    again = store.save(written)
    assert store.load().state == again
    assert not last.exists(), "it is there only while nothing else is"


def test_where_nothing_takes_it_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageTrouble):
        AlertStore(str(tmp_path / "gone" / "alerts.json")).save(State(salt="00" * 16))


def test_two_processes_send_one_message(town: Town) -> None:
    town.prove()
    other = town.new_desk()
    town.break_("daemon-down")
    town.look()
    for _ in range(5):
        town.clock.true += 1
        town.desk.step()
        other.step()
    assert len(town.boxes.of("mail")) == 1


def test_a_lock_that_nobody_gives_back_silences_nothing(tmp_path: Path) -> None:
    """A process that was stopped in mid-write holds it for ever."""
    store = AlertStore(str(tmp_path / "alerts.json"), patience_seconds=0.1)
    stuck = FileLock(str(tmp_path / LOCK))
    with stuck, store.locked():
        assert store.save(State(salt="00" * 16)).revision == 1
    with store.locked(), pytest.raises(Busy):
        FileLock(str(tmp_path / LOCK)).acquire()
