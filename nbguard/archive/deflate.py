"""Deflating what git stores: text as usual, drawings without looking for repetitions that base64 never has.

Half of a notebook's bytes are drawings. Coding their letters alone makes them as small as a search for repetitions
does, in a third of the time. Each part is one flushed piece of the same zlib stream.
"""

from __future__ import annotations

import zlib

LEVEL = 1
_LONG_LINE = 2_000
_KEY = 64  # what may stand around base64 in its line
_HEAD = b"\x78\x01"
_END = b"\x03\x00"  # an empty last block


def deflate(data: bytes) -> bytes:
    """A zlib stream of ``data``."""
    drawings = _drawings(data)
    if not drawings:
        return zlib.compress(data, LEVEL)
    out, at, view = [_HEAD], 0, memoryview(data)
    for start, end in drawings:
        out += [_piece(view[at:start], zlib.Z_DEFAULT_STRATEGY), _piece(view[start:end], zlib.Z_HUFFMAN_ONLY)]
        at = end
    out += [_piece(view[at:], zlib.Z_DEFAULT_STRATEGY), _END, zlib.adler32(data).to_bytes(4, "big")]
    return b"".join(out)


def _piece(data: memoryview, strategy: int) -> bytes:
    if not data:
        return b""
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)


def _drawings(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of every long line of base64, found by leaping from newline to newline."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        start = data.rfind(b"\n", at, at + _LONG_LINE)
        if start >= 0:
            at = start + 1
            continue
        end = data.find(b"\n", at + _LONG_LINE)
        end = end if end >= 0 else len(data)
        if end - at < _LONG_LINE:
            break
        if data.find(b" ", at + _KEY, end - _KEY) < 0 and data.find(b",", at + _KEY, end - _KEY) < 0:
            found.append((at, end))
        at = end + 1
    return found
