"""One walk over the folders that are searched; the sources that lie among the user's files take what it met."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from nbguard.names import CHECKPOINTS, is_notebook_name, notebook_of_leftover

_YSTORE = ".jupyter_ystore.db"
RESCUED = ".nbguard-rescued"
"""Lies in every folder that a rescue has written: what is in it was found elsewhere, and is not found again."""


class Skips(Protocol):
    """Which folders are passed over: those that watching passes over too."""

    def enters(self, folder: str) -> bool:
        """Whether a folder, whose parent is entered, is looked into."""

    def closed(self, name: str, names: Collection[str]) -> bool | frozenset[str]:
        """For a folder with these names in it: True when all of it is passed over, else the subfolders that are."""


@dataclass(slots=True)
class Survey:
    """What lies where. ``leftovers`` are (path, notebook); ``stopped`` says why the walk ended early, if it did."""

    notebooks: list[str] = field(default_factory=list)
    checkpoint_folders: list[str] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    trashes: list[str] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    ystores: list[str] = field(default_factory=list)
    histories: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    entries: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where and how far: ``folders`` are absolute; ``avoid`` are folders that are never entered."""

    folders: tuple[str, ...]
    skips: Callable[[str], Skips]
    avoid: frozenset[str] = frozenset()
    checkpoint_names: frozenset[str] = frozenset({CHECKPOINTS})
    most_seconds: float = 120.0
    most_entries: int = 3_000_000


def survey(search: Search, monotonic: Callable[[], float], progress: Callable[[int, int], None]) -> Survey:
    """Walk each folder once, not following symlinks. What permissions keep us out of is listed; nothing is raised."""
    result = Survey()
    deadline = monotonic() + search.most_seconds
    entered: set[tuple[int, int]] = set()
    for top in search.folders:
        skips = search.skips(top)
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if monotonic() > deadline or result.entries > search.most_entries:
                result.stopped = f"the search ended at {folder} after {result.entries} files; name a folder: --under"
                return result
            if not _first_time(folder, entered, result):
                continue
            waiting += _visit(folder, top, search, skips, result)
            progress(result.entries, 0)
    return result


def _first_time(folder: str, entered: set[tuple[int, int]], result: Survey) -> bool:
    try:
        status = os.stat(folder, follow_symlinks=True)
    except OSError as error:
        if isinstance(error, PermissionError):
            result.unreadable.append(folder)
        return False
    key = (status.st_dev, status.st_ino)
    if key in entered:
        return False
    entered.add(key)
    return True


def _visit(folder: str, top: str, search: Search, skips: Skips, result: Survey) -> list[str]:
    """Note what one folder holds; the folders below it that are entered."""
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError as error:
        if isinstance(error, PermissionError):
            result.unreadable.append(folder)
        return []
    result.entries += len(entries)
    if folder != top and any(entry.name == RESCUED for entry in entries):
        return []
    closed = skips.closed(os.path.basename(folder), {entry.name for entry in entries})
    if closed is True and folder != top:
        return []
    shut: Iterable[str] = closed if isinstance(closed, frozenset) else ()
    below = []
    for entry in entries:
        try:
            is_folder, is_file = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
        except OSError:
            continue
        if is_folder:
            if _note_folder(entry.name, entry.path, search, result):
                continue
            if entry.path not in search.avoid and entry.name not in shut and skips.enters(entry.path):
                below.append(entry.path)
        elif is_file:
            _note_file(entry.name, entry.path, result)
    return below


def _note_folder(name: str, path: str, search: Search, result: Survey) -> bool:
    """Whether a folder of this name is a source's, and not walked as one of the user's."""
    if name in search.checkpoint_names:
        result.checkpoint_folders.append(path)
    elif name == ".Trash" or name.startswith(".Trash-"):
        result.trashes.append(path)
    elif name == ".git" or (name.endswith(".git") and os.path.isfile(os.path.join(path, "HEAD"))):
        result.repositories.append(path)
    else:
        return False
    return True


def _note_file(name: str, path: str, result: Survey) -> None:
    if is_notebook_name(name):
        result.notebooks.append(path)
    elif (notebook := notebook_of_leftover(name)) is not None:
        result.leftovers.append((path, os.path.join(os.path.dirname(path), notebook)))
    elif name == ".git":  # a worktree, or a submodule
        result.repositories.append(path)
    elif name.endswith(_YSTORE) or (name.startswith(".jupyter_ystore") and name.endswith(".db")):
        result.ystores.append(path)
    elif name.startswith("history") and name.endswith(".sqlite"):
        result.histories.append(path)
