"""Writing git pack files: pack v2 with OFS_DELTA, and its index v2, durable before it is named.

Why not `git fast-import`: docs/architecture.md has the measurement (its collision-detecting SHA-1 and its deltas cost
more than twice the processor time). Stock git reads what is written here, and every version is read back through it.
Format: git's Documentation/gitformat-pack.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from nbguard.archive.deflate import LEVEL, deflate
from nbguard.archive.delta import make_delta
from nbguard.durable import fsync_folder, unlink_quietly

# git reads chains up to 4,095; 50 is only what `git repack` makes by default. A batch of 64 saves stays one chain.
DEEPEST_CHAIN = 100
_WORTHWHILE = 0.6
_OFS_DELTA = 6
_LARGE_OFFSET = 1 << 31


class Kind(IntEnum):
    """Object types by their number in a pack."""

    COMMIT = 1
    TREE = 2
    BLOB = 3


@dataclass(frozen=True, slots=True)
class Base:
    """An object of this pack that the next one may be a delta of."""

    oid: bytes
    data: bytes


class PackWriter:
    """One pack being written. Call :meth:`finish`, or :meth:`abandon`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._temporary = os.path.join(folder, f"tmp_nbguard_{os.urandom(8).hex()}")
        fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        self._file = os.fdopen(fd, "w+b", buffering=1 << 20)
        self._rows: dict[bytes, tuple[int, int, int]] = {}  # oid → offset, crc32, depth of its delta chain
        self._offset = 0
        self._write(b"PACK" + struct.pack(">II", 2, 0))

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._rows

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._offset

    def add(self, kind: Kind, data: bytes, base: Base | None = None) -> bytes:
        """Add an object, as a delta of ``base`` where that pays; returns its 20-byte id. Raises OSError."""
        oid = object_id(kind, data)
        if oid in self._rows:
            return oid
        if base is not None and base.oid in self._rows and self._rows[base.oid][2] < DEEPEST_CHAIN:
            delta = make_delta(base.data, data)
            if len(delta) < len(data) * _WORTHWHILE:
                offset, _, depth = self._rows[base.oid]
                head = _entry_head(_OFS_DELTA, len(delta)) + _distance(self._offset - offset)
                self._append(oid, head + deflate(delta), depth + 1)
                return oid
        self._append(oid, _entry_head(kind, len(data)) + deflate(data), 0)
        return oid

    def add_stream(self, kind: Kind, size: int, chunks: Iterable[bytes]) -> bytes:
        """As add, whole and without holding it in memory.

        Raises ValueError when the chunks are not ``size`` bytes, or raise it; the pack then is as it was before.
        """
        start, head = self._offset, _entry_head(kind, size)
        digest, squeeze, crc, seen = (
            hashlib.sha1(_object_head(kind, size)),
            zlib.compressobj(LEVEL),
            zlib.crc32(head),
            0,
        )
        self._write(head)
        try:
            for chunk in chunks:
                digest.update(chunk)
                seen += len(chunk)
                packed = squeeze.compress(chunk)
                crc = zlib.crc32(packed, crc)
                self._write(packed)
            if seen != size:
                raise ValueError(f"{seen} bytes instead of {size}")
        except ValueError:
            self._take_back(start)
            raise
        packed = squeeze.flush()
        self._write(packed)
        oid = digest.digest()
        if oid in self._rows:
            self._take_back(start)
        else:
            self._rows[oid] = (start, zlib.crc32(packed, crc), 0)
        return oid

    def finish(self) -> str | None:
        """Make pack and index durable under their final names; returns the pack's path. Raises OSError.

        None when the very same pack was there already.
        """
        self._file.seek(8)
        self._file.write(struct.pack(">I", len(self._rows)))
        self._file.flush()
        self._file.seek(0)
        digest = hashlib.sha1()
        while chunk := self._file.read(1 << 20):
            digest.update(chunk)
        trailer = digest.digest()
        self._file.write(trailer)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        base = os.path.join(self._folder, f"pack-{trailer.hex()}")
        index = self._temporary + ".idx"
        fd = os.open(index, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(fd, "wb") as file:
            file.write(self._index(trailer))
            file.flush()
            os.fsync(file.fileno())
        is_new = not os.path.exists(base + ".idx")
        # The pack first: git looks for *.idx and then expects the pack to be there.
        os.rename(self._temporary, base + ".pack")
        os.rename(index, base + ".idx")
        fsync_folder(self._folder)
        return base + ".pack" if is_new else None

    def abandon(self) -> None:
        """Forget it and leave nothing behind."""
        try:
            self._file.close()
        except OSError:
            pass  # the flush at close fails like the write before it; the bytes are not wanted
        for leftover in (self._temporary, self._temporary + ".idx"):
            unlink_quietly(leftover)

    def _take_back(self, start: int) -> None:
        self._file.seek(start)
        self._file.truncate()
        self._offset = start

    def _append(self, oid: bytes, entry: bytes, depth: int) -> None:
        self._rows[oid] = (self._offset, zlib.crc32(entry), depth)
        self._write(entry)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)

    def _index(self, trailer: bytes) -> bytes:
        oids = sorted(self._rows)
        fan = [0] * 256
        for oid in oids:
            fan[oid[0]] += 1
        for number in range(1, 256):
            fan[number] += fan[number - 1]
        offsets, large = [], bytearray()
        for oid in oids:
            offset = self._rows[oid][0]
            if offset >= _LARGE_OFFSET:
                large += struct.pack(">Q", offset)
                offset = _LARGE_OFFSET | (len(large) // 8 - 1)
            offsets.append(offset)
        count = len(oids)
        body = b"".join(
            (
                b"\xfftOc",
                struct.pack(">I", 2),
                struct.pack(">256I", *fan),
                *oids,
                struct.pack(f">{count}I", *(self._rows[oid][1] for oid in oids)),
                struct.pack(f">{count}I", *offsets),
                bytes(large),
                trailer,
            )
        )
        return body + hashlib.sha1(body).digest()


def drop_pack(path: str) -> None:
    """Remove a pack nobody refers to; the index first, so that git never looks for a pack that is gone."""
    unlink_quietly(path.removesuffix(".pack") + ".idx")
    unlink_quietly(path)


def object_id(kind: Kind, data: bytes) -> bytes:
    """git's name of an object, 20 bytes."""
    digest = hashlib.sha1(_object_head(kind, len(data)))
    digest.update(data)
    return digest.digest()


def _object_head(kind: Kind, size: int) -> bytes:
    return b"%s %d\0" % (kind.name.lower().encode(), size)


def _entry_head(kind: int, size: int) -> bytes:
    first = kind << 4 | size & 15
    size >>= 4
    out = bytearray()
    while size:
        out.append(first | 128)
        first = size & 127
        size >>= 7
    out.append(first)
    return bytes(out)


def _distance(back: int) -> bytes:
    out = bytearray([back & 127])
    back >>= 7
    while back:
        back -= 1
        out.append(128 | back & 127)
        back >>= 7
    return bytes(reversed(out))
