"""Deltas between successive versions of one notebook, in git's format.

Notebooks are lines of JSON and a save changes a few cells: the common prefix and suffix are found by comparing memory,
only the middle is matched line by line. Format: git's Documentation/gitformat-pack ("deltified representation").
"""

from __future__ import annotations

from bisect import bisect_left

_LONGEST_COPY = 0xFFFFFF
_LONGEST_INSERT = 127
_SHORT_MIDDLE = 64
_SHORT_LINE = 8
_FIRST_STEP = 4096


def make_delta(old: bytes, new: bytes) -> bytes:
    """Instructions that make ``new`` from ``old``."""
    prefix = _common_prefix(old, new)
    suffix = _common_suffix(old, new, min(len(old), len(new)) - prefix)
    out = bytearray(_varint(len(old)) + _varint(len(new)))
    _copy(out, 0, prefix)
    middle, base = new[prefix : len(new) - suffix], old[prefix : len(old) - suffix]
    if len(middle) < _SHORT_MIDDLE or not base:
        _insert(out, middle)
    else:
        _match_lines(out, base, middle, prefix)
    _copy(out, len(old) - suffix, suffix)
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _copy(out: bytearray, offset: int, size: int) -> None:
    while size:
        part = min(size, _LONGEST_COPY)
        at = len(out)
        out.append(0)
        code = 0x80
        for index in range(4):
            byte = offset >> 8 * index & 255
            if byte:
                code |= 1 << index
                out.append(byte)
        for index in range(3):
            byte = part >> 8 * index & 255
            if byte:
                code |= 16 << index
                out.append(byte)
        out[at] = code
        offset += part
        size -= part


def _insert(out: bytearray, data: bytes | bytearray) -> None:
    for start in range(0, len(data), _LONGEST_INSERT):
        part = data[start : start + _LONGEST_INSERT]
        out.append(len(part))
        out += part


def _common_prefix(a: bytes, b: bytes) -> int:
    """Galloping, then halving: each comparison is one memcmp of slices."""
    limit = min(len(a), len(b))
    low, step = 0, _FIRST_STEP
    while low < limit:
        end = min(limit, low + step)
        if a[low:end] != b[low:end]:
            break
        low, step = end, step * 4
    else:
        return limit
    high = end
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _common_suffix(a: bytes, b: bytes, limit: int) -> int:
    low, step = 0, _FIRST_STEP
    while low < limit:
        end = min(limit, low + step)
        if a[len(a) - end : len(a) - low] != b[len(b) - end : len(b) - low]:
            break
        low, step = end, step * 4
    else:
        return limit
    high = end
    while high - low > 1:
        middle = (low + high) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle
    return low


class _Emitter:
    """Collects copies and inserts, joining neighbours."""

    def __init__(self, out: bytearray) -> None:
        self._out = out
        self._pending = bytearray()
        self._start = self._size = 0

    @property
    def is_copying(self) -> bool:
        return self._size > 0

    def copy(self, offset: int, size: int) -> None:
        if self._size and offset == self._start + self._size:
            self._size += size
            return
        self.flush()
        self._start, self._size = offset, size

    def insert(self, data: bytes) -> None:
        if self._size:
            self.flush()
        self._pending += data

    def flush(self) -> None:
        if self._pending:
            _insert(self._out, self._pending)
            self._pending = bytearray()
        if self._size:
            _copy(self._out, self._start, self._size)
            self._size = 0


def _match_lines(out: bytearray, base: bytes, middle: bytes, at: int) -> None:
    """Copy the lines that ``base`` (which begins at offset ``at``) has, preferring runs; insert the others."""
    lines = base.splitlines(keepends=True)
    offsets: list[int] = []
    places: dict[bytes, list[int]] = {}
    for number, line in enumerate(lines):
        offsets.append(at)
        places.setdefault(line, []).append(number)
        at += len(line)
    emitter = _Emitter(out)
    expected = 0
    for line in middle.splitlines(keepends=True):
        found = expected if expected < len(lines) and lines[expected] == line else _nearest(places.get(line), expected)
        if found is not None and (len(line) >= _SHORT_LINE or (found == expected and emitter.is_copying)):
            emitter.copy(offsets[found], len(line))
            expected = found + 1
        else:
            emitter.insert(line)
            expected += 1
    emitter.flush()


def _nearest(places: list[int] | None, expected: int) -> int | None:
    """The next place at or after ``expected``, else the first."""
    if places is None:
        return None
    at = bisect_left(places, expected)  # an output can hold a hundred thousand equal lines
    return places[at] if at < len(places) else places[0]
