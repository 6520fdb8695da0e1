"""Old objects, read again from the disk a part at a time, so that rot is found while a mirror still has them whole.

The bytes of each object in a pack are compared with the CRC-32 that stands in the pack's index since it was written
and read back: no git, no unpacking, at the speed of the disk. Format: git's documentation, gitformat-pack (index v2).
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nbguard.health.remembered import PackRead

LEAST_BYTES = 16_000_000
MOST_BROKEN = 20
LOOSE = "loose objects"
_HEAD = b"\xfftOc\x00\x00\x00\x02"
_TABLE = 8 + 4 * 256
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An object, or a whole file, that is not what it was. ``offset`` is in the pack; -1 means the file itself."""

    pack: str
    offset: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What one run read, and how far each pack is now."""

    packs: Mapping[str, PackRead]
    broken: tuple[Broken, ...]
    bytes: int


def quota(total_bytes: int, elapsed_seconds: float, every_seconds: float) -> int:
    """Bytes to read now, so that all is read twice in ``every_seconds``."""
    share = min(1.0, 2 * max(0.0, elapsed_seconds) / every_seconds) if every_seconds > 0 else 1.0
    return max(LEAST_BYTES, int(total_bytes * share))


def reread(
    archive: str,
    packs: Mapping[str, PackRead],
    *,
    now: float,
    elapsed_seconds: float,
    every_seconds: float,
    is_time_up: Callable[[], bool],
) -> Reread:
    """Go on where the last run ended, with what was read longest ago. Raises OSError when the archive cannot be
    listed."""
    folder = os.path.join(archive, "objects", "pack")
    sizes = {name: os.stat(os.path.join(folder, name)).st_size for name in _packs(folder)}
    known = {name: packs.get(name) or PackRead(read_at=_made_at(folder, name)) for name in sizes}
    left = quota(sum(sizes.values()), elapsed_seconds, every_seconds)
    broken: list[Broken] = []
    read = 0
    order = sorted(known, key=lambda name: (known[name].offset == 0, known[name].read_at))
    for name in order:
        if read >= left or is_time_up() or len(broken) >= MOST_BROKEN:
            break
        done = _read_pack(folder, name, known[name].offset, left - read, is_time_up)
        read += done.bytes
        broken += done.broken
        known[name] = PackRead(read_at=now) if done.is_whole else replace(known[name], offset=done.offset)
    loose = packs.get(LOOSE) or PackRead()
    if now - loose.read_at >= every_seconds / 2 or now < loose.read_at:
        broken += _loose(archive, is_time_up)
        loose = PackRead(read_at=now)
    return Reread(packs={**known, LOOSE: loose}, broken=tuple(broken[:MOST_BROKEN]), bytes=read)


def is_still_broken(archive: str, broken: Broken) -> bool:
    """Whether what was broken is there and is broken still; a pack that was replaced is not."""
    folder = os.path.join(archive, "objects", "pack")
    if broken.pack == LOOSE:
        return any(True for _ in _loose(archive, lambda: False))
    if not os.path.exists(os.path.join(folder, broken.pack)):
        return False
    if broken.offset < 0:
        return bool(_read_pack(folder, broken.pack, 0, 0, lambda: False).broken)
    return bool(_read_pack(folder, broken.pack, broken.offset, 1, lambda: False).broken)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    offset: int
    bytes: int
    is_whole: bool
    broken: tuple[Broken, ...]


def _packs(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith("pack-") and name.endswith(".pack"):
            yield name


def _made_at(folder: str, name: str) -> float:
    """A pack was read back when it was written."""
    try:
        return os.stat(os.path.join(folder, name)).st_mtime
    except OSError:
        return 0.0


def _read_pack(folder: str, name: str, start: int, budget: int, is_time_up: Callable[[], bool]) -> _Done:
    """Read a pack's rows from ``start`` on until the budget of bytes is used up."""
    path = os.path.join(folder, name)
    broken: list[Broken] = []
    read, at = 0, start
    try:
        rows, checksum = _index(path[: -len("pack")] + "idx")
        with open(path, "rb", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size - 20
            _forget_cached(file.fileno())
            if start == 0 and (file.read(4) != b"PACK" or os.pread(file.fileno(), 20, end) != checksum):
                broken.append(Broken(pack=name, offset=-1, reason="it is not the pack of its index"))
            first = bisect_left(rows, start << 32)
            for number in range(first, len(rows)):
                offset, crc = rows[number] >> 32, rows[number] & 0xFFFFFFFF
                at = offset
                if read >= budget or is_time_up() or len(broken) >= MOST_BROKEN:
                    _forget_cached(file.fileno())
                    return _Done(offset=at, bytes=read, is_whole=False, broken=tuple(broken))
                size = (rows[number + 1] >> 32 if number + 1 < len(rows) else end) - offset
                if _crc(file.fileno(), offset, size) != crc:
                    broken.append(Broken(pack=name, offset=offset, reason="its bytes are not those that were written"))
                read += size
            _forget_cached(file.fileno())
    except FileNotFoundError:
        if not os.path.exists(path):  # packed anew meanwhile
            return _Done(offset=0, bytes=read, is_whole=True, broken=())
        broken.append(Broken(pack=name, offset=-1, reason="its index is gone"))
    except (OSError, ValueError, struct.error) as error:
        broken.append(Broken(pack=name, offset=-1, reason=f"it cannot be read: {error}"))
    return _Done(offset=0, bytes=read, is_whole=True, broken=tuple(broken))


def _index(path: str) -> tuple[list[int], bytes]:
    """(offset and CRC-32 of each object's bytes, as offset * 2**32 + CRC, ascending; the pack's checksum).

    One number for each: an archive of years has a million. Raises OSError, ValueError.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != _HEAD or len(data) < _TABLE + 40 or hashlib.sha1(data[:-20]).digest() != data[-20:]:
        raise ValueError("its index is damaged")
    (count,) = struct.unpack_from(">I", data, _TABLE - 4)
    crcs_at = _TABLE + 20 * count
    crcs, short = (_numbers(data, crcs_at + 4 * count * part, count) for part in (0, 1))
    long_at = crcs_at + 8 * count
    offsets = (
        struct.unpack_from(">Q", data, long_at + 8 * (value & 0x7FFFFFFF))[0] if value & 0x80000000 else value
        for value in short
    )
    return sorted(offset << 32 | crc for offset, crc in zip(offsets, crcs, strict=True)), data[-40:-20]


def _numbers(data: bytes, at: int, count: int) -> array[int]:
    numbers = array("I", data[at : at + 4 * count])
    if numbers.itemsize != 4 or len(numbers) != count:
        raise ValueError("its index is cut short")
    numbers.byteswap() if struct.pack("=H", 1) == b"\x01\x00" else None
    return numbers


def _crc(fd: int, offset: int, size: int) -> int:
    crc, left = 0, size
    while left > 0:
        chunk = os.pread(fd, min(left, _CHUNK), offset)
        if not chunk:
            return -1
        crc, offset, left = zlib.crc32(chunk, crc), offset + len(chunk), left - len(chunk)
    return crc


def _forget_cached(fd: int) -> None:
    """Read from the disk, not from what the kernel remembers of it; and leave no trace in its memory."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _loose(archive: str, is_time_up: Callable[[], bool]) -> Iterator[Broken]:
    """Objects in files of their own: their names are the SHA-1 of what is in them."""
    base = os.path.join(archive, "objects")
    for folder in sorted(name for name in os.listdir(base) if len(name) == 2):
        for name in sorted(os.listdir(os.path.join(base, folder))):
            if is_time_up():
                return
            path = os.path.join(base, folder, name)
            if len(name) == 38 and not _is_whole(path, folder + name):
                yield Broken(pack=LOOSE, offset=-1, reason=f"{folder}{name} is not what it was")


def _is_whole(path: str, oid: str) -> bool:
    digest, inflate = hashlib.sha1(), zlib.decompressobj()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(inflate.decompress(chunk))
            digest.update(inflate.flush())
    except FileNotFoundError:
        return True
    except (OSError, zlib.error):
        return False
    return digest.hexdigest() == oid
