"""The doctor's rules, as tables: this machine, that finding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbguard.health.findings import (
    Access,
    Folder,
    of_access,
    of_clock,
    of_folders,
    of_git,
    of_inotify,
    of_packages,
    of_python,
    of_servers,
)

ARCHIVE = Folder(
    role="archive",
    path="/home/ada/archive.git",
    kind="ext4",
    is_remote=False,
    device=1,
    free_bytes=10**11,
    free_inodes=10**6,
    reserve_bytes=256_000_000,
    is_ours=True,
)
ROOT = replace(ARCHIVE, role="root", path="/home/ada/work", device=2, is_ours=False)


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        (of_python((3, 11, 7)), "ok", "3.11.7"),
        (of_python((3, 10, 1)), "wrong", "3.10.1"),
        (of_git(None, ()), "wrong", "not on PATH"),
        (of_git("/usr/bin/git", (2, 35, 9)), "wrong", "2.35.9"),
        (of_git("/usr/bin/git", (2, 36)), "ok", "2.36"),
        (of_packages({"click": "8.1", "psutil": None}), "wrong", "psutil"),
        (of_packages({"click": "8.1"}), "ok", "click 8.1"),
        (of_inotify(10, counted_all=True, watches=None, instances=None), "ok", "no inotify"),
        (of_inotify(10, counted_all=True, watches=100, instances=128), "ok", "10 folders"),
        (of_inotify(81, counted_all=True, watches=100, instances=128), "note", "81 folders"),
        (of_inotify(10, counted_all=False, watches=100, instances=128), "note", "over 10 folders"),
        (of_inotify(101, counted_all=True, watches=100, instances=128), "wrong", "101 folders"),
        (of_inotify(10, counted_all=True, watches=100, instances=8), "note", "8 watchers"),
        (of_clock(None, 2026), "ok", "evenly"),
        (of_clock(-3.0, 2026), "ok", "evenly"),
        (of_clock(None, 1970), "wrong", "1970"),
        (of_clock(7200.0, 2026), "wrong", "forward by 7200"),
        (of_clock(-7200.0, 2026), "wrong", "back by 7200"),
        (of_servers(0), "ok", "no Jupyter servers"),
        (of_servers(1), "ok", "1 Jupyter server of"),
    ],
)
def test_this_machine_gives_that_finding(finding: object, level: str, words: str) -> None:
    assert getattr(finding, "level") == level  # noqa: B009 - the table holds findings of every check
    assert words in getattr(finding, "message")  # noqa: B009


@pytest.mark.parametrize(
    ("name", "folders", "wrong", "noted"),
    [
        ("all on local disks", [ROOT, ARCHIVE], [], []),
        ("one disk for both", [replace(ROOT, device=1), ARCHIVE], [], ["same-disk"]),
        ("notebooks on the network", [replace(ROOT, kind="nfs4", is_remote=True), ARCHIVE], [], ["file-system"]),
        ("the archive on the network", [ROOT, replace(ARCHIVE, kind="nfs4", is_remote=True)], [], ["file-system"]),
        ("a full disk", [ROOT, replace(ARCHIVE, free_bytes=1000)], ["space"], []),
        ("no inodes", [ROOT, replace(ARCHIVE, free_inodes=0)], ["space"], []),
        ("a file system without inode counts", [ROOT, replace(ARCHIVE, free_inodes=1)], [], []),
        ("the notebooks' own disk is not our business", [replace(ROOT, free_bytes=0), ARCHIVE], [], []),
    ],
)
def test_folders_are_judged_by_where_they_lie(
    name: str, folders: list[Folder], wrong: list[str], noted: list[str]
) -> None:
    findings = list(of_folders(folders))
    assert [each.check for each in findings if each.level == "wrong"] == wrong
    assert [each.check for each in findings if each.level == "note"] == noted
    assert all(each.hint for each in findings if each.level != "ok")


def test_one_disk_for_both_is_no_matter_where_there_is_a_mirror() -> None:
    assert [each for each in of_folders([replace(ROOT, device=1), ARCHIVE], is_mirrored=True) if each.hint] == []


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(path="/a", mode=0o700, owner=1, wanted=0o700, is_link=False), "owner alone"),
        (Access(path="/a", mode=0o755, owner=1, wanted=0o700, is_link=False), "(0755)"),
        (Access(path="/a", mode=0o644, owner=1, wanted=0o600, is_link=False), "(0644)"),
        (Access(path="/a", mode=0o700, owner=2, wanted=0o700, is_link=False), "another user"),
        (Access(path="/a", mode=0o777, owner=1, wanted=0o700, is_link=True), "symlink"),
    ],
)
def test_what_others_can_open_is_named(access: Access, words: str) -> None:
    (finding,) = of_access([access], 1)
    assert words in finding.message
