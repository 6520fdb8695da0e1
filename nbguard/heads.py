"""The latest known state of every path, in memory, shared by the workers of one process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TypeVar

from nbguard.model import Head

_Key = TypeVar("_Key", str, tuple[int, int])
_Paths = str | set[str]
"""One path nearly always, and a set for each would take a third of the memory of all."""


class Heads:
    """A thread-safe map from path to Head, also found by (device, inode) and by sha256 to follow renames."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, Head] = {}
        self._by_file: dict[tuple[int, int], _Paths] = {}
        self._by_sha256: dict[str, _Paths] = {}
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
                _add(self._by_file, key, head.path)
            if head.sha256 is not None:
                _add(self._by_sha256, head.sha256, head.path)

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
            return [self._by_path[path] for path in _in(self._by_file.get((device, inode), ()))]

    def with_sha256(self, sha256: str, *, most: int | None = None) -> list[Head]:
        """Heads with these very bytes; none at all when there are more than ``most``."""
        with self._lock:
            paths = tuple(_in(self._by_sha256.get(sha256, ())))
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


def _in(paths: _Paths | tuple[()]) -> Iterable[str]:
    return (paths,) if isinstance(paths, str) else paths


def _add(index: dict[_Key, _Paths], key: _Key, path: str) -> None:
    paths = index.get(key)
    if isinstance(paths, set):
        paths.add(path)
    else:
        index[key] = path if paths is None or paths == path else {paths, path}


def _discard(index: dict[_Key, _Paths], key: _Key, path: str) -> None:
    paths = index.get(key)
    if isinstance(paths, set):
        paths.discard(path)
        if not paths:
            del index[key]
    elif paths == path:
        del index[key]
