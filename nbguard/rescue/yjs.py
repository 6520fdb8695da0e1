"""A Yjs document put together from its updates, as far as reading it needs: texts, arrays and maps.

The rules are those of Yjs (YATA: every item knows what stood left and right of it when it was made; among those made
at one place at the same time, the smaller client comes first). Lengths count UTF-16 units, as in JavaScript.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from nbguard.rescue.lib0 import Malformed, Value
from nbguard.rescue.yjs_update import GC, STRING, Branch, Id, Item, read_update

_MOST_ITEMS = 3_000_000


class Document:
    """A document; :meth:`apply` updates in any order, then look into :meth:`root`."""

    def __init__(self) -> None:
        self._items: dict[int, list[Item]] = {}
        self._roots: dict[str, Branch] = {}
        self._waiting: list[Item] = []
        self._deletes: list[tuple[int, int, int]] = []
        self._count = 0

    def root(self, name: str) -> Branch:
        """What the document calls by that name; empty when there is none."""
        return self._roots.setdefault(name, Branch())

    def apply(self, update: bytes) -> None:
        """Take one update in; what it builds on may come later. Raises Malformed (then nothing of it counts)."""
        items, deletes = read_update(update)
        self._count += len(items)
        if self._count > _MOST_ITEMS:
            raise Malformed("too large a document")
        self._waiting += items
        self._deletes += deletes
        self._integrate_waiting()
        self._deletes = [each for each in self._deletes if not self._delete(*each)]

    def _integrate_waiting(self) -> None:
        progress = True
        while progress and self._waiting:
            progress = False
            still: list[Item] = []
            for item in sorted(self._waiting, key=lambda each: (each.client, each.clock)):
                state = self._state(item.client)
                if item.clock + item.length <= state:
                    continue  # known already
                if item.clock > state or not self._has_all(item):
                    still.append(item)
                    continue
                self._integrate(item, state - item.clock)
                progress = True
            self._waiting = still

    def _state(self, client: int) -> int:
        items = self._items.get(client)
        return items[-1].clock + items[-1].length if items else 0

    def _has_all(self, item: Item) -> bool:
        needed = (item.origin, item.right_origin, item.parent_id)
        return all(each is None or each[1] < self._state(each[0]) or each[0] == item.client for each in needed)

    def _integrate(self, item: Item, known: int) -> None:
        """Put an item in its place; the first ``known`` units of it are there already."""
        if known:
            _cut_front(item, known)
            item.origin = (item.client, item.clock - 1)
        self._items.setdefault(item.client, []).append(item)
        if item.kind == GC:
            return
        item.left = self._ending_at(item.origin) if item.origin is not None else None
        item.right = self._beginning_at(item.right_origin) if item.right_origin is not None else None
        self._find_parent(item)
        if item.parent is None:
            item.kind = GC  # what it was a part of is gone
            return
        self._find_place(item)
        self._link(item, item.parent)

    def _find_parent(self, item: Item) -> None:
        if any(each is not None and each.kind == GC for each in (item.left, item.right)):
            return
        if item.parent_name is not None:
            item.parent = self.root(item.parent_name)
        elif item.parent_id is not None:
            holder = self._holding(item.parent_id)
            item.parent = holder.branch if holder is not None else None
        else:
            beside = item.left or item.right
            if beside is not None:
                item.parent, item.key = beside.parent, beside.key

    def _find_place(self, item: Item) -> None:
        """Behind those that were made at the same place by smaller clients, and what was made behind these."""
        parent, left, right = item.parent, item.left, item.right
        assert parent is not None
        if (left is not None and left.right is right) or (left is None and right is not None and right.left is None):
            return
        other = left.right if left is not None else _first(parent, item.key)
        before: set[int] = set()
        conflicting: set[int] = set()
        while other is not None and other is not right:
            before.add(id(other))
            conflicting.add(id(other))
            if other.origin == item.origin:
                if other.client < item.client:
                    left = other
                    conflicting.clear()
                elif other.right_origin == item.right_origin:
                    break
            else:
                origin = self._holding(other.origin) if other.origin is not None else None
                if origin is None or id(origin) not in before:
                    break
                if id(origin) not in conflicting:
                    left = other
                    conflicting.clear()
            other = other.right
        item.left = left

    @staticmethod
    def _link(item: Item, parent: Branch) -> None:
        if item.left is not None:
            item.right = item.left.right
            item.left.right = item
        else:
            item.right = _first(parent, item.key)
            if item.key is None:
                parent.start = item
        if item.right is not None:
            item.right.left = item
            if item.key is not None:
                item.is_deleted = True  # a newer value of this key is there
        elif item.key is not None:
            parent.keys[item.key] = item
            if item.left is not None:
                item.left.is_deleted = True

    def _delete(self, client: int, clock: int, length: int) -> bool:
        """Mark a range as deleted; whether all of it was there."""
        end = clock + length
        is_there = self._state(client) >= end
        end = min(end, self._state(client))
        while clock < end:
            item = self._beginning_at((client, clock))
            if item is None:
                return is_there
            if item.clock + item.length > end:
                self._split(item, end - item.clock)
            item.is_deleted = True
            clock = item.clock + item.length
        return is_there

    def _holding(self, identity: Id) -> Item | None:
        """The item that holds this unit."""
        items = self._items.get(identity[0], [])
        at = bisect_right(items, identity[1], key=lambda each: each.clock) - 1
        if at < 0 or identity[1] >= items[at].clock + items[at].length:
            return None
        return items[at]

    def _beginning_at(self, identity: Id) -> Item | None:
        """The item that begins with this unit; one that holds it further inside is split."""
        item = self._holding(identity)
        if item is None or item.clock == identity[1] or item.kind == GC:
            return item
        return self._split(item, identity[1] - item.clock)

    def _ending_at(self, identity: Id) -> Item | None:
        """The item that ends with this unit."""
        item = self._holding(identity)
        if item is None or item.clock + item.length == identity[1] + 1 or item.kind == GC:
            return item
        self._split(item, identity[1] - item.clock + 1)
        return item

    def _split(self, item: Item, length: int) -> Item:
        """Leave the first ``length`` units in ``item``; the rest is a new item to its right, which is returned."""
        rest = Item(item.client, item.clock + length, item.length - length, item.kind)
        rest.origin, rest.right_origin = (item.client, item.clock + length - 1), item.right_origin
        rest.parent, rest.key, rest.is_deleted = item.parent, item.key, item.is_deleted
        rest.text, rest.values = item.text[2 * length :], item.values[length:]
        item.text, item.values, item.length = item.text[: 2 * length], item.values[:length], length
        rest.left, rest.right = item, item.right
        if item.right is not None:
            item.right.left = rest
        item.right = rest
        if rest.key is not None and rest.right is None and rest.parent is not None:
            rest.parent.keys[rest.key] = rest
        items = self._items[item.client]
        items.insert(bisect_right(items, item.clock, key=lambda each: each.clock), rest)
        return rest


def plain(branch: Branch, kind: int | None = None) -> Value:
    """A branch as plain values: a text (kind 2) as str, a map (1) as dict, an array (0) as list."""
    kind = branch.kind if kind is None else kind
    if kind in (2, 6):
        return b"".join(item.text for item in _visible(branch)).decode("utf-16-le", "replace")
    if kind == 1:
        held = {key: _values(item) for key, item in branch.keys.items() if not item.is_deleted}
        return {key: values[-1] for key, values in held.items() if values}
    return [value for item in _visible(branch) for value in _values(item)]


def count(branch: Branch) -> int:
    """How many entries an array has."""
    return sum(item.length for item in _visible(branch))


def _visible(branch: Branch) -> Iterator[Item]:
    item = branch.start
    while item is not None:
        if not item.is_deleted and item.kind != GC:
            yield item
        item = item.right


def _values(item: Item) -> list[Value]:
    if item.branch is not None:
        return [plain(item.branch)]
    return [item.text.decode("utf-16-le", "replace")] if item.kind == STRING else item.values


def _first(parent: Branch, key: str | None) -> Item | None:
    if key is None:
        return parent.start
    item = parent.keys.get(key)
    while item is not None and item.left is not None:
        item = item.left
    return item


def _cut_front(item: Item, known: int) -> None:
    item.clock += known
    item.length -= known
    item.text, item.values = item.text[2 * known :], item.values[known:]
