#!/usr/bin/env python3
"""Look into a recovery package, check it, or unpack it. Needs nothing but Python 3.8 or newer.

    python3 restore.py                    what is in it
    python3 restore.py --verify           is every file in it as it was written?
    python3 restore.py --to FOLDER        unpack every file, checked, below FOLDER
    python3 restore.py --verify FILE.zip  the same for a package that lies elsewhere

Without ZIP or DIR it takes the folder or the zip it lies in. Nothing is ever overwritten and no symbolic link is
followed below FOLDER. It ends with 0 when all is well, else with 1.
"""

# This file is shipped in every package as it stands here: Python 3.8, standard library only. It trusts neither the zip
# nor the manifest: both may come from a stranger.

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import zipfile
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "MANIFEST.json"
SEAL = b"nbguard package; SHA-256 of everything before: "
"""The zip ends with this and 64 hex digits, so that a flipped bit is seen wherever it is."""
TOP_FILES = (MANIFEST, "READ-ME-FIRST.txt", "index.html", "restore.py", "__main__.py")
TOP_FOLDERS = ("notebooks", "versions", "rebuilt", "executed", "databases", "pages", "bundle")
"""Nothing else is unpacked: a hostile package must not be able to leave a `.bashrc`."""

_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 28
_LONGEST_PATH_BYTES = 4000
_LONGEST_NAME_BYTES = 255
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_REFUSED = re.compile('[\\x00-\\x1f\\x7f-\\x9f\\\\:*?"<>|\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]')
_HEX = re.compile("[0-9a-f]{64}")
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_HAS_FOLDER_FDS = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd and bool(_NO_FOLLOW)


class Trouble(Exception):
    """Something is not as it should be; the text says what."""


class Member(NamedTuple):
    """One file of a package as the manifest has it."""

    path: str
    size: int
    sha256: str
    time: str
    original: str


# -- names --------------------------------------------------------------------------------------------------------


def why_refused(name: str) -> str:
    """Why a file of this name is neither written into a package nor unpacked from one; '' when it may be."""
    parts = name.split("/")
    found = ""
    if not name or name.startswith("/"):
        found = "it is not a relative path"
    elif _REFUSED.search(name):
        found = "it holds characters that no path here has"
    elif len(name.encode("utf-8")) > _LONGEST_PATH_BYTES:
        found = "it is too long"
    elif parts[0] not in (TOP_FILES if len(parts) == 1 else TOP_FOLDERS):
        found = "packages have nothing at that place"
    else:
        found = next((why for why in map(_why_part_refused, parts) if why), "")
    return found


def _why_part_refused(part: str) -> str:
    if part in ("", ".", ".."):
        return "it leaves its folder"
    if len(part.encode("utf-8")) > _LONGEST_NAME_BYTES:
        return "a part of it is too long"
    if part.endswith((".", " ")) or _DEVICES.fullmatch(part):
        return "a part of it means something else on Windows"
    if part.lower() == ".git":
        return "a part of it belongs to git"
    return ""


def shown(text: str) -> str:
    """Text that is safe to print: one line, no terminal escapes."""
    return text if text.isprintable() else ascii(text)[1:-1]


# -- packages -----------------------------------------------------------------------------------------------------


