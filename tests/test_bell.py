"""Whoever rests hears of what happens in a folder, also of a folder that is yet to come; and is never held for ever."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbguard.bell import Bell
from nbguard.clock import SystemClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

LONG = 20.0
AT_ONCE = 5.0


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell(SystemClock(), gather_seconds=0.02)
    yield bell
    bell.wait(0.0)


def seconds_of(rest: Callable[[], None]) -> float:
    began = time.monotonic()
    rest()
    return time.monotonic() - began


def armed(bell: Bell, *folders: Path) -> Callable[..., float]:
    """A bell that watches these folders; calling it rests, and tells for how long."""

    def rest(seconds: float = LONG) -> float:
        return seconds_of(lambda: bell.rest([str(one) for one in folders], seconds, otherwise_seconds=0.0))

    assert rest() < AT_ONCE, "the first rest returns at once: look again"
    return rest


HAPPENINGS: list[tuple[str, Callable[[Path], object]]] = [
    ("a file comes", lambda folder: (folder / "new").touch()),
    ("a file goes", lambda folder: (folder / "file").unlink()),
    ("a file is written", lambda folder: (folder / "file").write_text("more")),
    ("a file is moved in", lambda folder: (folder.parent / "beside").rename(folder / "in")),
    ("a file may be read again", lambda folder: (folder / "file").chmod(0o640)),
    ("the folder is moved away", lambda folder: folder.rename(folder.parent / "away")),
]


@pytest.mark.parametrize(("what", "happen"), HAPPENINGS, ids=[what for what, _ in HAPPENINGS])
def test_what_happened_since_the_last_look_ends_the_rest(
    bell: Bell, tmp_path: Path, what: str, happen: Callable[[Path], object]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    (tmp_path / "beside").touch()
    rest = armed(bell, folder)
    happen(folder)
    assert rest() < AT_ONCE, what


def test_where_nothing_happens_the_rest_is_whole(bell: Bell, tmp_path: Path) -> None:
    rest = armed(bell, tmp_path)
    (tmp_path.parent / f"{tmp_path.name}-beside").touch()
    os.listdir(tmp_path)
    assert 0.3 <= rest(0.3) < AT_ONCE


def test_a_folder_that_is_not_there_is_heard_of_step_by_step_as_it_comes(bell: Bell, tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b" / "c"
    for made in (tmp_path / "a", tmp_path / "a" / "b", wanted, wanted / "file"):
        rest = armed(bell, wanted)
        made.mkdir()
        assert rest() < AT_ONCE, made
    rest = armed(bell, wanted)
    assert rest(0.1) >= 0.1, "and then it is quiet"


def test_another_folder_in_the_place_of_the_first_is_heard_as_well(bell: Bell, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    rest = armed(bell, folder)
    folder.rename(tmp_path / "before")
    folder.mkdir()
    assert rest() < AT_ONCE
    rest = armed(bell, folder)
    (tmp_path / "before" / "file").touch()
    assert rest(0.2) >= 0.2, "the first is none of ours any more"
    (folder / "file").touch()
    assert rest() < AT_ONCE


def test_where_events_do_not_reach_one_looks_as_often_as_without(tmp_path: Path) -> None:
    bell = Bell(SystemClock(), tells=lambda folder: False)
    took = seconds_of(lambda: bell.rest([str(tmp_path)], LONG, otherwise_seconds=0.2))
    assert 0.2 <= took < AT_ONCE
    assert seconds_of(lambda: bell.rest([str(tmp_path)], LONG, otherwise_seconds=0.2)) >= 0.2


def test_a_stop_ends_every_wait_also_those_to_come(bell: Bell, tmp_path: Path) -> None:
    rest = armed(bell, tmp_path)
    threading.Timer(0.1, bell.stop).start()
    assert rest() < AT_ONCE
    assert seconds_of(lambda: bell.wait(LONG)) < AT_ONCE


def test_nothing_is_left_open_by_many_rests(bell: Bell, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        rest = armed(bell, tmp_path / str(number % 2), tmp_path)
        (tmp_path / f"file-{number}").touch()
        rest()
        bell.wait(0.0)
    assert len(os.listdir("/proc/self/fd")) <= before
