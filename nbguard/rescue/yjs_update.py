"""The items that a Yjs update brings, and the ranges that it deletes: its encoding, version 1."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbguard.rescue.lib0 import Decoder, Malformed, Value

GC, _SKIP, STRING = 0, 10, 4

Id = tuple[int, int]


@dataclass(slots=True, eq=False)
class Branch:
    """An array, text or map: its items in order, and the newest item of each key."""

    start: Item | None = None
    keys: dict[str, Item] = field(default_factory=dict)
    kind: int = -1


@dataclass(slots=True, eq=False)
class Item:
    """Some units of content that were made together by one client; ``kind`` is Yjs' number for what they are."""

    client: int
    clock: int
    length: int
    kind: int
    origin: Id | None = None
    right_origin: Id | None = None
    parent: Branch | None = None
    parent_name: str | None = None
    parent_id: Id | None = None
    key: str | None = None
    text: bytes = b""  # UTF-16-LE
    values: list[Value] = field(default_factory=list)
    branch: Branch | None = None
    is_deleted: bool = False
    left: Item | None = None
    right: Item | None = None


def read_update(update: bytes) -> tuple[list[Item], list[tuple[int, int, int]]]:
    """The items and the deleted ranges (client, clock, length) of an update. Raises Malformed."""
    decoder = Decoder(update)
    items: list[Item] = []
    for _ in range(decoder.number()):
        structs, client, clock = decoder.number(), decoder.number(), decoder.number()
        for _ in range(structs):
            item = _item(decoder, client, clock)
            clock += item.length
            if item.kind != _SKIP and item.length:
                items.append(item)
    deletes: list[tuple[int, int, int]] = []
    for _ in range(decoder.number()):
        client, ranges = decoder.number(), decoder.number()
        deletes += [(client, decoder.number(), decoder.number()) for _ in range(ranges)]
    if not decoder.is_done:
        raise Malformed("there is more than an update")
    return items, deletes


def _item(decoder: Decoder, client: int, clock: int) -> Item:
    info = decoder.byte()
    kind = info & 0x1F
    item = Item(client, clock, 1, kind)
    if kind in (GC, _SKIP):
        item.length = decoder.number()
        return item
    if info & 0x80:
        item.origin = (decoder.number(), decoder.number())
    if info & 0x40:
        item.right_origin = (decoder.number(), decoder.number())
    if not info & 0xC0:
        if decoder.number() == 1:
            item.parent_name = decoder.text()
        else:
            item.parent_id = (decoder.number(), decoder.number())
        if info & 0x20:
            item.key = decoder.text()
    _content(decoder, item)
    return item


def _content(decoder: Decoder, item: Item) -> None:
    match item.kind:
        case 1:
            item.length, item.is_deleted = decoder.number(), True
        case 2:
            item.values = [decoder.json() for _ in range(decoder.number())]
            item.length = len(item.values)
        case 3:
            item.values = [decoder.raw(decoder.number())]
        case 4:
            item.text = decoder.text().encode("utf-16-le", "surrogatepass")
            item.length = len(item.text) // 2
        case 5:
            item.values = [decoder.json()]
        case 6:
            decoder.text(), decoder.json()
        case 7:
            kind = decoder.number()
            if kind in (3, 5):
                decoder.text()
            item.branch = Branch(kind=kind)
        case 8:
            item.values = [decoder.value() for _ in range(decoder.number())]
            item.length = len(item.values)
        case 9:
            decoder.text(), decoder.value()
        case _:
            raise Malformed(f"content of kind {item.kind}")
