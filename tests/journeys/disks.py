"""Small disks that come and go, fill up and fail: tmpfs mounts and what a root user must not be able to do."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2  # FS_IOC_SHUTDOWN

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")

# Put before a command, it obeys permission bits even when it is root's.
PLAIN_USER = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    if os.geteuid() == 0 and shutil.which("setpriv")
    else ()
)


class Disk:
    """A tmpfs at a folder; ``options`` as of mount: size=4m, nr_inodes=50, ro."""

    def __init__(self, at: Path, options: str = "size=16m") -> None:
        self.at = at
        self._options = options
        at.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        _run("mount", "-t", "tmpfs", "-o", f"mode=700,{self._options}", "nbguard-test", str(self.at))

    def remount(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", str(self.at))

    @contextmanager
    def away(self, folder: Path) -> Generator[None]:
        """Unmounted for everybody who looks, and as it was after the block; ``folder`` is where it is meanwhile."""
        folder.mkdir(exist_ok=True)
        _run("mount", "--move", str(self.at), str(folder))
        try:
            yield
        finally:
            _run("mount", "--move", str(folder), str(self.at))


@contextmanager
def disk(at: Path, options: str = "size=16m") -> Generator[Disk]:
    """A mounted disk until the block ends, wherever it was moved."""
    mounted = Disk(at, options)
    try:
        yield mounted
    finally:
        while subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True).returncode == 0:
            pass


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class BreakableDisk:
    """An ext4 on a loop device that can be made to fail like a disk that is pulled out, and be put in again."""

    def __init__(self, at: Path, image: Path) -> None:
        self.at = at
        self._image = image
        self._device = ""
        at.mkdir(parents=True, exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(24_000_000)
        _run("mkfs.ext4", "-q", str(image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.at))
        self.at.chmod(0o700)

    def fail(self) -> None:
        """Every read and write fails from now on; what was not synced is lost."""
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def mend(self) -> None:
        """Mount it anew, by a device of its own: the emergency place lies on it, and somebody may hold it open."""
        _run("umount", "-l", str(self.at))
        said = subprocess.run(
            ["losetup", "--find", "--show", str(self._image)], check=True, capture_output=True, text=True
        )
        self._device = said.stdout.strip()
        _run("mount", self._device, str(self.at))
        self.at.chmod(0o700)

    def forget(self) -> None:
        """Give back what mending took."""
        if self._device:
            _run("losetup", "--detach", self._device)


@contextmanager
def broken_disk(at: Path, image: Path) -> Generator[BreakableDisk]:
    """A disk that will break, until the block ends."""
    disk = BreakableDisk(at, image)
    try:
        yield disk
    finally:
        while subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True).returncode == 0:
            pass
        disk.forget()
