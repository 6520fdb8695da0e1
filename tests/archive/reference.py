"""Second opinions, written from git's format documents: what tests compare the archive's own code with."""

from __future__ import annotations


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """gitformat-pack, "deltified representation". Raises ValueError where git would refuse."""
    base_size, at = _varint(delta, 0)
    size, at = _varint(delta, at)
    if base_size != len(base):
        raise ValueError("made for another base")
    if len(delta) < 4 and size:
        raise ValueError("git takes no delta under 4 bytes")
    out = bytearray()
    while at < len(delta):
        code = delta[at]
        at += 1
        if code & 0x80:
            offset = count = 0
            for bit in range(4):
                if code & 1 << bit:
                    offset |= delta[at] << 8 * bit
                    at += 1
            for bit in range(3):
                if code & 16 << bit:
                    count |= delta[at] << 8 * bit
                    at += 1
            count = count or 0x10000
            if offset + count > len(base):
                raise ValueError("copies from behind the end")
            out += base[offset : offset + count]
        elif code:
            out += delta[at : at + code]
            if at + code > len(delta):
                raise ValueError("cut short")
            at += code
        else:
            raise ValueError("reserved instruction")
    if len(out) != size:
        raise ValueError(f"{len(out)} bytes instead of {size}")
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if not byte & 128:
            return number, at
