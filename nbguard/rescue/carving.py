"""Rows of a history database whose file is damaged, cut out of its pages one by one.

Format: the SQLite file format (sqlite.org/fileformat2.html): table leaf pages (0x0d), records, overflow chains. A page
that makes no sense is passed over; what is found may include rows that were deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LEAF = 0x0D
_USUAL_PAGE_BYTES = 4096
_MOST_PAYLOAD_BYTES = 64_000_000
_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}

Value = int | bytes | None


@dataclass(frozen=True, slots=True)
class CarvedRow:
    """The columns of one record, and its rowid."""

    rowid: int
    values: tuple[Value, ...]


def history_rows(data: bytes) -> list[tuple[int, int, str]]:
    """(session, line, source as it was typed) of everything that looks like a row of ``history``, in order."""
    found: dict[tuple[int, int, str], None] = {}
    for row in carve(data):
        match row.values:
            case (int(session), int(line), bytes() | None, bytes(source)) if (
                0 < session < 1 << 40 and 0 <= line < 1 << 40
            ):
                found[session, line, source.decode("utf-8", "replace")] = None
    return sorted(found)


def session_rows(data: bytes) -> list[tuple[int, str, str]]:
    """(number, start, end) of everything that looks like a row of ``sessions``, in order."""
    found: dict[int, tuple[int, str, str]] = {}
    for row in carve(data):
        match row.values:
            case (None, bytes(start), bytes() | None as end, int() | None, bytes() | None) if _is_time(start):
                found[row.rowid] = (row.rowid, _text(start), _text(end or b""))
    return [found[number] for number in sorted(found)]


def carve(data: bytes) -> Iterator[CarvedRow]:
    """Every record on every page that still looks like a leaf of a table."""
    size = _page_size(data)
    for page in range(len(data) // size):
        start = page * size
        header = start + (100 if page == 0 else 0)
        if data[header] != _LEAF:
            continue
        count = int.from_bytes(data[header + 3 : header + 5], "big")
        if count > size // 4:
            continue
        for number in range(count):
            at = header + 8 + 2 * number
            offset = int.from_bytes(data[at : at + 2], "big")
            if 8 <= offset < size:
                row = _record(data, start + offset, size)
                if row is not None:
                    yield row


def _record(data: bytes, at: int, page_bytes: int) -> CarvedRow | None:
    try:
        length, at = _varint(data, at)
        rowid, at = _varint(data, at)
        payload = _payload(data, at, length, page_bytes)
        header_bytes, here = _varint(payload, 0)
        kinds: list[int] = []
        while here < header_bytes <= len(payload):
            kind, here = _varint(payload, here)
            kinds.append(kind)
        if here != header_bytes or not 2 <= len(kinds) <= 8:
            return None
        values: list[Value] = []
        for kind in kinds:
            value, here = _value(payload, here, kind)
            values.append(value)
    except (IndexError, ValueError):
        return None
    return CarvedRow(rowid, tuple(values))


def _payload(data: bytes, at: int, length: int, page_bytes: int) -> bytes:
    """A record's bytes, also those on overflow pages. Raises ValueError."""
    if not 0 < length <= min(_MOST_PAYLOAD_BYTES, len(data)):
        raise ValueError("no record")
    most = page_bytes - 35
    if length <= most:
        return _exactly(data, at, length)
    least = (page_bytes - 12) * 32 // 255 - 23
    local = least + (length - least) % (page_bytes - 4)
    local = local if local <= most else least
    parts, left = [_exactly(data, at, local)], length - local
    following = int.from_bytes(_exactly(data, at + local, 4), "big")
    seen: set[int] = set()
    while left and following and following not in seen:
        seen.add(following)
        start = (following - 1) * page_bytes
        following = int.from_bytes(_exactly(data, start, 4), "big")
        parts.append(_exactly(data, start + 4, min(left, page_bytes - 4)))
        left -= len(parts[-1])
    if left:
        raise ValueError("a chain that ends early")
    return b"".join(parts)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in _SIZES:
        size = _SIZES[kind]
        raw = _exactly(payload, at, size)
        if kind == 0:
            return None, at
        if kind >= 8:
            return kind - 8, at
        return int.from_bytes(raw, "big", signed=True), at + size
    if kind < 12:
        raise ValueError("a reserved kind")
    size = (kind - 12) // 2
    return _exactly(payload, at, size), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for length in range(9):
        byte = data[at + length]
        if length == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + length + 1
    raise ValueError("no number")


def _exactly(data: bytes, at: int, length: int) -> bytes:
    if at < 0 or at + length > len(data):
        raise ValueError("beyond the end")
    return data[at : at + length]


def _page_size(data: bytes) -> int:
    told = int.from_bytes(data[16:18], "big")
    size = 65_536 if told == 1 else told
    return size if 512 <= size <= 65_536 and size & (size - 1) == 0 else _USUAL_PAGE_BYTES


def _is_time(raw: bytes) -> bool:
    return len(raw) >= 19 and raw[4:5] == b"-" and raw[:4].isdigit()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