class ZipPackage:
    """A package as it was made: one zip."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise Trouble(f"there is no {shown(path)}") from None
        except Exception as error:  # zipfile fails in a dozen ways on a damaged file
            raise Trouble(
                f"{shown(path)}: the zip's directory cannot be read ({_said(error)}); `zip -FF` may still help"
            ) from error
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self.strange: list[tuple[str, str]] = []
        for info in self._zip.infolist():
            why = why_refused(info.filename) or _why_entry_refused(info)
            if not why and info.filename in self._infos:
                why = "it is there twice"
            if why:
                self.strange.append((info.filename, why))
            else:
                self._infos[info.filename] = info

    def names(self) -> list[str]:
        return list(self._infos)

    def chunks(self, name: str, size: int) -> Iterator[bytes]:
        """The bytes of one file, never more than ``size`` + 1. Raises Trouble."""
        info = self._infos.get(name)
        if info is None:
            raise Trouble("it is not in the zip")
        if name != MANIFEST and info.file_size != size:
            raise Trouble(f"the zip says {info.file_size} bytes, the manifest {size}")
        try:
            with self._zip.open(info) as file:
                yield from _limited(file, size)
        except Exception as error:  # a bad file must not hide the others
            raise Trouble(_said(error)) from error

    def seal(self) -> str:
        """What is wrong with the zip as a whole; '' when nothing is, ``repacked`` when it has no seal."""
        with open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            ending = len(SEAL) + 64
            file.seek(max(0, size - ending))
            if file.read(len(SEAL)) != SEAL:
                file.seek(max(0, size - 22))
                bare = file.read(4) == b"PK\5\6" and not self._zip.comment
                return "repacked" if bare else "the mark at its end is damaged"
            digest, left = hashlib.sha256(), size - 64
            file.seek(0)
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    return "it got shorter while it was read"
                digest.update(chunk)
                left -= len(chunk)
            return "" if file.read(64) == digest.hexdigest().encode("ascii") else "a bit of it is not as it was written"


class FolderPackage:
    """A package that somebody has unpacked."""

    strange: tuple[tuple[str, str], ...] = ()

    def __init__(self, path: str) -> None:
        self.path = path

    def names(self) -> list[str] | None:
        """None: what else lies in the folder is nobody's business."""
        return None

    def chunks(self, name: str, size: int) -> Iterator[bytes]:
        """As ZipPackage.chunks; a symbolic link in the place of a file or folder is not followed."""
        parts, here = name.split("/"), self.path
        try:
            for part in parts:
                here = os.path.join(here, part)
                if stat.S_ISLNK(os.lstat(here).st_mode):
                    raise Trouble("there is a symbolic link in its place")
            if not stat.S_ISREG(os.lstat(here).st_mode):
                raise Trouble("it is not a file")
            with open(here, "rb", opener=_without_waiting) as file:
                yield from _limited(file, size)
        except FileNotFoundError:
            raise Trouble("it is not there") from None
        except OSError as error:
            raise Trouble(_said(error)) from error

    def seal(self) -> str:
        return ""


def open_package(path: str | None) -> ZipPackage | FolderPackage:
    """The package at ``path``, or the one that this file lies in. Raises Trouble."""
    if path is None:
        path = _own_place()
    if os.path.isdir(path):
        if not os.path.lexists(os.path.join(path, MANIFEST)):
            raise Trouble(f"{shown(path)} holds no {MANIFEST}; name the package: restore.py FILE.zip")
        return FolderPackage(path)
    return ZipPackage(path)


def _own_place() -> str:
    here = os.path.dirname(os.path.abspath(__file__))
    if os.path.isdir(here) and not os.path.lexists(os.path.join(here, MANIFEST)):
        zips = sorted(name for name in os.listdir(here) if name.endswith(".zip"))
        if len(zips) == 1:
            return os.path.join(here, zips[0])
    return here


def read_manifest(package: ZipPackage | FolderPackage) -> dict[str, Any]:
    """The manifest, whose members are sound. Raises Trouble."""
    try:
        return _read_manifest(package)
    except Trouble as trouble:
        raise Trouble(f"{MANIFEST}: {trouble}") from trouble


def _read_manifest(package: ZipPackage | FolderPackage) -> dict[str, Any]:
    data = bytearray()
    for chunk in package.chunks(MANIFEST, _LARGEST_MANIFEST):
        data += chunk
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Trouble(f"it cannot be read: {_said(error)}") from error
    if not isinstance(found, dict) or not isinstance(found.get("members"), list):
        raise Trouble("it is not the manifest of a package")
    members_of(found)
    return found


