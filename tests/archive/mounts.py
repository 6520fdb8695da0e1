"""Disks of a test's own: tmpfs and loop-mounted ext4 and XFS, which can be filled, frozen, or lose power."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import poll

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2
IMAGE_BYTES = {"ext4": 48 << 20, "xfs": 300 << 20}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _why_not(*commands: str) -> str:
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root"
    missing = [command for command in commands if shutil.which(command, path=_PATH) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def needs_mounts(*commands: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where disks cannot be mounted."""
    reason = _why_not("mount", "umount", *commands)
    return pytest.mark.skipif(bool(reason), reason=reason or "-")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": _PATH}, timeout=120)
    assert done.returncode == 0, (command, done.stderr)


def remount(folder: Path, options: str) -> None:
    """For example ``ro``."""
    _run("mount", "-o", f"remount,{options}", str(folder))


def unmount(folder: Path) -> None:
    """Once nobody holds it any more."""

    def unmounted() -> bool:
        done = subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        return done.returncode == 0 or b"not mounted" in done.stderr

    poll(unmounted, 30)


@contextmanager
def small_disk(folder: Path, *, size: str = "4m", inodes: int = 200) -> Iterator[Path]:
    """A tmpfs of so many bytes and inodes."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        unmount(folder)


class LoopDisk:
    """A file system in a file, with a journal, mounted at ``folder``."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.image = folder.with_suffix(".img")
        self.kind = kind
        folder.mkdir(parents=True)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES[kind])
        _run(f"mkfs.{kind}", "-q", *(("-F",) if kind == "ext4" else ()), str(self.image))
        self.mount()

    def mount(self) -> None:
        """Replays the journal after a power cut."""
        _run("mount", "-o", "loop", str(self.image), str(self.folder))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and what was not flushed never will."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def remove(self) -> None:
        unmount(self.folder)
        self.image.unlink()


@contextmanager
def loop_disk(folder: Path, kind: str) -> Iterator[LoopDisk]:
    """Mounted within the block."""
    disk = LoopDisk(folder, kind)
    try:
        yield disk
    finally:
        disk.remove()
