"""Giving everything back as it was: each notebook's version at a time, below one folder, originals untouched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from nbguard.errors import NbguardError, Refused, storage_trouble
from nbguard.model import Version
from nbguard.ports import Library, Progress
from nbguard.recover.folder import Folder
from nbguard.recover.restore import NAME_BYTES
from nbguard.recover.wording import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """One version and where it went. ``already`` says that these bytes were there before."""

    version: Version
    written_to: str
    already: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGivenBack:
    """One version that could not be given back, and why."""

    version: Version
    error: NbguardError


def destination(to: str, path: str) -> str:
    """Where a notebook goes: its whole path mirrored below ``to``. Raises Refused for a path that would leave it."""
    names = path.strip("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise Refused(f"{shown(path)} is no path that can be mirrored", hint="see it with `nbguard show`")
    return os.path.join(to, *names)


def restore_everything(
    versions: Sequence[Version], to: str, *, library: Library, progress: Progress
) -> tuple[list[GivenBack], list[NotGivenBack]]:
    """Write each version below the absolute folder ``to``; go on past failures. Nothing there is overwritten.

    Running it again continues: files that hold the right bytes count as given back. Raises Refused, StorageTrouble
    when ``to`` itself cannot be used.
    """
    _reach(to).close()
    done: list[GivenBack] = []
    failed: list[NotGivenBack] = []
    for count, version in enumerate(versions):
        progress(count, len(versions))
        try:
            done.append(_give_back(version, to, library))
        except NbguardError as error:
            failed.append(NotGivenBack(version=version, error=error))
    progress(len(versions), len(versions))
    return done, failed


def _reach(path: str, *, trusted: str = "/") -> Folder:
    try:
        return Folder.reach(path, trusted=trusted, create=True)
    except OSError as error:
        raise storage_trouble(error, f"cannot reach {shown(path)}") from error


def _give_back(version: Version, to: str, library: Library) -> GivenBack:
    parent, name = os.path.split(destination(to, version.path))
    data = library.read(version)
    # ``to`` was reached without a symlink a moment ago; below it none is followed, whoever made it.
    with _reach(parent) as folder:
        try:
            temporary = folder.write_new(data)
            try:
                for candidate in (name, colliding(name, version.id)):
                    if folder.place(temporary, candidate):
                        return GivenBack(version=version, written_to=os.path.join(parent, candidate))
                    if _holds(folder, candidate, version):
                        return GivenBack(version=version, written_to=os.path.join(parent, candidate), already=True)
            finally:
                folder.unlink(temporary)
        except OSError as error:
            raise storage_trouble(error, f"cannot write {shown(os.path.join(parent, name))}") from error
    raise Refused(f"{shown(os.path.join(parent, name))} exists already", hint="nothing was overwritten")


def colliding(name: str, version_id: str) -> str:
    """The name of a notebook whose own name is taken (case twins, a folder): ``eda.7f3a9c1b.ipynb``."""
    suffix = f".{version_id[:8]}.ipynb"
    stem = os.fsencode(name.removesuffix(".ipynb"))[: NAME_BYTES - len(suffix)]
    return os.fsdecode(stem) + suffix


def _holds(folder: Folder, name: str, version: Version) -> bool:
    try:
        return sha256(folder.read(name)).hexdigest() == version.sha256
    except (OSError, Refused):
        return False
