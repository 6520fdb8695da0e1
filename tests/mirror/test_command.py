"""`nbguard mirror` and the mirror half of `setup`, as processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard import app_mirror_adding
from nbguard.watch import mounts
from tests.archive.mounts import loop_disk, needs_mounts
from tests.helpers import Answer, nbguard, notebook_bytes
from tests.mirror.rig import Rig, git, refs


@pytest.fixture
def base(home: Path) -> Path:
    """A configured installation with one version."""
    root = home / "work"
    root.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("one"))
    done = nbguard("run", "--watch", str(root), "--once")
    assert done.code == 0, done.talk
    return home


def _list() -> list[dict[str, object]]:
    found = nbguard("mirror", "list", "--json").json
    assert isinstance(found, list)
    return found


def test_add_list_sync_and_remove(base: Path) -> None:
    config = base / ".nbguard" / "config.toml"
    before = config.read_bytes()
    path = base / "disk" / "mirror.git"
    path.parent.mkdir()
    refused = nbguard("mirror", "add", str(path))
    assert refused.code == 2 and "--yes" in refused.talk and not path.exists()
    planned = nbguard("mirror", "add", str(path), "--dry-run")
    assert planned.code == 0 and not path.exists() and config.read_bytes() == before
    added = nbguard("mirror", "add", str(path), "--yes")
    assert added.code == 0, added.talk
    assert "up to date" in added.talk and config.read_bytes().startswith(before.rstrip())
    assert [ref for ref in refs(path) if ref.endswith("/main")]
    (report,) = _list()
    assert report["name"] == "disk" and report["verified_at"] and not report["trouble"]
    assert nbguard("mirror", "add", str(path), "--yes").code == 2  # it is one already

    path.rename(base / "away.git")
    failed = nbguard("mirror", "sync", "--json")
    assert failed.code == 3 and "is not there" in failed.talk and failed.json[0]["trouble"]
    assert "see that its disk is mounted" in failed.talk
    (base / "away.git").rename(path)
    assert nbguard("mirror", "sync", "disk").code == 0
    assert nbguard("mirror", "sync", "nobody").code == 1

    removed = nbguard("mirror", "remove", "disk")
    assert removed.code == 0 and "still there" in removed.talk and "within half a minute" in removed.talk
    assert config.read_bytes() == before and _list() == [] and git(path, "fsck", "--no-dangling") == ""


def test_a_mirror_among_what_it_mirrors_is_refused(base: Path) -> None:
    (base / "link").symlink_to(base / "work")
    for where in ("work/m.git", ".nbguard/m.git", ".nbguard/archive.git", "link/m.git"):
        done = nbguard("mirror", "add", str(base / where), "--yes")
        assert done.code == 1 and "lie in each other" in done.talk


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_written(base: Path) -> None:
    (base / "thesis").mkdir()
    (base / "thesis" / "a.txt").write_text("mine")
    done = nbguard("mirror", "add", str(base / "thesis"), "--yes")
    assert done.code == 1 and "no bare git repository" in done.talk and _list() == []


def test_what_is_no_address_is_wrong_usage(base: Path) -> None:
    for words in (("-x",), ("--", "ext::sh -c 'touch x'"), ("--", "ssh://a:b@host/x")):
        assert nbguard("mirror", "add", "--yes", *words).code == 2
    assert _list() == [] and not Path("x").exists()


def test_what_leaves_the_machine_is_said_and_a_secret_is_not(base: Path) -> None:
    asked = nbguard("mirror", "add", "https://ada:s3cret@127.0.0.1:1/m.git")
    assert asked.code == 2 and "becomes readable" in asked.talk
    done = nbguard("mirror", "add", "https://ada:s3cret@127.0.0.1:1/m.git", "--yes", "--name", "far")
    assert done.code == 3 and "becomes readable" in done.talk
    said = [done, nbguard("mirror", "list"), nbguard("mirror", "sync"), nbguard("mirror", "list", "--json")]
    said += [nbguard("mirror", "remove", "far", "--dry-run"), nbguard("config", "show")]
    assert not [answer for answer in said if "s3cret" in answer.out + answer.talk]
    state = base / ".nbguard" / "state"
    leaks = [path for path in state.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert not leaks
    assert os.stat(base / ".nbguard" / "config.toml").st_mode & 0o777 == 0o600


def test_without_an_archive_there_is_nothing_to_mirror(home: Path) -> None:
    assert nbguard("mirror", "add", str(home / "m.git"), "--yes").code == 10
    assert not (home / "m.git").exists()


def _setup(*words: str) -> Answer:
    return nbguard("setup", "--yes", "--no-service", *words)


def test_setup_makes_the_mirror_that_is_asked_for_and_is_content_the_second_time(base: Path) -> None:
    path = base / "disk.git"
    for _ in range(2):
        done = _setup("--mirror", str(path))
        assert done.code == 0, done.talk
        assert "same file system" not in done.talk
    assert len(_list()) == 1 and refs(path)


def test_setup_says_which_mirror_could_not_be_made_and_that_all_dies_together(base: Path) -> None:
    done = _setup("--mirror", str(base / "nowhere" / "m.git"))
    assert done.code == 3 and "nowhere" in done.talk and _list() == []
    assert "same file system" in done.talk and "mirror add" in done.talk


@pytest.mark.root
@needs_mounts("mkfs.ext4")
def test_another_disk_with_room_is_proposed_and_a_full_or_own_one_is_not(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "here")
    rig.keep("one")
    real = mounts.read_mounts
    monkeypatch.setattr(mounts, "read_mounts", lambda: [m for m in real() if m.point.startswith(str(tmp_path))])
    monkeypatch.setattr(app_mirror_adding, "_LEAST_FREE_BYTES", 1_000_000)
    assert app_mirror_adding.dies_together(rig.context)
    assert app_mirror_adding.spot_for_mirror(rig.context) is None
    with loop_disk(tmp_path / "other", "ext4") as disk:
        spot = app_mirror_adding.spot_for_mirror(rig.context)
        assert spot is not None and os.path.dirname(spot.path) == str(disk.folder)
        monkeypatch.setattr(app_mirror_adding, "_LEAST_FREE_BYTES", 1 << 50)
        assert app_mirror_adding.spot_for_mirror(rig.context) is None
