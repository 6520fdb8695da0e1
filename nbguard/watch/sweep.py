"""The guarantee: a walk that finds every notebook that changed, whatever the events said.

A sweep where nothing changed costs one stat per known folder and one per known notebook. A folder is listed again
only when its own times moved, or when it was listed so soon after a change that a later one could share its time.
A full sweep lists every folder.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace

from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Head, NoticeKind, Signature
from nbguard.names import notebook_of_leftover
from nbguard.watch.scope import Scope

# Times on ext3, HFS+ and many servers tick once a second, on FAT every two.
_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """A notebook that needs a look: SWEPT is new or changed (``changed_ns`` is its ctime), GONE is not there."""

    path: str
    kind: NoticeKind
    changed_ns: int = 0
    modified_ns: int = 0


@dataclass(slots=True)
class Swept:
    """What one sweep saw. ``found`` has the newest notebooks first, so that these are protected first."""

    found: list[Found] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    listed: int = 0
    known_before: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder as it was when it was listed; ``sure`` when no later change can look the same."""

    stamp: tuple[int, int, int, int]
    sure: bool
    notebooks: tuple[str, ...]


class Sweeper:
    """The walks of one root. One thread at a time. ``closed`` are folders that turned out to be environments."""

    def __init__(self, scope: Scope, heads: Heads, clock: Clock) -> None:
        self.scope = scope
        self.closed: set[str] = set()
        self.folders: dict[str, _Folder] = {}
        self.notebooks = 0
        self._heads = heads
        self._clock = clock
        self._moved_devices: dict[int, int] = {}
        self._unreadable: set[str] = set()

    def sweep(self, *, full: bool) -> Swept:
        """Walk the root. Never raises OSError: what cannot be read is listed in ``unreadable``."""
        swept = Swept()
        if full:
            self.folders.clear()
            self.closed.clear()
            self._unreadable.clear()
            self._list_tree(self.scope.root, swept)
        else:
            self._look_at_folders(swept)
        self._look_at_notebooks(swept)
        swept.found.sort(key=lambda found: -found.modified_ns)
        return swept

    def sweep_folder(self, folder: str) -> Swept:
        """Walk one folder of the root and all below it, listing every one; known notebooks there are looked at."""
        swept = Swept()
        if not self.scope.reaches(folder, self.closed):
            return swept
        prefix = folder + "/"
        for known in [path for path in self.folders if path == folder or path.startswith(prefix)]:
            del self.folders[known]
        self._list_tree(folder, swept)
        self._look_at_notebooks(swept, prefix)
        return swept

    def follow_device(self, device: int) -> int:
        """The number that file system ``device`` has now: numbers change when it is mounted anew."""
        return self._moved_devices.get(device, device)

    def _look_at_folders(self, swept: Swept) -> None:
        lstat, root = os.lstat, self.scope.root
        if root not in self.folders:
            self._list_tree(root, swept)
        for path in list(self._unreadable):
            self._list_tree(path, swept)
        for path, folder in list(self.folders.items()):
            try:
                status = os.stat(path) if path == root else lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                self.folders.pop(path, None)
                continue
            except OSError:
                self._cannot_list(path, swept)
                continue
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
            if folder.stamp != stamp or not folder.sure:
                self._list_tree(path, swept)

    def _list_tree(self, top: str, swept: Swept) -> None:
        """List ``top``, and below it every folder that is not known yet."""
        stack = self._list(top, swept)
        while stack:
            path = stack.pop()
            if path not in self.folders and path not in self.closed:
                stack += self._list(path, swept)

    def _list(self, path: str, swept: Swept) -> list[str]:
        """List one folder, remember it, and give the folders in it that are to be entered."""
        self.folders.pop(path, None)
        self._unreadable.discard(path)
        try:
            status = os.stat(path) if path == self.scope.root else os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return []
            now_ns = int(self._clock.now().timestamp() * 1_000_000_000)
            with os.scandir(path) as entries:
                listed = [(entry.name, _kind(entry)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self._cannot_list(path, swept)
            return []
        swept.listed += 1
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
        sure = max(status.st_mtime_ns, status.st_ctime_ns) < now_ns - _RACY_NS
        names = {name for name, _kind in listed}
        below, closed = self.scope.below(path, names, [name for name, kind in listed if kind == "folder"])
        self.closed.discard(path)
        self.closed.update(closed)
        # A closed folder is remembered without notebooks, so that it is not listed at every sweep.
        notebooks = () if path in self.closed else self._notebooks_in(path, listed, swept)
        self.folders[path] = _Folder(stamp, sure, notebooks)
        return below

    def _notebooks_in(self, path: str, listed: list[tuple[str, str]], swept: Swept) -> tuple[str, ...]:
        notebooks = []
        for name, kind in listed:
            if kind != "file":
                continue
            full = _join(path, name)
            if self.scope.is_notebook(full):
                notebooks.append(full)
            elif (owner := notebook_of_leftover(name)) is not None:
                swept.leftovers.append(_join(path, owner))
        return tuple(notebooks)

    def _cannot_list(self, path: str, swept: Swept) -> None:
        """Tried again at every sweep: its parent does not change when it can be read again."""
        self.folders.pop(path, None)
        self._unreadable.add(path)
        swept.unreadable.append(path)

    def _look_at_notebooks(self, swept: Swept, prefix: str | None = None) -> None:
        """Compare every known notebook under ``prefix`` with what was last kept of it."""
        under = prefix or self.scope.prefix
        get = self._heads.get
        total = 0
        for path, folder in self.folders.items():
            total += len(folder.notebooks)
            for notebook in folder.notebooks:
                if notebook.startswith(under):
                    head = get(notebook)
                    if head is None or head.is_deleted:
                        self._look_at_new(notebook, path, swept)
        self.notebooks = total
        for head in self._heads.alive():
            if head.path.startswith(under):
                swept.known_before += 1
                self._look_at_known(head, swept)

    def _look_at_new(self, path: str, folder: str, swept: Swept) -> None:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        except OSError:
            swept.unreadable.append(folder)
            return
        swept.found.append(Found(path, NoticeKind.SWEPT, status.st_ctime_ns, status.st_mtime_ns))

    def _look_at_known(self, head: Head, swept: Swept) -> None:
        path, signature = head.path, head.signature
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._found_gone(path, swept)
            return
        except OSError:
            if self.scope.covers(path, self.closed):
                swept.unreadable.append(os.path.dirname(path))
            return
        if (
            signature is not None
            and status.st_mtime_ns == signature.mtime_ns
            and status.st_size == signature.size
            and status.st_ino == signature.inode
            and status.st_ctime_ns == signature.ctime_ns
        ):
            if status.st_dev != signature.device:
                self._reseat(head, signature, status.st_dev)
            return
        if not stat.S_ISREG(status.st_mode):
            self._found_gone(path, swept)
        elif self.scope.covers(path, self.closed):
            swept.found.append(Found(path, NoticeKind.SWEPT, status.st_ctime_ns, status.st_mtime_ns))

    def _found_gone(self, path: str, swept: Swept) -> None:
        if self.scope.covers(path, self.closed):
            swept.gone += 1
            swept.found.append(Found(path, NoticeKind.GONE))

    def _reseat(self, head: Head, signature: Signature, device: int) -> None:
        """The very same file under another device number: its file system was mounted anew."""
        self._moved_devices[signature.device] = device
        self._heads.put(replace(head, signature=replace(signature, device=device), parent_device=device))


def _join(folder: str, name: str) -> str:
    return folder + name if folder.endswith("/") else f"{folder}/{name}"


def _kind(entry: os.DirEntry[str]) -> str:
    """Symlinks are neither: a notebook is kept under its real path only, and no link leads out of a root."""
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else ""
