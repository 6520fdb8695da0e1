"""Deltas between successive versions of one notebook, in git's format.

Notebooks are lines of JSON and a save changes a few cells: what is equal is found by comparing memory, from where the
two are known to run alongside. Where they part, the newer one is inserted line by line until its next line is met
again in the older one. Format: git's Documentation/gitformat-pack ("deltified representation").
"""

from __future__ import annotations

_LONGEST_COPY = 0xFFFFFF
_LONGEST_INSERT = 127
_FIRST_STEP = 4096
# What is looked for when the two have parted: a little of the next line nearby, or more of it anywhere.
_NEAR_PROBE = 40
_NEAR = 4096
_FAR_PROBE = 128  # from 100 bytes on, CPython's search skips ahead
_FIRST_FAR_LOOK = 4
_LOOKS = 4_000_000  # bytes looked through at most, and so many times the older one
_MOST_LOOKS = 64
_SHORTEST_PROBE = 8


def make_delta(old: bytes, new: bytes) -> bytes:
    """Instructions that make ``new`` from ``old``."""
    prefix = _common_prefix(old, 0, new, 0, min(len(old), len(new)))
    suffix = _common_suffix(old, new, min(len(old), len(new)) - prefix)
    emitter = _Emitter(bytearray(_varint(len(old)) + _varint(len(new))))
    emitter.copy(0, prefix)
    _Middle(old, new, prefix, suffix).match(emitter)
    emitter.copy(len(old) - suffix, suffix)
    return emitter.finish()


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


def _common_prefix(old: bytes, at: int, new: bytes, here: int, limit: int) -> int:
    """How many bytes, at most ``limit``, are equal from there and from here.

    Galloping, then halving: each comparison is one memcmp.
    """
    low, step = 0, _FIRST_STEP
    while low < limit:
        end = min(limit, low + step)
        if not old.startswith(new[here + low : here + end], at + low):
            break
        low, step = end, step * 2
    else:
        return limit
    high = end
    while high - low > 1:
        middle = (low + high) // 2
        if old.startswith(new[here + low : here + middle], at + low):
            low = middle
        else:
            high = middle
    return low


def _common_suffix(a: bytes, b: bytes, limit: int) -> int:
    low, step = 0, _FIRST_STEP
    while low < limit:
        end = min(limit, low + step)
        if not a.startswith(b[len(b) - end : len(b) - low], len(a) - end):
            break
        low, step = end, step * 2
    else:
        return limit
    high = end
    while high - low > 1:
        middle = (low + high) // 2
        if a.startswith(b[len(b) - middle : len(b) - low], len(a) - middle):
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

    def copy(self, offset: int, size: int) -> None:
        if not size:
            return
        if self._size and offset == self._start + self._size:
            self._size += size
            return
        self._flush()
        self._start, self._size = offset, size

    def insert(self, data: bytes) -> None:
        if self._size:
            self._flush()
        self._pending += data

    def finish(self) -> bytes:
        self._flush()
        return bytes(self._out)

    def _flush(self) -> None:
        if self._pending:
            _insert(self._out, self._pending)
            self._pending = bytearray()
        if self._size:
            _copy(self._out, self._start, self._size)
            self._size = 0


class _Middle:
    """What lies between the common prefix and suffix of two states."""

    def __init__(self, old: bytes, new: bytes, prefix: int, suffix: int) -> None:
        self._old, self._new, self._first = old, new, prefix
        self._old_end, self._new_end = len(old) - suffix, len(new) - suffix
        self._left = _LOOKS + _MOST_LOOKS * (self._old_end - prefix)  # so that no two states take long

    def match(self, emitter: _Emitter) -> None:
        """Copy the runs that the older one has, insert the rest."""
        at = here = self._first  # in old, in new: there they part
        while here < self._new_end:
            start = here
            here, at = self._meet_again(at, here)
            emitter.insert(self._new[start:here])
            run = _common_prefix(self._old, at, self._new, here, min(self._old_end - at, self._new_end - here))
            emitter.copy(at, run)
            at, here = at + run, here + run

    def _meet_again(self, at: int, here: int) -> tuple[int, int]:
        """The beginning of a later line of the newer one and where the older one has it too; or the end."""
        old, new = self._old, self._new
        line_end = old.find(b"\n", at, self._old_end) + 1 or self._old_end
        near_end = min(line_end + _NEAR, self._old_end)
        missed, look_far = 0, _FIRST_FAR_LOOK
        while self._left >= 0 and (here := new.find(b"\n", here, self._new_end) + 1):
            probe = new[here : min(here + _NEAR_PROBE, self._new_end)]
            if len(probe) < _SHORTEST_PROBE:
                break
            found = old.find(probe, line_end, near_end)
            if found < 0 and line_end - at > _NEAR_PROBE:
                found = old.find(probe, at, min(at + _NEAR, line_end))
            missed += 1
            self._left -= near_end - line_end
            if found < 0 and missed >= look_far:
                look_far *= 2  # a long insertion then costs few looks, and at most as much again is not found
                found = self._look_far(new[here : min(here + _FAR_PROBE, self._new_end)], at)
            if found >= 0:
                return here, found
        return self._new_end, at

    def _look_far(self, probe: bytes, at: int) -> int:
        """Where the older one has it, ahead if possible; -1 when it does not."""
        found = self._old.find(probe, at, self._old_end)
        if found < 0:
            found = self._old.find(probe, self._first, at)
        self._left -= abs(found - at) if found >= 0 else self._old_end - self._first
        return found
