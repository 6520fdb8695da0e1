"""What is told without a transport, and why a daemon may be down: read by prompts and checks, whatever stands there."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbguard.notices import LONGEST_LINE, failed_units, read_notice, write_notice
from nbguard.stops import UPGRADE_SECONDS, RecordedStop, Why, excuses, forget_stop, read_stop, record_stop

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_a_notice_is_written_once_shown_by_its_first_line_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "notice"
    write_notice(str(path), "  stalled since 12:00\nsecond line\n")
    assert read_notice(str(path)) == "stalled since 12:00"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    write_notice(str(path), "stalled since 12:00\nsecond line")
    assert path.stat().st_ino == before, "the same words are not written again"
    for _ in range(2):
        write_notice(str(path), " \n")
        assert not path.exists()
    assert read_notice(str(path)) == ""


def test_a_prompt_can_print_whatever_was_noticed(tmp_path: Path) -> None:
    path = tmp_path / "notice"
    write_notice(str(path), "a\x1b]0;evil\x07\udcff\u202e" + "x" * 10_000)
    line = read_notice(str(path))
    assert line.isprintable()
    assert len(line) == LONGEST_LINE


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    (path.parent / "secret").write_text("secret")
    path.symlink_to(path.parent / "secret")


def make_garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00" * 5_000_000)


@pytest.mark.parametrize("make", [make_folder, make_fifo, make_link, make_garbage])
def test_what_is_no_note_of_ours_neither_stops_nor_fools_a_reader(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("notice", "ALERT-nbguard.service", "stop.json"):
        folder = tmp_path / name.lower()
        folder.mkdir(mode=0o700)
        make(folder / name)
        said = read_notice(str(folder / name))
        assert "secret" not in said
        assert len(said) <= LONGEST_LINE
        assert read_stop(str(folder / name)) is None
        assert all("secret" not in failed.reason for failed in failed_units(str(folder)))


STOPS = [
    ("an upgrade, a minute ago", Why.UPGRADE, 60.0, "boot", None, True),
    ("an upgrade that never ended", Why.UPGRADE, UPGRADE_SECONDS + 1, "boot", None, False),
    ("an upgrade before the machine was started again", Why.UPGRADE, 60.0, "another", None, False),
    ("uninstalled, long ago, many boots ago", Why.UNINSTALLED, 9e9, "another", None, True),
    ("the daemon of before the stop", Why.UNINSTALLED, 60.0, "boot", -60.0, True),
    ("a daemon that began after the stop went by itself", Why.UNINSTALLED, 60.0, "boot", 1.0, False),
    ("so did one that began after the upgrade", Why.UPGRADE, 60.0, "boot", 1.0, False),
]


@pytest.mark.parametrize(
    ("why", "seconds", "boot", "began", "is_excused"), [case[1:] for case in STOPS], ids=[case[0] for case in STOPS]
)
def test_a_stop_of_our_own_excuses_a_daemon_for_its_time(
    tmp_path: Path, why: Why, seconds: float, boot: str, began: float | None, is_excused: bool
) -> None:
    path = str(tmp_path / "state" / "stop.json")
    record_stop(path, RecordedStop(why=why, at=AT, boot="boot", boottime_ns=5_000_000_000))
    stop = read_stop(path)
    assert stop == RecordedStop(why=why, at=AT, boot="boot", boottime_ns=5_000_000_000)
    since = None if began is None else AT + timedelta(seconds=began)
    now_ns = 5_000_000_000 + int(seconds * 1e9)
    assert excuses(stop, began=since, boot=boot, boottime_ns=now_ns) is is_excused
    forget_stop(path)
    assert not excuses(read_stop(path), began=None, boot="boot", boottime_ns=now_ns)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"why": "holiday"}', '{"why": "upgrade", "at": "yesterday"}', "[" * 100_000]
)
def test_a_stop_that_cannot_be_read_excuses_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "stop.json").write_text(text)
    assert read_stop(str(tmp_path / "stop.json")) is None
