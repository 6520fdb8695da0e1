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
    """One folder. Children are files as mode and blob id, or trees that may not have been read yet.

    Nothing here recurses: a path may be two thousand folders deep.
    """

    def __init__(self, read: ReadTree, oid: bytes | None = None) -> None:
        self._read = read
        self._oid = oid
        self._children: dict[bytes, bytes | Tree] | None = None if oid else {}
        self._written: Base | None = None

    def get(self, parts: list[bytes]) -> bytes | None:
        """The blob at a path; None when there is none."""
        folder = self
        for part in parts[:-1]:
            child = folder._load().get(part)
            if not isinstance(child, Tree):
                return None
            folder = child
        found = folder._load().get(parts[-1])
        return found[-20:] if isinstance(found, bytes) else None

    def put(self, parts: list[bytes], blob: bytes) -> None:
        """Put a blob at a path; a file in the way of a folder gives way, as does a folder in the way of a file."""
        folder = self
        for part in parts[:-1]:
            children = folder._change()
            child = children.get(part)
            if not isinstance(child, Tree):
                child = children[part] = Tree(self._read)
            folder = child
        folder._change()[parts[-1]] = _FILE_MODE + blob

    def remove(self, parts: list[bytes]) -> None:
        """Remove the file at a path; harmless when it is not there. Folders left empty go too."""
        chain = [self]
        for part in parts[:-1]:
            child = chain[-1]._load().get(part)
            if not isinstance(child, Tree):
                return
            chain.append(child)
        if not isinstance(chain[-1]._load().get(parts[-1]), bytes):
            return
        for folder in chain:
            folder._change()
        for folder, part in zip(reversed(chain), reversed(parts), strict=True):
            del folder._load()[part]
            if not folder.is_empty():
                break

    def copy(self) -> Tree:
        """The same folder, to change apart from this one. Costs what is in memory of it."""
        top = self._twin()
        pending = [top]
        while pending:
            children = pending.pop()._children
            for name, child in children.items() if children else ():
                if isinstance(child, Tree):
                    twin = child._twin()
                    children[name] = twin  # type: ignore[index]  # a value replaced; the keys stay
                    pending.append(twin)
        return top

    def is_empty(self) -> bool:
        return not self._load()

    def write(self, pack: PackWriter) -> bytes:
        """Write what changed, folders below first; returns the tree's id."""
        changed: list[Tree] = []
        pending = [self]
        while pending:
            folder = pending.pop()
            if folder._oid is None:
                changed.append(folder)
                pending += [child for child in folder._load().values() if isinstance(child, Tree)]
        for folder in reversed(changed):
            folder._write_alone(pack)
        assert self._oid is not None
        return self._oid

    def _write_alone(self, pack: PackWriter) -> None:
        rows: list[tuple[bytes, bytes]] = []
        for name, child in self._load().items():
            if isinstance(child, Tree):
                assert child._oid is not None
                # git sorts a folder as if its name ended with a slash.
                rows.append((name + b"/", b"%s %s\0%s" % (_FOLDER_MODE, name, child._oid)))
            else:
                rows.append((name, b"%s %s\0%s" % (child[:-20], name, child[-20:])))
        rows.sort()
        data = b"".join(row for _, row in rows)
        base = self._written if len(data) > _WORTH_A_DELTA else None
        self._oid = pack.add(Kind.TREE, data, base)
        self._written = Base(self._oid, data)

    def _twin(self) -> Tree:
        twin = Tree(self._read)
        twin._oid, twin._written = self._oid, self._written
        twin._children = None if self._children is None else dict(self._children)
        return twin

    def _change(self) -> dict[bytes, bytes | Tree]:
        children = self._load()
        self._oid = None
        return children

    def _load(self) -> dict[bytes, bytes | Tree]:
        if self._children is None:
            assert self._oid is not None
            self._children = {
                name: Tree(self._read, oid) if mode == _FOLDER_MODE else mode + oid
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
