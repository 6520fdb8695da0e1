"""How the daemon and its receiver talk through pipes: a kind and some byte strings, each with its length before it."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

_HEAD = struct.Struct(">BBI")
_LENGTH = struct.Struct(">I")
_LONGEST_BYTES = 1_000_000_000
_MOST_PARTS = 16


class Kind(IntEnum):
    """FOLLOW and LEAVE go to the receiver, the others come from it. The first part names a tap, but for BEAT.

    FOLLOW: tap, address, key, scheme, curve public key, curve secret key, longest message that is passed on whole.
    MESSAGE: tap, Cut, size of the content as it was sent, header, parent, content (or its beginning).
    LOST: tap, messages, bytes. FORGED: tap, messages. UP, DOWN: tap. REFUSED: tap, reason.
    """

    FOLLOW = 1
    LEAVE = 2
    BEAT = 3
    MESSAGE = 4
    LOST = 5
    FORGED = 6
    UP = 7
    DOWN = 8
    REFUSED = 9


class Cut(IntEnum):
    """Whether a message's content is whole, and if not, why: too long by itself, or too much came at once."""

    WHOLE = 0
    TOO_LONG = 1
    TOO_MUCH = 2


class Packet(NamedTuple):
    """One thing said through a pipe."""

    kind: Kind
    parts: tuple[bytes, ...]


class Garbled(ValueError):
    """What came through the pipe is not what we speak: the other side is not to be trusted any more."""


def number(value: int) -> bytes:
    """A number as a part."""
    return b"%d" % value


def pack(kind: Kind, *parts: bytes) -> bytes:
    """One packet as bytes."""
    body = b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))
    return _HEAD.pack(kind, len(parts), len(body)) + body


class Splitter:
    """Bytes as they come, packets as they are whole. Holds at most one packet that is not whole yet."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now. Raises Garbled."""
        self._pending += data
        packets, at = [], 0
        view = memoryview(self._pending)
        try:
            while len(view) - at >= _HEAD.size:
                kind, count, size = _HEAD.unpack_from(view, at)
                if size > _LONGEST_BYTES or count > _MOST_PARTS:
                    raise Garbled(f"a packet of {size} bytes in {count} parts")
                end = at + _HEAD.size + size
                if end > len(view):
                    break
                packets.append(_packet(kind, count, view[at + _HEAD.size : end]))
                at = end
        finally:
            view.release()
        del self._pending[:at]
        return packets


def _packet(kind: int, count: int, body: memoryview) -> Packet:
    parts, at = [], 0
    for _ in range(count):
        if at + _LENGTH.size > len(body):
            raise Garbled("a packet shorter than it says")
        (size,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        if at + size > len(body):
            raise Garbled("a part longer than its packet")
        parts.append(bytes(body[at : at + size]))
        at += size
    body.release()
    try:
        return Packet(Kind(kind), tuple(parts))
    except ValueError:
        raise Garbled(f"a packet of the unknown kind {kind}") from None