def members_of(manifest: dict[str, Any]) -> list[Member]:
    """Every file that the manifest speaks of. Raises Trouble."""
    found: dict[str, Member] = {}
    for row in manifest["members"]:
        if not isinstance(row, dict):
            raise Trouble("a row of it is no object")
        path, size, digest = row.get("path"), row.get("size"), row.get("sha256")
        if not isinstance(path, str) or type(size) is not int or size < 0 or not isinstance(digest, str):
            raise Trouble("a row of it lacks path, size or sha256")
        why = why_refused(path) or ("" if _HEX.fullmatch(digest) else "its SHA-256 is none")
        if why or path in found or path == MANIFEST:
            raise Trouble(f"it names {shown(path)}: {why or 'twice, or itself'}")
        found[path] = Member(path, size, digest, str(row.get("time") or ""), str(row.get("original_path") or ""))
    return list(found.values())


# -- what it does -------------------------------------------------------------------------------------------------


def verify(package: ZipPackage | FolderPackage) -> tuple[int, list[tuple[str, str]]]:
    """How many files are as they were written, and (name, what is wrong) of everything that is not."""
    wrong = list(package.strange)
    members: list[Member] = []
    good = 0
    try:
        members = members_of(_read_manifest(package))
    except Trouble as trouble:
        wrong.append((MANIFEST, str(trouble)))
    for member in members:
        try:
            _digest(package, member)
            good += 1
        except Trouble as trouble:
            wrong.append((member.path, str(trouble)))
    named = {member.path for member in members}
    unknown = [name for name in package.names() or () if name != MANIFEST and name not in named]
    wrong += [(name, "the manifest does not know it") for name in unknown if members]
    seal = package.seal()
    if seal and seal != "repacked" and not wrong:
        wrong.append((os.path.basename(package.path), f"{seal}, though every file in it is (names, times, padding)"))
    return good, wrong


def unpack(package: ZipPackage | FolderPackage, folder: str) -> tuple[int, list[tuple[str, str]]]:
    """Write every file below ``folder``: how many are there now, and (name, why not) of the others. Raises Trouble."""
    members = members_of(read_manifest(package))
    whole = b"".join(package.chunks(MANIFEST, _LARGEST_MANIFEST))
    members.append(Member(MANIFEST, len(whole), hashlib.sha256(whole).hexdigest(), "", ""))
    wrong = list(package.strange)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise Trouble(f"{needed} bytes are needed in {shown(folder)}, and {free} are free")
    done = 0
    for member in members:
        try:
            _unpack_one(package, member, os.path.realpath(folder))
            done += 1
        except Trouble as trouble:
            wrong.append((member.path, str(trouble)))
        except OSError as error:
            wrong.append((member.path, _said(error)))
    return done, wrong


def _digest(package: ZipPackage | FolderPackage, member: Member, file: IO[bytes] | None = None) -> None:
    """Read one file (and copy it). Raises Trouble unless it is what the manifest says."""
    digest, size = hashlib.sha256(), 0
    for chunk in package.chunks(member.path, member.size):
        digest.update(chunk)
        size += len(chunk)
        if file is not None:
            file.write(chunk)
    if size != member.size:
        raise Trouble(f"it has {'over ' * (size > member.size)}{min(size, member.size)} bytes instead of {member.size}")
    if digest.hexdigest() != member.sha256:
        raise Trouble("its bytes are not those that were written (SHA-256)")


