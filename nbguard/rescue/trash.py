"""The trash: of this user's home, of every mount, and inside what was thrown away as a whole folder.

Layout: the freedesktop.org trash specification 1.0 (`files/`, `info/NAME.trashinfo` with percent-encoded `Path` and a
local `DeletionDate`); on macOS a plain folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from nbguard.names import SUFFIX, checkpoint_of, is_notebook_name, notebook_of_leftover
from nbguard.rescue.files import look_at
from nbguard.rescue.findings import Look, SourceName, Unavailable, Wanted
from nbguard.rescue.reading import read_regular, reason

_MOST_INFO_BYTES = 1 << 16
_MOST_FILES = 500_000


@dataclass(frozen=True, slots=True)
class TrashFolder:
    """One trash: ``folder`` holds ``files`` and ``info``; relative paths in it count from ``top``."""

    folder: str
    top: str


@dataclass(frozen=True, slots=True)
class Trash:
    """Every trash of ours; ``plain`` are those that are just folders (macOS)."""

    folders: tuple[TrashFolder, ...]
    plain: tuple[str, ...] = ()

    @property
    def name(self) -> SourceName:
        return SourceName.TRASH

    def look(self, wanted: Wanted) -> Look:
        """What was thrown away, by the path it had."""
        unreadable: list[Unavailable] = []
        files = [each for trash in self.folders for each in self._thrown_away(trash, unreadable)]
        files += [each for folder in self.plain for each in self._below(folder, None, unreadable)]
        look = look_at(self.name, files, wanted)
        return Look(look.found, look.unavailable + tuple(unreadable))

    def _thrown_away(self, trash: TrashFolder, unreadable: list[Unavailable]) -> Iterator[tuple[str, str]]:
        holding = os.path.join(trash.folder, "files")
        try:
            names = sorted(os.listdir(holding))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            unreadable.append(Unavailable(self.name, reason(error)))
            return
        for name in names:
            path = os.path.join(holding, name)
            original = _original(os.path.join(trash.folder, "info", f"{name}.trashinfo"), trash.top)
            if os.path.isdir(path) and not os.path.islink(path):
                yield from self._below(path, original, unreadable)
            else:
                notebook = _notebook_of(original or name)
                if notebook is not None:
                    yield path, notebook

    def _below(self, folder: str, original: str | None, unreadable: list[Unavailable]) -> Iterator[tuple[str, str]]:
        """Notebooks in a folder that was thrown away whole; without its path, they have just their names."""
        seen = 0

        def keep_out(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                unreadable.append(Unavailable(self.name, reason(error)))

        for below, _, names in os.walk(folder, onerror=keep_out):
            seen += len(names)
            if seen > _MOST_FILES:
                unreadable.append(Unavailable(self.name, f"{folder}: too many files; the search ended at {below}"))
                return
            for name in names:
                relative = os.path.relpath(os.path.join(below, name), folder)
                notebook = _notebook_of(name if original is None else os.path.join(original, relative))
                if notebook is not None:
                    yield os.path.join(below, name), notebook


def trash_folders(data_home: str, mounts: tuple[str, ...], met: list[str], user: int) -> tuple[TrashFolder, ...]:
    """The home's trash, each mount's, and those that a walk has met; ``user`` is the number in their names."""
    found = [TrashFolder(os.path.join(data_home, "Trash"), "/")]
    for mount in mounts:
        found.append(TrashFolder(os.path.join(mount, f".Trash-{user}"), mount))
        found.append(TrashFolder(os.path.join(mount, ".Trash", str(user)), mount))
    for folder in met:
        if os.path.basename(folder) == f".Trash-{user}":
            found.append(TrashFolder(folder, os.path.dirname(folder)))
        elif os.path.basename(folder) == ".Trash":
            found.append(TrashFolder(os.path.join(folder, str(user)), os.path.dirname(folder)))
    return tuple({os.path.normpath(each.folder): each for each in reversed(found)}.values())


def _original(info: str, top: str) -> str | None:
    """The path that a .trashinfo names; None when there is none, or it makes no sense."""
    try:
        lines = read_regular(info, _MOST_INFO_BYTES).split(b"\n")
    except OSError:
        return None
    for line in lines:
        key, equals, value = line.partition(b"=")
        if equals and key.strip() == b"Path":
            path = os.fsdecode(unquote_to_bytes(value.strip()))
            return os.path.normpath(os.path.join(top, path)) if path and "\0" not in path else None
    return None


def _notebook_of(path: str) -> str | None:
    """The notebook that a file of this path is, or is a copy of; None for everything else."""
    folder, name = os.path.split(path)
    if name.endswith("-checkpoint" + SUFFIX):
        notebook = os.path.join(os.path.dirname(folder), name[: -len("-checkpoint" + SUFFIX)] + SUFFIX)
        return notebook if checkpoint_of(notebook) == path else name
    if is_notebook_name(name):
        return path
    leftover = notebook_of_leftover(name)
    return os.path.join(folder, leftover) if leftover is not None else None
