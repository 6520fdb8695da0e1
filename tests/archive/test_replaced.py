"""Another repository in the archive's place is not taken for it; a copy of ours is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nbguard.errors import NoArchive
from tests.archive.rig import Rig


def _with_two_versions(base: Path) -> Rig:
    rig = Rig(base)
    rig.save("/n.ipynb", b"packed")
    rig.packer.pack()
    rig.save("/n.ipynb", b"spooled")
    return rig


def _fresh_repository(place: str, base: Path) -> None:
    subprocess.run(["git", "init", "--bare", "--quiet", place], check=True, capture_output=True)


def _archive_of_another(place: str, base: Path) -> None:
    other = _with_two_versions(base / "other")
    shutil.move(other.archive.folder, place)


@pytest.mark.parametrize("put", [_fresh_repository, _archive_of_another])
def test_another_repository_is_neither_read_nor_written_and_nothing_leaves_the_spool(
    tmp_path: Path, put: object
) -> None:
    rig = _with_two_versions(tmp_path / "home")
    shutil.move(rig.archive.folder, tmp_path / "ours.git")
    assert callable(put)
    put(rig.archive.folder, tmp_path)
    for refused in (rig.archive.require, rig.archive.ensure, rig.packer.pack):
        with pytest.raises(NoArchive, match="not the archive that was made here"):
            refused()
    assert len(rig.spool.drafts()) == 1
    shutil.rmtree(rig.archive.folder)
    shutil.move(tmp_path / "ours.git", rig.archive.folder)
    assert rig.packer.pack().versions == 1


def test_a_clone_of_ours_put_in_its_place_goes_on(tmp_path: Path) -> None:
    rig = _with_two_versions(tmp_path / "home")
    copy = str(tmp_path / "copy.git")
    subprocess.run(["git", "clone", "--quiet", "--mirror", rig.archive.folder, copy], check=True, capture_output=True)
    shutil.rmtree(rig.archive.folder)
    shutil.move(copy, rig.archive.folder)
    assert not rig.archive.ensure()
    assert rig.packer.pack().versions == 1
