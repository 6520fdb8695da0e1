"""Everything as it was: mirrored below one folder, never outside it, and going on past failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard.errors import ArchiveTrouble, Refused
from nbguard.model import Version
from nbguard.recover.everything import GivenBack, NotGivenBack, colliding, destination, restore_everything
from tests.helpers import notebook_bytes
from tests.library import START, MemoryLibrary


def restore(library: MemoryLibrary, to: Path) -> tuple[list[GivenBack], list[NotGivenBack]]:
    calls: list[tuple[int, int]] = []
    versions = library.everything_at(library.now)
    answer = restore_everything(
        versions, str(to), library=library, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (len(versions), len(versions))
    return answer


def test_paths_are_mirrored_byte_for_byte(tmp_path: Path) -> None:
    library = MemoryLibrary()
    names = ["a.ipynb", "sub/a.ipynb", "-x\n.ipynb", "\udcff.ipynb", "x" * 249 + ".ipynb"]
    for name in names:
        library.add(f"/home/ada/{name}", notebook_bytes(str(len(name))))
    library.add("/home/ada/gone.ipynb", notebook_bytes("gone"))
    library.delete("/home/ada/gone.ipynb")
    done, failed = restore(library, tmp_path / "out")
    assert failed == []
    assert len(done) == len(names)
    for name in names:
        assert (tmp_path / "out/home/ada" / name).read_bytes() == notebook_bytes(str(len(name)))


def test_only_what_was_there_at_that_time(tmp_path: Path) -> None:
    library = MemoryLibrary()
    early = library.add("/w/a.ipynb", notebook_bytes("early"), at=START)
    library.add("/w/a.ipynb", notebook_bytes("late"))
    library.add("/w/b.ipynb", notebook_bytes("later"))
    assert library.everything_at(START) == [early]


def test_running_it_again_continues_and_overwrites_nothing(tmp_path: Path) -> None:
    library = MemoryLibrary()
    library.add("/w/a.ipynb", notebook_bytes("a"))
    other = library.add("/w/b.ipynb", notebook_bytes("b"))
    restore(library, tmp_path)
    (tmp_path / "w/b.ipynb").write_bytes(b"mine")
    done, failed = restore(library, tmp_path)
    assert failed == []
    assert [item.already for item in done] == [True, False]
    assert (tmp_path / "w/b.ipynb").read_bytes() == b"mine"
    assert done[1].written_to == str(tmp_path / "w" / f"b.{other.id[:8]}.ipynb")


def test_a_folder_where_a_notebook_should_be_is_gone_around(tmp_path: Path) -> None:
    library = MemoryLibrary()
    library.add("/w/a.ipynb", notebook_bytes("a"))
    (tmp_path / "w/a.ipynb").mkdir(parents=True)
    done, failed = restore(library, tmp_path)
    assert failed == []
    assert Path(done[0].written_to).read_bytes() == notebook_bytes("a")


def test_no_symlink_below_it_is_followed_and_the_rest_is_given_back(tmp_path: Path) -> None:
    library = MemoryLibrary()
    library.add("/w/deep/a.ipynb", notebook_bytes("a"))
    library.add("/w/b.ipynb", notebook_bytes("b"))
    library.add("/w/c.ipynb", notebook_bytes("c"))
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"untouched")
    (out / "w").mkdir(parents=True)
    (out / "w/deep").symlink_to(outside)
    (out / "w/b.ipynb").symlink_to(outside / "victim")
    done, failed = restore(library, out)
    assert [item.version.path for item in failed] == ["/w/deep/a.ipynb"]
    assert isinstance(failed[0].error, Refused)
    assert sorted(item.version.path for item in done) == ["/w/b.ipynb", "/w/c.ipynb"]
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_bytes() == b"untouched"


def test_what_cannot_be_read_is_listed_and_the_rest_given_back(tmp_path: Path) -> None:
    library = MemoryLibrary()
    broken = library.add("/w/a.ipynb", notebook_bytes("a"))
    library.add("/w/b.ipynb", notebook_bytes("b"))
    fired = []
    read = library.read

    def failing(version: Version) -> bytes:
        if version.id == broken.id:
            fired.append(version)
            raise ArchiveTrouble("it is not what was kept")
        return read(version)

    library.read = failing  # type: ignore[method-assign]
    done, failed = restore(library, tmp_path)
    assert fired
    assert [item.version for item in failed] == [broken]
    assert [item.version.path for item in done] == ["/w/b.ipynb"]


@pytest.mark.parametrize("path", ["/a/../b.ipynb", "/a/./b.ipynb", "//b/..", "/a//b.ipynb", "/", "/a\0b.ipynb"])
def test_a_path_that_would_leave_the_folder_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        destination("/out", path)


def test_a_taken_name_of_255_bytes_still_fits() -> None:
    assert len(os.fsencode(colliding("é" * 124 + ".ipynb", "0" * 32))) <= 255
