"""Many notebooks are not where they were: nothing is taken for deleted that was not, and all of it comes back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.journeys.disks import PLAIN_USER, disk, needs_root
from tests.journeys.guarded import Guarded, guarding

_MANY = 500


class Place:
    """One daemon over several roots, so that what happens to one is seen not to touch the others."""

    def __init__(self, base: Path, guard: Guarded) -> None:
        self.base = base
        self.guard = guard
        self.calm = base / "calm"

    def nothing_was_recorded_as_deleted(self) -> None:
        assert self.guard.list("--deleted") == []

    def the_others_are_still_watched(self) -> None:
        path = self.calm / "calm.ipynb"
        path.write_bytes(notebook_bytes(f"again {len(self.guard.log(path))}"))
        self.guard.until_kept(path, path.read_bytes())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    base = tmp_path_factory.mktemp("disappearance")
    roots = [base / name for name in ("calm", "mounted", "partly", "closed", "renamed", "many")]
    with guarding(base, *roots, before=PLAIN_USER) as guard:
        place = Place(base, guard)
        (place.calm / "calm.ipynb").write_bytes(notebook_bytes("calm"))
        yield place


@pytest.mark.root
@needs_root
def test_an_unmounted_root_is_lost_and_its_notebooks_are_not_deleted(place: Place) -> None:
    root, guard = place.base / "mounted", place.guard
    with disk(root) as mounted:
        path = root / "a.ipynb"
        path.write_bytes(notebook_bytes("on another disk"))
        guard.until_kept(path, path.read_bytes())
        with mounted.away(place.base / "aside"):
            assert not path.exists()
            guard.until_code("root-gone", below=root)
            place.the_others_are_still_watched()
            place.nothing_was_recorded_as_deleted()
        guard.until_no_code("root-gone", below=root)
        path.write_bytes(notebook_bytes("mounted again"))
        guard.until_kept(path, path.read_bytes())
        assert [row["status"] for row in guard.log(path)] == ["ok", "ok"]


@pytest.mark.root
@needs_root
def test_an_unmounted_folder_below_a_root_is_out_of_reach_and_its_notebooks_are_not_deleted(place: Place) -> None:
    root, guard = place.base / "partly", place.guard
    beside = root / "beside.ipynb"
    beside.write_bytes(notebook_bytes("beside"))
    guard.until_kept(beside, beside.read_bytes())
    below = root / "usb"
    with disk(below) as stick:
        path = below / "a.ipynb"
        path.write_bytes(notebook_bytes("on a stick"))
        guard.until_kept(path, path.read_bytes())
        with stick.away(place.base / "aside"):
            assert not path.exists()
            guard.until_code("unreachable", below=root)
            place.nothing_was_recorded_as_deleted()
            beside.write_bytes(notebook_bytes("beside, meanwhile"))
            guard.until_kept(beside, beside.read_bytes())
        path.write_bytes(notebook_bytes("on a stick, plugged in again"))
        guard.until_kept(path, path.read_bytes())
        guard.until_no_code("unreachable", below=root)
        assert [row["status"] for row in guard.log(path)] == ["ok", "ok"]


def test_notebooks_in_a_folder_without_permissions_are_out_of_reach_not_deleted(place: Place) -> None:
    root, guard = place.base / "closed", place.guard
    path = root / "private" / "a.ipynb"
    path.parent.mkdir()
    path.write_bytes(notebook_bytes("private"))
    guard.until_kept(path, path.read_bytes())
    path.parent.chmod(0)
    try:
        refused = subprocess.run([*PLAIN_USER, "ls", str(path.parent)], check=False, capture_output=True)
        assert refused.returncode != 0, "the fault fired"
        guard.until_code("unreachable", below=root)
        place.nothing_was_recorded_as_deleted()
        root.chmod(0)
        guard.until_code("root-unreadable", below=root)
        place.the_others_are_still_watched()
        place.nothing_was_recorded_as_deleted()
    finally:
        root.chmod(0o755)
        path.parent.chmod(0o755)
    guard.until_no_code("unreachable", below=root)
    guard.until_no_code("root-unreadable", below=root)
    path.write_bytes(notebook_bytes("readable again"))
    guard.until_kept(path, path.read_bytes())
    assert [row["status"] for row in guard.log(path)] == ["ok", "ok"]


def test_a_root_that_is_renamed_removed_and_made_again_is_watched_again(place: Place) -> None:
    root, guard = place.base / "renamed", place.guard
    path = root / "a.ipynb"
    path.write_bytes(notebook_bytes("first"))
    guard.until_kept(path, path.read_bytes())
    root.rename(place.base / "elsewhere")
    guard.until_code("root-gone", below=root)
    place.nothing_was_recorded_as_deleted()
    shutil.rmtree(place.base / "elsewhere")
    root.mkdir()
    guard.until_no_code("root-gone", below=root)
    other = root / "b.ipynb"
    other.write_bytes(notebook_bytes("of the new folder"))
    guard.until_kept(other, other.read_bytes())
    assert guard.nbguard("restore", str(path)).code == 0
    assert path.read_bytes() == notebook_bytes("first")
    guard.until_kept(path, path.read_bytes())


def test_500_notebooks_deleted_at_once_are_held_and_come_back_with_one_command(place: Place, tmp_path: Path) -> None:
    root, guard = place.base / "many", place.guard
    contents = {f"project-{n % 10}/n{n:03}.ipynb": notebook_bytes(f"number = {n}") for n in range(_MANY)}
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    poll(lambda: len(guard.list()) >= _MANY, 60, every=0.5)
    before = datetime.now(UTC).isoformat()
    for folder in root.iterdir():
        shutil.rmtree(folder)
    assert list(root.iterdir()) == []
    found = guard.until_code("mass-deletion", 90)
    assert str(_MANY) in found["message"]
    assert "restore --all" in found["hint"]
    place.nothing_was_recorded_as_deleted()

    answer = guard.nbguard("restore", "--all", "--at", before, "--to", str(tmp_path / "rescued"), "--json")
    assert answer.code == 0, answer.talk
    back = {Path(item["path"]): Path(item["written_to"]) for item in answer.json["restored"]}
    for name, data in contents.items():
        assert back[root / name].read_bytes() == data
    for name in contents:
        (root / name).parent.mkdir(exist_ok=True)
        back[root / name].rename(root / name)
    guard.until_no_code("mass-deletion", seconds=90)
    place.nothing_was_recorded_as_deleted()


def test_a_root_taken_out_of_the_configuration_is_unwatched_and_not_deleted(place: Place) -> None:
    guard = place.guard
    path = place.base / "closed" / "kept.ipynb"
    path.write_bytes(notebook_bytes("kept"))
    guard.until_kept(path, path.read_bytes())
    assert guard.stop() == 0
    guard.roots = [root for root in guard.roots if root != path.parent]
    guard.configure()
    guard.start()
    path.unlink()
    place.the_others_are_still_watched()
    place.nothing_was_recorded_as_deleted()
    assert [row["status"] for row in guard.log(path)] == ["ok"]
    assert guard.nbguard("restore", str(path)).code == 0
    assert path.read_bytes() == notebook_bytes("kept")
