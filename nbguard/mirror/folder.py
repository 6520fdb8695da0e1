"""A mirror that is a folder: made private, and looked at before it is used (through Patience: its disk may hang)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from nbguard.durable import fsync_file, fsync_folder, unlink_quietly
from nbguard.errors import ArchiveTrouble, Refused, storage_trouble
from nbguard.git import GitFolder
from nbguard.mirror.child import MirrorTrouble
from nbguard.mirror.layout import MARK, Namespace

_CONFIGURATION = (
    ("core.fsync", "all"),
    ("core.compression", "1"),
    ("core.hooksPath", "/dev/null"),
    ("core.logAllRefUpdates", "false"),
    ("receive.denyDeletes", "true"),
    ("receive.fsckObjects", "true"),
    # A heartbeat alone stays three loose files, which git removes in time; versions stay the packs they came in.
    ("receive.unpackLimit", "5"),
    ("gc.bigPackThreshold", "128m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "32m"),
    ("pack.deltaCacheSize", "8m"),
    ("core.bigFileThreshold", "8m"),
)

_FULL_BYTES = 1_000_000


def make_mirror(path: str) -> None:
    """A bare repository at ``path``, where nothing or an empty folder is; its parent must be there.

    It and all in it belong to us alone. Raises StorageTrouble, ArchiveTrouble.
    """
    making = f"{path}.{os.urandom(4).hex()}.new"
    branch = MARK.removeprefix("refs/heads/")
    try:
        os.mkdir(making, 0o700)
        try:
            GitFolder(making).ask("init", "--bare", "--quiet", f"--initial-branch={branch}", "--template=", making)
            with open(os.path.join(making, "config"), "a", encoding="utf-8") as file:
                for key, value in _CONFIGURATION:
                    section, _, name = key.partition(".")
                    file.write(f"[{section}]\n\t{name} = {value}\n")
            for folder, _, names in os.walk(making):
                os.chmod(folder, 0o700)
                for name in names:
                    os.chmod(os.path.join(folder, name), 0o600)
                    fsync_file(os.path.join(folder, name))
                fsync_folder(folder)
            os.rename(making, path)
            fsync_folder(os.path.dirname(path))
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    except OSError as error:
        raise storage_trouble(error, f"cannot make the mirror {path}") from error


def is_vacant(path: str) -> bool:
    """Whether a mirror can be made there: nothing is, or an empty folder. Raises OSError."""
    try:
        return not os.listdir(path)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def check_folder(path: str) -> None:
    """Raises MirrorTrouble when no bare repository is there, Refused when it is not to be trusted.

    Who owns a repository decides what git runs in it; objects that it borrows are no copy.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        hint = "see that its disk is mounted; it is made by `nbguard mirror add` alone"
        raise MirrorTrouble(f"{path} is not there", hint=hint) from None
    except OSError as error:
        raise MirrorTrouble(f"{path}: {error.strerror}", hint="see that its disk is in order") from error
    if not all(os.path.exists(os.path.join(path, part)) for part in ("HEAD", "objects", "config")):
        raise MirrorTrouble(f"{path} is no bare git repository", hint="see that the right disk is mounted there")
    if status.st_uid not in (os.getuid(), 0):
        raise Refused(
            f"{path} belongs to another user, whose git configuration could run programs as you",
            hint="use a repository of your own there, or reach this one by ssh://",
        )
    if os.path.exists(os.path.join(path, "objects", "info", "alternates")):
        raise Refused(f"{path} borrows objects from elsewhere: it is no copy", hint="use a repository that is whole")


def make_durable(path: str, namespace: Namespace) -> None:
    """Folders that git left to the disk's pleasure (it fsyncs files alone). Raises MirrorTrouble."""
    for part in ("objects/pack", os.path.dirname(namespace.main), os.path.dirname(os.path.dirname(namespace.main))):
        try:
            fsync_folder(os.path.join(path, part))
        except FileNotFoundError:
            continue  # its owner packed the refs away
        except OSError as error:
            raise MirrorTrouble(f"{path}: {error.strerror}", hint="see that its disk is in order") from error


def remove_stale_locks(path: str, namespace: Namespace, older_than: float) -> None:
    """git's own locks in our namespace that a killed push left (nobody else pushes there, and none lasts so long):
    they would stop every later one. ``older_than`` is in seconds since 1970."""
    folder = os.path.join(path, os.path.dirname(namespace.main))
    try:
        with os.scandir(folder) as entries:
            stale = [
                entry.path
                for entry in entries
                if entry.name.endswith(".lock") and entry.stat(follow_symlinks=False).st_mtime < older_than
            ]
        for lock in stale:
            unlink_quietly(lock)
    except OSError:
        return  # the push says what is wrong with the disk


def refuse_within(path: str, folders: Iterable[tuple[str, str]]) -> None:
    """Raises Refused when a mirror at ``path`` would lie in one of our folders, or one of them in it.

    ``folders`` are (what it is, path).
    """
    real = os.path.realpath(path)
    for what, folder in folders:
        other = os.path.realpath(folder)
        if _holds(other, real) or (_holds(real, other) and what != "a watched folder"):
            raise Refused(
                f"{path} and {what} ({folder}) lie in each other", hint="a mirror is of use on another disk or machine"
            )


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def shares_file_system(archive: str, roots: Iterable[str]) -> bool:
    """Whether the archive lies on a file system that holds notebooks: what destroys them takes it with them."""
    device = _device(archive)
    return device is not None and any(_device(root) == device for root in roots)


def _device(path: str) -> int | None:
    while True:
        try:
            return os.stat(path).st_dev
        except (FileNotFoundError, NotADirectoryError):
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above
        except OSError:
            return None


def device_of(path: str) -> str:
    """Which file system a folder is on, in words that change when another one, or none, comes to be there."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"error {error.errno}"
    return f"device {status.st_dev}"


def trouble_of_disk(path: str) -> str:
    """What is wrong with the disk under a mirror, in words; "" when nothing can be seen."""
    try:
        answer = os.statvfs(path)
    except OSError as error:
        return f"its disk: {error.strerror}"
    if answer.f_flag & os.ST_RDONLY:
        return "its disk is read-only"
    if answer.f_bavail * answer.f_frsize < _FULL_BYTES:
        return "its disk is full"
    return "its disk has no inodes left" if answer.f_files and not answer.f_favail else ""


def trouble_of(error: OSError) -> ArchiveTrouble:
    """An error of our own disk, met while a mirror was tried."""
    found = storage_trouble(error, "cannot prepare what is pushed")
    return ArchiveTrouble(found.message, hint=found.hint, code=found.code)
