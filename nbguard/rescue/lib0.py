"""Numbers, texts and values as Yjs writes them (lib0 encoding, and the struct format of Yjs updates, version 1)."""

from __future__ import annotations

import json
import struct

_MOST_DEEP = 200

Value = None | bool | int | float | str | bytes | list["Value"] | dict[str, "Value"]


class Malformed(ValueError):
    """The bytes are no Yjs update."""


class Decoder:
    """Reads one after the other. Every method raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        if self._at >= len(self._data):
            raise Malformed("it ends early")
        self._at += 1
        return self._data[self._at - 1]

    def number(self) -> int:
        """An unsigned number of any length."""
        value = shift = 0
        while shift < 70:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise Malformed("a number without end")

    def signed(self) -> int:
        """A signed number: the first byte holds the sign and six bits."""
        byte = self.byte()
        value, sign, shift = byte & 0x3F, -1 if byte & 0x40 else 1, 6
        while byte & 0x80:
            if shift > 70:
                raise Malformed("a number without end")
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
        return sign * value

    def raw(self, length: int) -> bytes:
        if length < 0 or self._at + length > len(self._data):
            raise Malformed("it ends early")
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        return self.raw(self.number()).decode("utf-8", "replace")

    def json(self) -> Value:
        """A value written as JSON text; Yjs writes ``undefined`` for none."""
        text = self.text()
        try:
            found: Value = None if text == "undefined" else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Malformed("no JSON") from error
        return found

    def value(self, depth: int = 0) -> Value:
        """A value of lib0's own format."""
        if depth > _MOST_DEEP:
            raise Malformed("nested too deeply")
        kind = self.byte()
        match kind:
            case 126 | 127:
                return None
            case 125:
                return self.signed()
            case 124:
                return float(struct.unpack(">f", self.raw(4))[0])
            case 123:
                return float(struct.unpack(">d", self.raw(8))[0])
            case 122:
                return int.from_bytes(self.raw(8), "big", signed=True)
            case 120 | 121:
                return kind == 120
            case _:
                return self._composed(kind, depth)

    def _composed(self, kind: int, depth: int) -> Value:
        if kind == 119:
            return self.text()
        if kind == 118:
            return {self.text(): self.value(depth + 1) for _ in range(self._count())}
        if kind == 117:
            return [self.value(depth + 1) for _ in range(self._count())]
        if kind == 116:
            return self.raw(self.number())
        raise Malformed(f"a value of kind {kind}")

    def _count(self) -> int:
        count = self.number()
        if count > len(self._data) - self._at:
            raise Malformed("more entries than bytes")
        return count
