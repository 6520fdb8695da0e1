"""The emergency place: nobody can prepare it for us, read it, or have it cleaned away."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.errors import Refused
from nbguard.places import choose_outside
from nbguard.refuge.emergency import EmergencyPlace
from nbguard.refuge.notes import NAME, WipedNote, find_notes, read_note, write_note
from nbguard.refuge.words import words
from tests.powers import needs_root

NOTHING_FOR_US = 65534
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def by_somebody_else(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, NOTHING_FOR_US, NOTHING_FOR_US)


def readable_by_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def symlink(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(0o700)
    path.symlink_to(path.parent / "elsewhere")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def plain_file(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o600)


PREPARED = [
    pytest.param(by_somebody_else, "belongs to another user", marks=needs_root),
    pytest.param(readable_by_all, "can be read by others"),
    pytest.param(symlink, "is a symlink"),
    pytest.param(dangling, "is a symlink"),
    pytest.param(plain_file, "is no folder"),
]


@pytest.mark.parametrize(("prepare", "reason"), PREPARED)
def test_what_others_prepared_is_refused_and_another_name_chosen(
    tmp_path: Path, prepare: Callable[[Path], None], reason: str
) -> None:
    wanted = tmp_path / "nbguard-0-abc"
    prepare(wanted)
    with pytest.raises(Refused, match=reason):
        EmergencyPlace(str(wanted)).prepare()
    chosen = choose_outside(str(tmp_path), "nbguard-0-abc")
    assert chosen.startswith(f"{wanted}-")
    place = EmergencyPlace(chosen)
    place.prepare()
    place.close()
    assert stat.S_IMODE(os.lstat(chosen).st_mode) == 0o700
    assert choose_outside(str(tmp_path), "nbguard-0-abc") == chosen, "the next process finds the same one"


def test_a_name_that_can_be_foreseen_is_not_the_second_choice(tmp_path: Path) -> None:
    readable_by_all(tmp_path / "nbguard-0-abc")
    assert choose_outside(str(tmp_path), "nbguard-0-abc") != choose_outside(str(tmp_path), "nbguard-0-abc")


def test_a_second_name_that_others_prepared_is_passed_over(tmp_path: Path) -> None:
    for name in ("nbguard-0-abc", "nbguard-0-abc-1", "nbguard-0-abc-2"):
        readable_by_all(tmp_path / name)
    (tmp_path / "nbguard-0-abc-3").mkdir(0o700)
    assert choose_outside(str(tmp_path), "nbguard-0-abc") == str(tmp_path / "nbguard-0-abc-3")


def test_a_folder_in_which_others_could_rename_ours_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="rename"):
        EmergencyPlace(str(tmp_path / "ours")).prepare()
    assert not (tmp_path / "ours").exists()
    tmp_path.chmod(0o1777)
    place = EmergencyPlace(str(tmp_path / "ours"))
    place.prepare()
    place.close()


def test_cleaners_find_it_locked_and_fresh(tmp_path: Path) -> None:
    place = EmergencyPlace(str(tmp_path / "ours"))
    place.prepare()
    fd = os.open(place.folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):  # systemd-tmpfiles tries just this, and passes on
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    draft = Path(place.folder) / "draft"
    draft.write_bytes(b"x")
    old = 1_600_000_000 * 10**9
    for path in (draft, Path(place.folder)):
        os.utime(path, ns=(old, old))
    assert place.refresh(1_700_000_000 * 10**9) == 2
    for path in (draft, Path(place.folder)):
        assert path.stat().st_atime == 1_700_000_000
        assert path.stat().st_mtime_ns == old, "when a draft was written is told by its time of change"
    place.close()


def test_a_note_is_found_by_whoever_asks_afterwards(tmp_path: Path) -> None:
    ours, other = tmp_path / "nbguard-7-abc", tmp_path / "nbguard-7-later"
    for folder, day in ((ours, 1), (other, 2)):
        folder.mkdir(0o700)
        write_note(
            WipedNote(folder=str(folder), home="/home/ad\udcffa", at=AT.replace(day=day), package=str(folder / "p.zip"))
        )
    found = find_notes(str(tmp_path), 7)
    assert [note.folder for note in found] == [str(other), str(ours)]
    assert found[1] == read_note(str(ours))
    problem = words(found[1])
    assert (problem.code, problem.subject) == ("home-wiped", str(ours))
    assert str(ours / "p.zip") in problem.message
    assert "/home/ad\udcffa was wiped at 2026-11-01" in problem.message


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"v":1,"home":1}', b"\xff" * 10, b"[" * 50_000, b'{"home":"/h","at":"yesterday"}'],
)
def test_a_note_that_is_none_is_passed_over(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "nbguard-7-abc"
    folder.mkdir(0o700)
    (folder / NAME).write_bytes(content)
    assert find_notes(str(tmp_path), 7) == []


def test_a_note_in_a_folder_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / "nbguard-7-abc"
    folder.mkdir(0o700)
    write_note(WipedNote(folder=str(folder), home="/home/ada", at=AT))
    assert len(find_notes(str(tmp_path), 7)) == 1
    folder.chmod(0o777)
    assert find_notes(str(tmp_path), 7) == []


def test_a_package_named_in_a_note_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "nbguard-7-abc"
    folder.mkdir(0o700)
    write_note(WipedNote(folder=str(folder), home="/h", at=AT, package="/x/p.zip"))
    text = (folder / NAME).read_text()
    (folder / NAME).write_text(text.replace("p.zip", "../../etc/passwd"))
    (note,) = find_notes(str(tmp_path), 7)
    assert note.package == str(folder / "passwd")
