"""A private folder beside the target in which a package is made, and how the finished one gets its name."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from nbguard.durable import FileLock, fsync_folder, unlink_quietly
from nbguard.errors import Busy, Refused, storage_trouble

_PREFIX, _SUFFIX = ".nbguard-package-", ".tmp"
_LOCK = "lock"


class Aside:
    """Use as a context manager: the folder is removed at the end, and those of makers that were killed with it."""

    def __init__(self, target: str) -> None:
        """``target`` is absolute. Raises Refused when something is there, StorageTrouble."""
        self.target = target
        parent = os.path.dirname(target)
        refuse_existing(target)
        if not os.path.isdir(parent):
            raise Refused(f"there is no folder {_shown(parent)}", hint="make it first, or name another place with -o")
        self.folder = os.path.join(parent, f"{_PREFIX}{os.urandom(6).hex()}{_SUFFIX}")
        try:
            _remove_forsaken(parent)
            os.mkdir(self.folder, 0o700)
            self._lock = FileLock(os.path.join(self.folder, _LOCK))
            self._lock.acquire()
        except OSError as error:
            raise storage_trouble(error, f"cannot write in {_shown(parent)}") from error

    def path(self, name: str) -> str:
        """A file in the folder."""
        return os.path.join(self.folder, name)

    def place(self, name: str) -> None:
        """Give the finished file the target's name, durably; never over something. Raises Refused, StorageTrouble."""
        source = self.path(name)
        try:
            try:
                os.link(source, self.target, follow_symlinks=False)
            except FileExistsError:
                refuse_existing(self.target)
                raise
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES):
                    raise
                self._place_without_links(source)
            fsync_folder(os.path.dirname(self.target))
        except OSError as error:
            raise storage_trouble(error, f"cannot write {_shown(self.target)}") from error

    def _place_without_links(self, source: str) -> None:
        """FAT and some FUSE file systems have no hard links: reserve the name, then rename over the reservation."""
        try:
            os.close(os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            refuse_existing(self.target)
            raise
        try:
            os.rename(source, self.target)
        except OSError:
            unlink_quietly(self.target)
            raise

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.let_go()


def refuse_existing(target: str) -> None:
    """Raises Refused when something is at ``target``, be it a broken symlink."""
    if os.path.lexists(target):
        raise Refused(f"{_shown(target)} exists already", hint="nothing was written; name another file with -o")


def _remove_forsaken(parent: str) -> None:
    """Remove folders of ours whose maker was killed: nobody holds their lock any more. Raises OSError."""
    for name in os.listdir(parent):
        if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
            continue
        folder = os.path.join(parent, name)
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            continue
        lock = os.path.join(folder, _LOCK)
        if not os.path.isfile(lock) or os.path.islink(lock):  # another maker is just beginning, or died there
            continue
        try:
            with FileLock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        except (Busy, FileNotFoundError):
            continue


def _shown(path: str) -> str:
    return path if path.isprintable() else ascii(path)
