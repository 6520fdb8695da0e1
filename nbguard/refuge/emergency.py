"""The emergency place: a folder outside HOME that is ours alone, and that cleaners of temporary files leave be."""

from __future__ import annotations

import fcntl
import os
import stat

from nbguard.durable import make_private_folder
from nbguard.errors import Refused, storage_trouble
from nbguard.places import check_private


class EmergencyPlace:
    """Holds the folder while the daemon lives: a shared flock on it tells systemd-tmpfiles to leave all below it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._fd = -1

    def prepare(self) -> None:
        """Make it, or find that it is ours. Raises Refused when others could have made it or can take it away,
        StorageTrouble when it cannot be made."""
        try:
            check_parent(os.path.dirname(self.folder))
            if os.path.lexists(self.folder):
                check_private(self.folder)
            make_private_folder(self.folder)
            check_private(self.folder)
            self._hold()
        except OSError as error:
            raise storage_trouble(error, "cannot make the emergency place") from error

    def refresh(self, now_ns: int) -> int:
        """Set the access time of everything in it, so that nothing looks forgotten for a month; how many things.

        The times of change stay: they say when a draft was written. What vanishes meanwhile is passed over.
        """
        touched = 0
        for folder, _, names in os.walk(self.folder):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                try:
                    changed_ns = os.lstat(path).st_mtime_ns
                    os.utime(path, ns=(now_ns, changed_ns), follow_symlinks=False)
                except OSError:
                    continue
                touched += 1
        return touched

    def close(self) -> None:
        """Let go of it; what lies in it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _hold(self) -> None:
        if self._fd >= 0:
            here, there = os.fstat(self._fd), os.lstat(self.folder)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return
            self.close()  # it was removed, and has just been made anew
        self._fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass  # some file systems have no locks on folders: there is still the refreshing


def check_parent(folder: str) -> None:
    """Refuse a folder in which others could rename what is ours. Raises Refused; one that is not there is fine."""
    try:
        mode = os.stat(folder).st_mode
    except FileNotFoundError:
        return
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise Refused(
            f"{folder} lets others rename what is in it",
            hint=f"chmod +t {folder}, or name another folder as `emergency` in the configuration",
        )