def _unpack_one(package: ZipPackage | FolderPackage, member: Member, folder: str) -> None:
    parts = member.path.split("/")
    with Place(folder) as place:
        for part in parts[:-1]:
            place.enter(part)
        temporary = f".nbguard-{os.urandom(6).hex()}.part"
        try:
            with open(place.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                _digest(package, member, file)
                file.flush()
                os.fsync(file.fileno())
            if not place.give_name(temporary, parts[-1]) and not place.holds(parts[-1], member):
                raise Trouble("something else is there already; it was left alone")
        finally:
            place.unlink(temporary)


class Place:
    """A folder below the target, reached without following a symbolic link."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if _HAS_FOLDER_FDS else None

    def enter(self, name: str) -> None:
        """Go into a folder, which is made if it is not there. Raises Trouble, OSError."""
        try:
            os.mkdir(self._at(name), 0o700, dir_fd=self._fd)
        except FileExistsError:
            pass
        try:
            status = os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise Trouble(f"{shown(os.path.join(self.path, name))} is in the way")
            fd = None
            if self._fd is not None:
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=self._fd)
        except OSError as error:
            raise Trouble(_said(error)) from error
        self.close()
        self.path, self._fd = os.path.join(self.path, name), fd

    def open(self, name: str, flags: int) -> int:
        """A file in it; a symbolic link is not followed. Raises OSError."""
        return os.open(self._at(name), flags | _NO_FOLLOW | _BINARY, 0o600, dir_fd=self._fd)

    def give_name(self, temporary: str, name: str) -> bool:
        """Name a finished file; False when something is there already. Raises OSError."""
        source, target = self._at(temporary), self._at(name)
        try:
            os.link(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
            return True
        except FileExistsError:
            return False
        except (OSError, NotImplementedError):  # FAT and the like have no links: reserve the name, then rename
            try:
                os.close(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
            os.replace(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            return True

    def holds(self, name: str, member: Member) -> bool:
        """Whether the file there is what would be written."""
        status = os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size != member.size:
            return False
        digest = hashlib.sha256()
        with open(self.open(name, os.O_RDONLY), "rb") as file:
            for chunk in _limited(file, member.size):
                digest.update(chunk)
        return digest.hexdigest() == member.sha256

    def unlink(self, name: str) -> None:
        try:
            os.unlink(self._at(name), dir_fd=self._fd)
        except FileNotFoundError:
            pass

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, name: str) -> str:
        return name if self._fd is not None else os.path.join(self.path, name)


def _why_entry_refused(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.is_dir():
        return "it is not a plain file"
    if info.flag_bits & 0x1:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed in a way that packages never are"
    return ""


def _limited(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Chunks of a file, ``size`` bytes and at most one more: enough to see that there are too many."""
    left = size + 1
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))


def _said(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(text or type(error).__name__)


# -- the command line ---------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 or 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = _Parser(
        prog="restore.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("package", nargs="?", metavar="ZIP|DIR", help="the package (the folder or zip this lies in)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--verify", action="store_true", help="check every file against the manifest")
    action.add_argument("--list", action="store_true", help="print what is in it (the default)")
    action.add_argument("--to", metavar="DIR", help="unpack every file, checked, below DIR; nothing is overwritten")
    options = parser.parse_args(arguments)
    try:
        package = open_package(options.package)
        if options.verify:
            good, wrong = verify(package)
            return _report(f"{good} files are as they were written", wrong)
        if options.to:
            done, wrong = unpack(package, options.to)
            return _report(f"{done} files are in {shown(options.to)}", wrong)
        return _list(package)
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
    except OSError as error:
        print(f"error: {shown(str(error.filename))}: {_said(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return 1


def _report(what: str, wrong: list[tuple[str, str]]) -> int:
    for name, why in wrong:
        print(f"NOT AS IT SHOULD BE  {shown(name)}: {why}")
    print(what + (f"; {len(wrong)} are not" if wrong else ""))
    return 1 if wrong else 0


def _list(package: ZipPackage | FolderPackage) -> int:
    manifest = read_manifest(package)
    for member in members_of(manifest):
        print(f"{member.size:12d}  {shown(member.time[:19]):20}  {shown(member.path)}")
    missing = manifest.get("missing")
    if isinstance(missing, list) and missing:
        print(f"{len(missing)} things could not be put into this package; see {MANIFEST}")
    print("to unpack it all: python3 restore.py --to FOLDER", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
