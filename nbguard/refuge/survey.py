"""What of ours must live on: every file of archive, spool and state that a rescue needs, found cheaply again and again.

A folder is listed anew only when its time of change moved: all of these files are made by a rename or a link, replaced
by a rename, or appended to, and an unchanged name in an unchanged folder is the same file. In the state folder, which
changes with every heartbeat, the few files that are wanted are asked for by name.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from enum import StrEnum

from nbguard.places import Places

_SETTLED_NS = 2_000_000_000
_MARKS = frozenset({"archive-made", "install-id", "restores.jsonl"})
_ARCHIVE = frozenset({"HEAD", "config", "packed-refs", "README", "shallow"})


BEFORE = "config-before.toml"
"""Not config.toml: what it names may not be there any more."""


class Kind(StrEnum):
    """How a file ends: a DRAFT goes when the archive has it, OBJECTS when others hold what it holds, what is a NAME is
    replaced by a newer one (and stands for objects that must be there first), the REST is pruned by age."""

    DRAFT = "draft"
    OBJECTS = "objects"
    NAME = "name"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Seen:
    """One file: where it lies, what it is, and which file it is."""

    path: str
    kind: Kind
    device: int
    inode: int


@dataclass(slots=True)
class _Listing:
    changed_ns: int
    is_settled: bool
    files: dict[str, Seen]
    folders: list[str]


class Survey:
    """Surveys one installation. Names are relative and laid out as under NBGUARD_HOME. Use it from one thread."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._listings: dict[str, _Listing] = {}

    def look(self) -> tuple[dict[str, Seen], bool]:
        """Every file by its name, and whether any folder was listed anew. What cannot be read is not there."""
        used: dict[str, _Listing] = {}
        for folder, name, kind in self._shelves():
            self._walk(folder, name, kind, used)
        anew = used.keys() != self._listings.keys() or any(used[key] is not self._listings[key] for key in used)
        self._listings = used
        return {name: seen for listing in used.values() for name, seen in listing.files.items()}, anew

    def name_of(self, path: str) -> str | None:
        """The name of a file in one of our folders; None for one that lies elsewhere."""
        above = os.path.dirname(path)
        for folder, name, _ in self._shelves():
            if folder == above:
                return self._target(name, os.path.basename(path)) or None
        return None

    def _shelves(self) -> tuple[tuple[str, str, Kind], ...]:
        """(folder, its name, what lies in it), objects last: a name that was seen is never newer than they are."""
        places = self._places
        return (
            (os.path.dirname(places.config), "config", Kind.NAME),
            (places.state, "state", Kind.NAME),
            (os.path.join(places.spool, "new"), "spool/new", Kind.DRAFT),
            (os.path.join(places.spool, "aside"), "spool/aside", Kind.DRAFT),
            (places.records, "spool/records", Kind.DRAFT),
            (places.spool, "spool", Kind.NAME),
            (places.recorded, "spool/recorded", Kind.REST),
            (places.databases, "spool/databases", Kind.REST),
            (places.archive, "archive.git", Kind.NAME),
            (os.path.join(places.archive, "refs"), "archive.git/refs", Kind.NAME),
            (os.path.join(places.archive, "objects"), "archive.git/objects", Kind.OBJECTS),
        )

    def _walk(self, folder: str, name: str, kind: Kind, used: dict[str, _Listing]) -> None:
        listing = self._ask(folder, name, kind) if name == "state" else self._list(folder, name, kind)
        if listing is None:
            return
        used[name] = listing
        for below in listing.folders:
            self._walk(os.path.join(folder, below), f"{name}/{below}", kind, used)

    def _list(self, folder: str, name: str, kind: Kind) -> _Listing | None:
        before = self._listings.get(name)
        try:
            changed_ns = os.stat(folder).st_mtime_ns
            if before is not None and before.is_settled and before.changed_ns == changed_ns:
                return before
            is_settled = time.time_ns() - changed_ns > _SETTLED_NS
            known = before.files if before is not None else {}
            listing = _Listing(changed_ns, is_settled, {}, [])
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if _is_followed(name, entry.name):
                            listing.folders.append(entry.name)
                    elif (target := self._target(name, entry.name)) and (
                        seen := _seen(entry, kind, known.get(target))
                    ) is not None:
                        listing.files[target] = seen
            return listing
        except OSError:
            return None

    def _ask(self, folder: str, name: str, kind: Kind) -> _Listing | None:
        """As _list, of a folder in which only files of known names are wanted."""
        before = self._listings.get(name)
        files = {}
        for mark in _MARKS:
            path, target = os.path.join(folder, mark), f"{name}/{mark}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            if stat.S_ISREG(status.st_mode):
                files[target] = Seen(path, kind, status.st_dev, status.st_ino)
        return before if before is not None and before.files == files else _Listing(0, False, files, [])

    def _target(self, folder: str, file: str) -> str:
        """The name of a file that is wanted; empty for the others."""
        if file.startswith((".nbguard-", "tmp_", ".tmp-")) or file.endswith((".lock", ".new", "~")):
            return ""
        match folder:
            case "config":
                return BEFORE if file == os.path.basename(self._places.config) else ""
            case "state":
                return f"state/{file}" if file in _MARKS else ""
            case "spool":
                return "spool/boots" if file == "boots" else ""
            case "archive.git":
                return f"archive.git/{file}" if file in _ARCHIVE else ""
            case "archive.git/objects":
                return ""
            case "archive.git/objects/pack":
                return f"{folder}/{file}" if file.endswith((".pack", ".idx")) else ""
        return f"{folder}/{file}"


def _is_followed(folder: str, below: str) -> bool:
    if folder == "archive.git/objects":
        return below == "pack" or len(below) == 2
    return folder.startswith(("archive.git/refs", "spool/recorded", "spool/databases"))


def _seen(entry: os.DirEntry[str], kind: Kind, known: Seen | None) -> Seen | None:
    """What is not a plain file is not ours."""
    inode = entry.inode()
    if known is not None and known.inode == inode:
        return known
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        return Seen(entry.path, kind, entry.stat(follow_symlinks=False).st_dev, inode)
    except OSError:
        return None
