"""Writing so that it is still there after a power cut, and locks that die with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from types import TracebackType

from nbguard.errors import Busy


def fsync_folder(path: str) -> None:
    """Make renames, creations and unlinks in a folder durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: str) -> None:
    """Make a file's bytes durable. Raises OSError; after an error the same file is never trusted again."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; a short write is continued. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        view = view[written:]


def replace_durably(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """Put ``data`` at ``path`` in one step: a reader sees the old bytes or the new, also after a power cut."""
    folder, name = os.path.split(path)
    # Short on purpose: a 255-byte name has no room for a suffix.
    temporary = os.path.join(folder, f".nbguard-{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, os.path.join(folder, name))
    except BaseException:
        unlink_quietly(temporary)
        raise
    fsync_folder(folder or ".")


def read_plain(path: str, most_bytes: int, *, follow: bool = True) -> bytes:
    """A small file of ours, whatever lies in its place by now: a pipe is not waited for, a huge one is not read. Links
    are followed, unless told otherwise. Raises OSError, also for what is no plain file of that size."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", path)
        if found.st_size > most_bytes:
            raise OSError(errno.EINVAL, f"it is far too large ({found.st_size:,} bytes)", path)
        with open(fd, "rb", closefd=False) as file:
            return file.read(most_bytes)
    finally:
        os.close(fd)


def unlink_quietly(path: str) -> None:
    """Unlink, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def make_private_folder(path: str) -> None:
    """Create a folder of ours durably; it and every missing parent belong to us alone (0700, whatever the umask)."""
    missing = []
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise
        else:
            fsync_folder(os.path.dirname(folder))


class FileLock:
    """An advisory flock on a file of its own. Children that inherit :attr:`fd` keep holding it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, *, wait: bool = False) -> None:
        """Take it. Raises Busy when somebody else has it (unless ``wait``), OSError when it cannot be made."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Busy(
                    f"{self.path} is held by another process", hint="wait for it, or see `nbguard status`"
                ) from None
            raise
        self.fd = fd

    def release(self) -> None:
        """Give it back; harmless when not held."""
        if self.fd >= 0:
            # Not left to close(): a child that another thread is just starting has a copy of the descriptor until exec.
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            self.let_go()

    def let_go(self) -> None:
        """Give up our part of it: children that inherited it keep it until they end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> FileLock:
        if self.fd < 0:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            self.let_go()  # a child of ours may still be at work


def free_space(path: str) -> tuple[int, int, int]:
    """(bytes free to us, total bytes, free inodes) of the file system under ``path``. Raises OSError.

    File systems without a fixed number of inodes (btrfs) say 0 of 0; that is reported as one free.
    """
    answer = os.statvfs(path)
    inodes = answer.f_favail if answer.f_files else 1
    return answer.f_bavail * answer.f_frsize, answer.f_blocks * answer.f_frsize, inodes
