"""Writing what was found below one folder of the user's choice: new files only, readable by nobody else."""

from __future__ import annotations

import os
import re
from hashlib import sha256

from nbguard.durable import fsync_folder, make_private_folder, unlink_quietly, write_all
from nbguard.errors import Refused, storage_trouble
from nbguard.rescue.survey import RESCUED

_ATTEMPTS = 10_000
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]")


class Output:
    """The folder named by ``-o``. Equal bytes are written once."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self._written: dict[tuple[str, str], str] = {}

    def prepare(self) -> None:
        """Make the folder. Raises Refused when something else is there, StorageTrouble."""
        if os.path.islink(self.folder) or (os.path.lexists(self.folder) and not os.path.isdir(self.folder)):
            raise Refused(f"{self.folder} is not a folder", hint="name another one with -o; nothing was written")
        try:
            make_private_folder(self.folder)
            if not os.path.lexists(os.path.join(self.folder, RESCUED)):
                _place(self.folder, RESCUED, b"")
        except OSError as error:
            raise storage_trouble(error, f"cannot make {self.folder}") from error

    def write(self, below: str, name: str, data: bytes) -> str:
        """Put bytes into a new file in the folder ``below`` (or "") and return its path; an existing file keeps its
        name, and ours gets a number. Raises StorageTrouble, Refused."""
        known = self._written.get((below, digest := sha256(data).hexdigest()))
        if known is not None:
            return known
        folder = os.path.join(self.folder, below) if below else self.folder
        try:
            if os.path.islink(folder):
                raise Refused(f"{folder} is a symlink", hint="name another folder with -o")
            make_private_folder(folder)
            path = _place(folder, name, data)
        except OSError as error:
            raise storage_trouble(error, f"cannot write in {folder}") from error
        self._written[(below, digest)] = path
        return path


def safe_name(text: str, most_characters: int = 80) -> str:
    """A file's name out of any text: without separators, controls, leading dots or bytes that are not UTF-8."""
    cleaned = _UNSAFE.sub("_", text).lstrip(".").strip()
    while len(cleaned.encode("utf-8", "replace")) > most_characters:
        cleaned = cleaned[:-1]
    return cleaned or "notebook"


def _place(folder: str, name: str, data: bytes) -> str:
    """Written aside, then given its name in one step, unless that is taken. Raises OSError."""
    stem, dot, suffix = name.rpartition(".")
    temporary = os.path.join(folder, f".nbguard-{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        for attempt in range(_ATTEMPTS):
            numbered = name if not attempt else f"{stem} ({attempt + 1}){dot}{suffix}"
            path = os.path.join(folder, numbered)
            if _link(temporary, path):
                fsync_folder(folder)
                return path
    finally:
        unlink_quietly(temporary)
    raise FileExistsError(17, "every name is taken", os.path.join(folder, name))


def _link(temporary: str, path: str) -> bool:
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError:  # no hard links here (FAT, some FUSE): reserve the name, then rename over the reservation
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except FileExistsError:
            return False
        os.rename(temporary, path)
    return True
