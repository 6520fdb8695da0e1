"""The latest known state of every path, in memory, shared by the workers of one process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TypeVar

from nbguard.model import Head

_Key = TypeVar("_Key", str, tuple[int, int])


class Heads:
    """A thread-safe map from path to Head, also found by (device, inode) and by sha256 to follow renames."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, Head] = {}
        self._by_file: dict[tuple[int, int], set[str]] = {}
        self._by_sha256: dict[str, set[str]] = {}
        for head in heads:
            self.put(head)

    def get(self, path: str) -> Head | None:
        """The head of a path; a deleted one is still there (``is_deleted``)."""
        return self._by_path.get(path)

    def put(self, head: Head) -> None:
        """Replace the head of its path."""
        with self._lock:
            self._forget(head.path)
            self._by_path[head.path] = head
            if head.signature is not None:
                key = (head.signature.device, head.signature.inode)
                self._by_file.setdefault(key, set()).add(head.path)
            if head.sha256 is not None:
                self._by_sha256.setdefault(head.sha256, set()).add(head.path)

    def drop(self, path: str) -> None:
        """Forget a path altogether (renamed away)."""
        with self._lock:
            self._forget(path)

    def alive(self) -> list[Head]:
        """Every head that is not deleted, in no order."""
        with self._lock:
            return [head for head in self._by_path.values() if not head.is_deleted]

    def with_file(self, device: int, inode: int) -> list[Head]:
        """Heads last seen as that very file."""
        with self._lock:
            return [self._by_path[path] for path in self._by_file.get((device, inode), ())]

    def with_sha256(self, sha256: str, *, most: int | None = None) -> list[Head]:
        """Heads with these very bytes; none at all when there are more than ``most``."""
        with self._lock:
            paths = self._by_sha256.get(sha256, ())
            return [] if most is not None and len(paths) > most else [self._by_path[path] for path in paths]

    def __len__(self) -> int:
        return len(self._by_path)

    def _forget(self, path: str) -> None:
        old = self._by_path.pop(path, None)
        if old is None:
            return
        if old.signature is not None:
            _discard(self._by_file, (old.signature.device, old.signature.inode), path)
        if old.sha256 is not None:
            _discard(self._by_sha256, old.sha256, path)


def _discard(index: dict[_Key, set[str]], key: _Key, path: str) -> None:
    paths = index.get(key)
    if paths is not None:
        paths.discard(path)
        if not paths:
            del index[key]
