"""Every hostile name kept for real: exact path and bytes come back, git is content, and a mirror takes the push."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.archive.names import disk_path
from tests.archive.hostile import HOSTILE_NAMES
from tests.archive.rig import Rig, fsck, git
from tests.helpers import notebook_bytes


def mirror(rig: Rig, folder: Path) -> None:
    """Push main to a bare repository that checks what it gets."""
    to = str(folder)
    git(to, "init", "--bare", "-q", to)
    for key in ("transfer.fsckObjects", "receive.fsckObjects", "core.protectHFS", "core.protectNTFS"):
        git(to, "config", key, "true")
    git(rig.archive.folder, "push", "-q", to, "refs/heads/main")
    fsck(to)


def test_every_hostile_name_is_kept_and_given_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home")
    kept = {}
    for number, raw in enumerate(HOSTILE_NAMES):
        for place in (b"/home/" + raw, b"/deep/" + raw + b"/n.ipynb"):
            data = notebook_bytes(f"x = {number}")
            kept[rig.save(os.fsdecode(place), data).id] = (os.fsdecode(place), data)
    before = rig.answers()
    done = rig.packer.pack()
    assert done.versions == len(kept) and rig.spool.drafts() == []
    rig.fsck()
    assert rig.answers() == before
    rig.catalog.discard()
    assert rig.answers() == before
    library = rig.library()
    for identity, (path, data) in kept.items():
        version = library.version(identity)
        assert version is not None and version.path == path and library.read(version) == data
    library.close()
    assert {disk_path(os.fsdecode(path)) for path in rig.tree()} == {path for path, _ in kept.values()}
    mirror(rig, tmp_path / "mirror.git")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.binary(min_size=1, max_size=40)
        .map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
        .filter(lambda raw: raw not in (b".", b"..")),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_any_names_are_kept_and_given_back(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    rig = Rig(folder / "home")
    kept = {rig.save(os.fsdecode(b"/" + name), name).id: (os.fsdecode(b"/" + name), name) for name in names}
    rig.packer.pack()
    rig.fsck()
    library = rig.library()
    for identity, (path, data) in kept.items():
        version = library.version(identity)
        assert version is not None and version.path == path and library.read(version) == data
    library.close()
    mirror(rig, folder / "mirror.git")


def test_hundreds_of_very_long_paths_are_read_back_without_a_standstill(tmp_path: Path) -> None:
    """Their names alone are more than a pipe holds, and so are their bytes."""
    rig = Rig(tmp_path / "home")
    folder = "/" + "/".join(f"{number:02d}" + "\udcff" * 200 for number in range(15))
    data = {number: notebook_bytes(*[f"x{number} = {line}" for line in range(300)]) for number in range(220)}
    for number, content in data.items():
        rig.save(f"{folder}/{number}.ipynb", content)
    rig.packer.pack()
    assert rig.spool.drafts() == [] and len(rig.tree()) == len(data)


def test_a_notebook_replaced_by_a_folder_and_back_loses_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home")
    kept = [rig.save("/w/x.ipynb", b"file"), rig.save("/w/y.ipynb", b"other")]
    rig.packer.pack()
    rig.delete("/w/x.ipynb")
    kept.append(rig.save("/w/x.ipynb/inside.ipynb", b"inside"))
    rig.packer.pack()
    assert set(rig.tree()) == {b"notebooks/w/x.ipynb/inside.ipynb", b"notebooks/w/y.ipynb"}
    kept.append(rig.save("/w/x.ipynb", b"file again"))
    rig.delete("/w/x.ipynb/inside.ipynb")
    rig.packer.pack()
    assert set(rig.tree()) == {b"notebooks/w/x.ipynb", b"notebooks/w/y.ipynb"}
    assert [rig.read(draft.id) for draft in kept] == [b"file", b"other", b"inside", b"file again"]
    rig.fsck()


def test_people_find_a_notebook_with_git_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home")
    for number in range(3):
        rig.save("/home/ada/a b.ipynb", b"%d" % number)
    rig.packer.pack()
    log = subprocess.run(
        ["git", "-C", rig.archive.folder, "log", "--format=%s", "--", "notebooks/home/ada/a b.ipynb"],
        capture_output=True,
        check=True,
    ).stdout
    assert log.count(b"a b.ipynb: ") == 3
    shown = subprocess.run(
        ["git", "-C", rig.archive.folder, "show", "main:notebooks/home/ada/a b.ipynb"], capture_output=True, check=True
    ).stdout
    assert shown == b"2"
