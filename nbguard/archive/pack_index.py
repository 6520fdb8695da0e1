"""Reading a pack's index (v2): which objects the pack holds."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from types import TracebackType

from nbguard.errors import ArchiveTrouble

_HEAD = b"\xfftOc\x00\x00\x00\x02"
_TABLE = 8 + 4 * 256
_OID = 20


class PackIndex:
    """A context manager; a sorted collection of 20-byte object ids. Raises ArchiveTrouble when it is no index."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise ArchiveTrouble(f"{path} is empty", hint="see `nbguard doctor`") from error
        if self._map[:8] != _HEAD or len(self._map) < _TABLE:
            self._map.close()
            raise ArchiveTrouble(f"{path} is not an index of a pack", hint="see `nbguard doctor`")
        self._fan: tuple[int, ...] = struct.unpack(">256I", self._map[8:_TABLE])

    def __len__(self) -> int:
        return self._fan[255]

    def __iter__(self) -> Iterator[bytes]:
        for at in range(_TABLE, _TABLE + len(self) * _OID, _OID):
            yield self._map[at : at + _OID]

    def __contains__(self, oid: bytes) -> bool:
        low, high = (self._fan[oid[0] - 1] if oid[0] else 0), self._fan[oid[0]]
        while low < high:
            middle = (low + high) // 2
            at = _TABLE + middle * _OID
            found = self._map[at : at + _OID]
            if found == oid:
                return True
            if found < oid:
                low = middle + 1
            else:
                high = middle
        return False

    def __enter__(self) -> PackIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._map.close()
