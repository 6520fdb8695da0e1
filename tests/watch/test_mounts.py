"""What is mounted where."""

from __future__ import annotations

import pytest

from nbguard.watch.mounts import (
    Mount,
    is_remote,
    mount_of,
    mounts_touching,
    parse_mounts,
    read_mounts,
    remote_below,
    remote_kind,
)

TEXT = rb"""22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:44 / /home/ada/my\040data rw master:2 propagate_from:1 - nfs4 server:/data rw,vers=4.2
41 28 0:45 / /srv/\377\134x rw - fuse.sshfs host: rw
not a line
"""
MOUNTS = parse_mounts(TEXT)


def test_mountinfo_is_read_with_its_escapes() -> None:
    assert [mount.point for mount in MOUNTS] == ["/proc", "/", "/home/ada/my data", "/srv/\udcff\\x"]
    assert [mount.kind for mount in MOUNTS] == ["proc", "ext4", "nfs4", "fuse.sshfs"]


def test_a_path_lies_on_the_nearest_mount_and_the_latest_of_two() -> None:
    assert mount_of("/home/ada/my data/x", MOUNTS) == MOUNTS[2]
    assert mount_of("/home/ada/my database", MOUNTS) == MOUNTS[1]
    over = Mount("/home/ada/my data", "tmpfs", 99)
    assert mount_of("/home/ada/my data/x", (*MOUNTS, over)) == over


def test_a_network_folder_is_polled_also_below_a_local_root() -> None:
    assert remote_kind("/home/ada/my data/deep", MOUNTS) == "nfs4"
    assert remote_kind("/home/ada", MOUNTS) is None
    assert remote_below("/home/ada", MOUNTS) == (MOUNTS[2],)
    assert remote_below("/home/ada/my data", MOUNTS) == ()


def test_mounts_above_and_below_touch_a_root() -> None:
    assert mounts_touching("/home", MOUNTS) == {MOUNTS[1], MOUNTS[2]}
    assert mounts_touching("/home/ada/my data/x", MOUNTS) == {MOUNTS[1], MOUNTS[2]}


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuseblk", "9p", "afs", "virtiofs"])
def test_file_systems_that_change_from_elsewhere_are_remote(kind: str) -> None:
    assert is_remote(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "f2fs", "vfat"])
def test_local_file_systems_have_events(kind: str) -> None:
    assert not is_remote(kind)


def test_this_machine_has_a_root_mount() -> None:
    assert mount_of("/", read_mounts()) is not None
