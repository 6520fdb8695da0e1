"""git trees, changed path by path and written into a pack; unchanged ones are never read."""

from __future__ import annotations

from collections.abc import Callable

from nbguard.archive.pack_file import Base, Kind, PackWriter

_FOLDER_MODE = b"40000"
_FILE_MODE = b"100644"
_WORTH_A_DELTA = 200

ReadTree = Callable[[bytes], bytes]
"""The raw bytes of the tree object with that 20-byte id."""


class Tree:
    """One folder. Children are blob ids, or trees that may not have been read yet."""

    def __init__(self, read: ReadTree, oid: bytes | None = None) -> None:
        self._read = read
        self._oid = oid
        self._children: dict[bytes, bytes | Tree] | None = None if oid else {}
        self._written: Base | None = None

    def put(self, parts: list[bytes], blob: bytes) -> None:
        """Put a blob at a path; a file in the way of a folder gives way, as does a folder in the way of a file."""
        children = self._change()
        if len(parts) == 1:
            children[parts[0]] = blob
            return
        child = children.get(parts[0])
        if not isinstance(child, Tree):
            child = children[parts[0]] = Tree(self._read)
        child.put(parts[1:], blob)

    def remove(self, parts: list[bytes]) -> None:
        """Remove the file at a path; harmless when it is not there. Folders left empty go too."""
        children = self._load()
        child = children.get(parts[0])
        if len(parts) > 1:
            if not isinstance(child, Tree):
                return
            child.remove(parts[1:])
            if child.is_empty():
                del self._change()[parts[0]]
            elif child.is_changed():
                self._change()
        elif child is not None and not isinstance(child, Tree):
            del self._change()[parts[0]]

    def copy(self) -> Tree:
        """The same folder, to change apart from this one. Costs what is in memory of it."""
        twin = Tree(self._read)
        twin._oid = self._oid
        twin._written = self._written
        twin._children = None
        if self._children is not None:
            twin._children = {
                name: child.copy() if isinstance(child, Tree) else child for name, child in self._children.items()
            }
        return twin

    def is_empty(self) -> bool:
        return not self._load()

    def is_changed(self) -> bool:
        return self._oid is None

    def write(self, pack: PackWriter) -> bytes:
        """Write what changed, folders below first; returns the tree's id."""
        if self._oid is not None:
            return self._oid
        rows: list[tuple[bytes, bytes]] = []
        for name, child in self._load().items():
            if isinstance(child, Tree):
                # git sorts a folder as if its name ended with a slash.
                rows.append((name + b"/", b"%s %s\0%s" % (_FOLDER_MODE, name, child.write(pack))))
            else:
                rows.append((name, b"%s %s\0%s" % (_FILE_MODE, name, child)))
        rows.sort()
        data = b"".join(row for _, row in rows)
        base = self._written if len(data) > _WORTH_A_DELTA else None
        self._oid = pack.add(Kind.TREE, data, base)
        self._written = Base(self._oid, data)
        return self._oid

    def _change(self) -> dict[bytes, bytes | Tree]:
        children = self._load()
        self._oid = None
        return children

    def _load(self) -> dict[bytes, bytes | Tree]:
        if self._children is None:
            assert self._oid is not None
            self._children = {
                name: Tree(self._read, oid) if mode == _FOLDER_MODE else oid
                for mode, name, oid in _entries(self._read(self._oid))
            }
        return self._children


def _entries(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        end = raw.index(b"\0", space)
        found.append((raw[at:space], raw[space + 1 : end], raw[end + 1 : end + 21]))
        at = end + 21
    return found
