"""When a file was made: what tells a renamed notebook from a new one that was given a freed inode."""

from __future__ import annotations

import ctypes
import os
import sys

_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME = -100, 0x100, 0x800
_MASK_AT, _BIRTH_AT = 0, 80  # in struct statx, the same on every architecture


def birth_ns(path: str) -> int | None:
    """When the file at ``path`` was made, in nanoseconds since 1970; None where that cannot be known."""
    if sys.platform == "darwin":
        try:
            return int(os.lstat(path).st_birthtime * 1e9)
        except OSError:
            return None
    statx = getattr(ctypes.CDLL(None), "statx", None)  # glibc 2.28, musl 1.2.3; Python has it from 3.15
    answer = ctypes.create_string_buffer(256)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, answer) != 0:
        return None
    if not int.from_bytes(answer.raw[_MASK_AT : _MASK_AT + 4], sys.byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(answer.raw[_BIRTH_AT : _BIRTH_AT + 8], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(answer.raw[_BIRTH_AT + 8 : _BIRTH_AT + 12], sys.byteorder)
