"""Cells that lay in other files (checkpoints, the trash, git …), brought together with those of the last version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.recover.found import FoundCell
from nbguard.recover.likeness import likeness
from nbguard.recover.sound_cells import Json, joined, normal, read_object, sound_cell

_VARIANT = 0.75
_VARIANT_BY_ID = 0.5
_SHORT_VARIANT = 0.92
_SHORT_CHARS = 40
_MOST_COMPARED = 40


@dataclass(slots=True, eq=False)
class Held:
    """One cell of the union: where it is from, and other texts of it that were found (text, origin)."""

    cell: Json
    origin: str
    variants: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.cell["cell_type"])

    @property
    def text(self) -> str:
        return normal(joined(self.cell["source"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class United:
    """``cells`` belong to the notebook, in order; ``older`` were found only in files from before the last version."""

    cells: list[Held]
    older: list[Held]


def unite(base: Sequence[Held], lying: Sequence[FoundCell], *, base_at: datetime | None) -> United:
    """The base, and what other files hold that it does not: each cell beside the neighbours it had in its file.

    Files are taken in turn, the newest first. A cell whose text is very like one that stands at the same place is a
    variant of that. The base's own cells are neither changed nor moved.
    """
    united = United(cells=list(base), older=[])
    for group in _newest_first(lying):
        is_older = base_at is not None and all(cell.seen_at is not None and cell.seen_at < base_at for cell in group)
        _add(united, [cell for cell in group if normal(cell.source)], is_older=is_older)
    return united


def _newest_first(lying: Sequence[FoundCell]) -> list[list[FoundCell]]:
    groups: dict[str, list[FoundCell]] = defaultdict(list)
    for cell in lying:
        groups[cell.group].append(cell)
    return sorted(groups.values(), key=lambda group: (_time(group), len(group)), reverse=True)


def _time(group: Sequence[FoundCell]) -> float:
    return max((cell.seen_at.timestamp() for cell in group if cell.seen_at is not None), default=0.0)


def _add(united: United, group: Sequence[FoundCell], *, is_older: bool) -> None:
    anchors = _anchors(united.cells, group)
    new: list[tuple[int, Held]] = []
    after = -1 if anchors else len(united.cells) - 1
    following = _following(anchors, len(united.cells))
    for number, found in enumerate(group):
        if number in anchors:
            after = anchors[number]
            continue
        cell = _cell(found)
        free = range(after + 1, following[number]) if anchors else range(len(united.cells))
        if _is_variant(united.cells, free, found) or _is_variant(united.older, range(len(united.older)), found):
            continue
        if is_older:
            united.older.append(cell)
        else:
            new.append((after if after >= 0 else following[number] - 1, cell))
    in_order = sorted(new, key=lambda item: item[0])
    for at, cell in in_order[::-1]:
        united.cells.insert(at + 1, cell)


def _anchors(cells: Sequence[Held], group: Sequence[FoundCell]) -> dict[int, int]:
    """Which cell of the union each found cell is, by equal kind and text, going forward where it can."""
    where: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, cell in enumerate(cells):
        where[cell.kind, cell.text].append(at)
    anchors: dict[int, int] = {}
    at = -1
    for number, found in enumerate(group):
        places = where.get((found.kind, normal(found.source)))
        if places:
            at = next((place for place in places if place > at), places[0])
            anchors[number] = at
    return anchors


def _following(anchors: dict[int, int], last: int) -> dict[int, int]:
    """For each number in the group: the place of the next anchor after it."""
    following: dict[int, int] = {}
    place, top = last, max(anchors, default=-1)
    for number in range(top, -1, -1):
        following[number] = place
        place = anchors.get(number, place)
    return defaultdict(lambda: last, following)


def _is_variant(cells: Sequence[Held], places: range, found: FoundCell) -> bool:
    """Whether one of the cells there is the same one with another text; it remembers that."""
    text = normal(found.source)
    for at in places[:_MOST_COMPARED]:
        cell = cells[at]
        if cell.kind != found.kind:
            continue
        has_its_id = found.cell_id is not None and cell.cell.get("id") == found.cell_id
        least = _VARIANT_BY_ID if has_its_id else _VARIANT
        if min(len(cell.text), len(text)) < _SHORT_CHARS:
            least = _SHORT_VARIANT
        if likeness(cell.text, text, least) >= least:
            if text != cell.text and all(normal(known) != text for known, _ in cell.variants):
                cell.variants.append((found.source, found.origin))
            return True
    return False


def _cell(found: FoundCell) -> Held:
    raw: Json = {
        "cell_type": found.kind,
        "id": found.cell_id,
        "metadata": read_object(found.metadata),
        "source": found.source,
        "execution_count": found.line,
        "outputs": _outputs(found),
        "attachments": read_object(found.attachments),
    }
    return Held(cell=sound_cell(raw), origin=found.origin)


def _outputs(found: FoundCell) -> object:
    return read_object(f'{{"outputs": {found.outputs}}}').get("outputs") if found.outputs else []
