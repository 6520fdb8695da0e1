"""A folder held open while we write in it: reached without following symlinks, so nobody can redirect us midway."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from nbguard.errors import Refused
from nbguard.recover.wording import shown

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_TEMPORARY = (".nbguard-", ".tmp")
_STALE_SECONDS = 3600.0


def _temporary() -> str:
    return f"{_TEMPORARY[0]}{os.urandom(6).hex()}{_TEMPORARY[1]}"


def open_file(path: str, *, folder_fd: int | None = None) -> int | None:
    """Open a regular file for reading, without following a last symlink or waiting for a pipe; None when something
    else is there. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink; a socket
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


class Folder:
    """One open folder; every name is looked up in it and never followed. ``created`` counts the folders made."""

    def __init__(self, fd: int, path: str, created: int = 0) -> None:
        self.fd = fd
        self.path = path
        self.created = created

    @staticmethod
    def reach(path: str, *, trusted: str = "/", create: bool = False) -> Folder:
        """Open the absolute ``path``. Symlinks are followed down to ``trusted`` and refused below it, unless only
        root could have made them. Raises Refused, OSError (FileNotFoundError without ``create``)."""
        path = os.path.normpath(path)
        trusted = _nearest(path, os.path.normpath(trusted or "/"))
        fd = os.open(trusted, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        here = Folder(fd, trusted)
        try:
            for name in path[len(trusted) :].strip("/").split("/"):
                if name:
                    here._enter(name, create)
        except BaseException:
            here.close()
            raise
        return here

    def _enter(self, name: str, create: bool) -> None:
        try:
            fd = os.open(name, _OPEN_FOLDER, dir_fd=self.fd)
        except FileNotFoundError:
            if not create:
                raise
            self.make(name)
            fd = os.open(name, _OPEN_FOLDER, dir_fd=self.fd)
        except OSError:
            # ELOOP and ENOTDIR both say "symlink", depending on the system; look for ourselves.
            fd = self._through_symlink(name)
        os.close(self.fd)
        self.fd = fd
        self.path = os.path.join(self.path, name)

    def _through_symlink(self, name: str) -> int:
        whole = os.path.join(self.path, name)
        status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            return os.open(name, _OPEN_FOLDER, dir_fd=self.fd)  # raises what was wrong
        parent = os.fstat(self.fd)
        by_root = self.path == "/" or (
            os.geteuid() != 0 and status.st_uid == 0 and parent.st_uid == 0 and not parent.st_mode & 0o022
        )
        if not by_root:
            raise symlink_refused(whole)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)

    def make(self, name: str) -> None:
        """Create a folder durably; harmless when it is there. Raises OSError."""
        try:
            os.mkdir(name, dir_fd=self.fd)
        except FileExistsError:
            return
        os.fsync(self.fd)
        self.created += 1

    def status(self, name: str) -> os.stat_result | None:
        """What is at ``name``, not followed; None when nothing is."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """The bytes of a regular file. Raises Refused for anything else, OSError."""
        fd = open_file(name, folder_fd=self.fd)
        if fd is None:
            raise Refused(f"{shown(os.path.join(self.path, name))} is not a file", hint="move it away first")
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def write_new(self, data: bytes, *, like: os.stat_result | None = None) -> str:
        """Put ``data`` durably into a file with a short temporary name, with the mode and owner of ``like``; return
        the name. Raises OSError."""
        # A 255-byte notebook name leaves no room for a suffix, so the temporary name does not hold it.
        name = _temporary()
        fd = os.open(
            name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o666 if like is None else 0o600,
            dir_fd=self.fd,
        )
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                if like is not None:
                    _resemble(fd, like)
                os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException:
            self.unlink(name)
            raise
        return name

    def rename(self, source: str, target: str) -> None:
        """Rename within the folder, durably; what is at ``target`` is replaced. Raises OSError."""
        os.rename(source, target, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        os.fsync(self.fd)

    def place(self, source: str, target: str) -> bool:
        """Rename within the folder, durably, unless something is at ``target``; then False. Raises OSError."""
        try:
            os.link(source, target, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:
            return self._place_without_links(source, target)
        self.unlink(source)
        os.fsync(self.fd)
        return True

    def _place_without_links(self, source: str, target: str) -> bool:
        """FAT and some FUSE file systems have no hard links: reserve the name, then rename over the reservation."""
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.fd))
        except FileExistsError:
            return False
        self.rename(source, target)
        return True

    def second_name(self, name: str) -> str | None:
        """Another, temporary name for the same file, to look at it after it was replaced; None where impossible."""
        other = _temporary()
        try:
            os.link(name, other, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return None
        return other

    def unlink(self, name: str) -> None:
        """Unlink, if it is there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def tidy(self, newest: str) -> None:
        """Remove temporaries that a killed restore left over an hour before ``newest`` was made. Never raises."""
        try:
            made = os.stat(newest, dir_fd=self.fd, follow_symlinks=False).st_ctime
            for name in os.listdir(self.fd):
                if name.startswith(_TEMPORARY[0]) and name.endswith(_TEMPORARY[1]):
                    status = self.status(name)
                    if status is not None and stat.S_ISREG(status.st_mode) and made - status.st_ctime > _STALE_SECONDS:
                        self.unlink(name)
        except OSError:
            pass  # housekeeping: the restore itself is done

    def sync(self) -> None:
        """Make unlinks durable. Raises OSError."""
        os.fsync(self.fd)

    def close(self) -> None:
        """Give the folder back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nearest(path: str, trusted: str) -> str:
    """The trusted folder, or the nearest one above it that is there; "/" when ``path`` is not below it."""
    if path != trusted and not path.startswith(trusted.rstrip("/") + "/"):
        return "/"
    while not os.path.isdir(trusted):
        trusted = os.path.dirname(trusted)
    return trusted


def symlink_refused(path: str) -> Refused:
    """The refusal to write through a symlink, saying where it leads."""
    leads = os.path.realpath(path)
    return Refused(
        f"{shown(path)} is a symlink that leads to {shown(leads)}",
        hint="nothing was written; name a place that is no symlink with `--to`",
    )


def _resemble(fd: int, like: os.stat_result) -> None:
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
        for owner in (like.st_uid, -1):  # another user's file in a folder of ours: keep its group at least
            try:
                os.fchown(fd, owner, like.st_gid)
                break
            except PermissionError:
                continue
    os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o777)
