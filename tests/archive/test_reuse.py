"""The spool writes over the files of packed drafts, and never over bytes that anybody can still see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard.archive.reuse import FreeFiles
from nbguard.archive.spool import Reserve, SpooledDraft
from tests.archive.rig import Rig
from tests.helpers import notebook_bytes

NOTEBOOK = "/home/ada/eda.ipynb"
LONG, SHORT = notebook_bytes("x = 1\n" * 500), notebook_bytes("y = 2")


def spooled(rig: Rig) -> SpooledDraft:
    (draft,) = rig.spool.drafts()
    return draft


def inode(path: str) -> int:
    return os.stat(path).st_ino


def packed_once(rig: Rig) -> int:
    """Keep and pack a version; the inode of its file, which is free then."""
    rig.save(NOTEBOOK, LONG)
    number = inode(spooled(rig).path)
    rig.packer.pack()
    assert not rig.spool.drafts()
    assert [inode(str(path)) for path in Path(rig.places.spool, "free").iterdir()] == [number]
    return number


@pytest.mark.parametrize("data", [LONG.replace(b"x", b"z"), LONG[:-700] + LONG[-600:], LONG + b" " * 90_000], ids=len)
def test_a_packed_drafts_file_is_written_over_and_holds_the_next_version_exactly(tmp_path: Path, data: bytes) -> None:
    rig = Rig(tmp_path)
    number = packed_once(rig)
    draft = rig.save(NOTEBOOK, data)
    assert (inode(spooled(rig).path) == number) is (len(data) < 3 * len(LONG)), "the same file, unless it is far off"
    assert rig.read(draft.id) == data
    rig.packer.pack()
    assert rig.read(draft.id) == data
    assert [rig.read(version.id) for version in rig.log(NOTEBOOK)] == [data, LONG]


def test_a_reader_of_a_packed_draft_keeps_its_bytes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.save(NOTEBOOK, LONG)
    with open(spooled(rig).path, "rb") as reader:
        number = os.fstat(reader.fileno()).st_ino
        rig.packer.pack()
        rig.save(NOTEBOOK, LONG.replace(b"x", b"z"))
        assert inode(spooled(rig).path) != number
        assert reader.read().endswith(LONG)


def test_a_packed_draft_that_has_another_name_keeps_its_bytes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.save(NOTEBOOK, LONG)
    os.link(spooled(rig).path, tmp_path / "elsewhere")
    rig.packer.pack()
    rig.save(NOTEBOOK, LONG.replace(b"x", b"z"))
    assert (tmp_path / "elsewhere").read_bytes().endswith(LONG)
    assert inode(spooled(rig).path) != inode(str(tmp_path / "elsewhere"))


def test_a_free_file_that_somebody_removed_is_no_trouble(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    packed_once(rig)
    for path in Path(rig.places.spool, "free").iterdir():
        path.unlink()
    draft = rig.save(NOTEBOOK, SHORT)
    assert rig.read(draft.id) == SHORT


def test_a_link_in_a_free_files_place_is_not_followed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    packed_once(rig)
    victim = tmp_path / "victim"
    victim.write_bytes(LONG)
    (path,) = Path(rig.places.spool, "free").iterdir()
    path.unlink()
    path.symlink_to(victim)
    rig.save(NOTEBOOK, LONG.replace(b"x", b"z"))
    assert victim.read_bytes() == LONG


def test_under_pressure_free_files_go_before_a_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, reserve=Reserve(bytes=1_000_000, percent=100.0))
    packed_once(rig)
    folder = Path(rig.places.spool, "free")
    asked: list[bool] = []

    def free_while_empty(path: str) -> tuple[int, int, int]:
        asked.append(any(folder.iterdir()))
        return (0 if asked[-1] else 1 << 40), 1 << 41, 1000

    monkeypatch.setattr("nbguard.archive.spool.free_space", free_while_empty)
    draft = rig.save(NOTEBOOK, SHORT)
    assert asked == [True, False], "the disk was full, and then it was not"
    monkeypatch.undo()
    assert rig.read(draft.id) == SHORT


def test_the_next_start_removes_what_an_ended_process_left_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    packed_once(rig)
    folder = Path(rig.places.spool, "free")
    (folder / "1-abcd-7").write_bytes(b"of a process that lives")
    (folder / "999999999-abcd-7").write_bytes(b"of one that is dead")
    rig.crash()
    rig.spool.sweep_leftovers()
    assert [path.name for path in folder.iterdir()] == ["1-abcd-7"]


def test_free_files_are_bounded_in_number_and_bytes(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    free = FreeFiles(str(tmp_path))
    given = []
    for number in range(600):
        (new / str(number)).write_bytes(b"x")
        given.append((str(new / str(number)), 1 if number < 560 else 3_999_999))
    refused = free.give(str(new), given)
    assert len(refused) == 88
    assert {os.path.basename(path) for path in refused} == {str(number) for number in range(512, 600)}
    free.empty()
    assert not list((tmp_path / "free").iterdir())
    assert len(free.give(str(new), [(path, 3_999_999) for path in refused])) == 88 - 12, "48 MB"


def test_a_version_that_was_looked_up_before_it_was_packed_is_still_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    draft = rig.save(NOTEBOOK, LONG)
    library = rig.library()
    version = library.version(draft.id)
    assert version is not None
    assert version.commit is None
    rig.packer.pack()
    rig.save(NOTEBOOK, SHORT)
    rig.packer.pack()
    assert library.read(version) == LONG
    library.close()
