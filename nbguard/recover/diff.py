"""What changed between two notebooks, cell by cell: bytes in, values out."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from enum import StrEnum

from nbguard.recover.cells import Cell, Cells, read_cells

_ALIKE = 0.5
_MOST_PAIRS = 2_500
_MOST_LINES = 4_000
_MOST_CHARS = 400_000


class Change(StrEnum):
    """What happened to a cell."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChange:
    """One cell that is not as it was. Positions count from 0; ``lines`` is a unified diff of the source.

    ``notes`` name what else differs: outputs, execution count, metadata, attachments, the cell's kind.
    """

    change: Change
    kind: str
    before: int | None
    after: int | None
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookDiff:
    """All that changed. ``readable`` is False when a side is no notebook; then ``text`` is a diff of plain lines."""

    identical: bool
    readable: bool
    cells: tuple[CellChange, ...] = ()
    notes: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


def diff_notebooks(old: bytes, new: bytes) -> NotebookDiff:
    """Compare two notebooks. Never raises; bytes that are no notebook are compared as text."""
    if old == new:
        return NotebookDiff(identical=True, readable=True)
    before, after = read_cells(old), read_cells(new)
    if before is None or after is None:
        return NotebookDiff(identical=False, readable=False, text=tuple(_text_diff(old, new)))
    cells = tuple(_changes(before, after))
    notes = ["metadata of the notebook changed"] if before.metadata != after.metadata else []
    if not cells and not notes:
        notes.append("only the layout of the file changed (indentation, key order, cell ids)")
    return NotebookDiff(identical=False, readable=True, cells=cells, notes=tuple(notes))


def align(old: Sequence[Cell], new: Sequence[Cell]) -> list[tuple[int, int]]:
    """Pairs of positions of the same cell: by id, then by equal source, then by likeness between those."""
    pairs = _unique_pairs([_identity(cell) for cell in old], [_identity(cell) for cell in new])
    pairs |= _unique_pairs(
        [None if at in pairs else (cell.kind, cell.source) for at, cell in enumerate(old)],
        [None if at in pairs.values() else (cell.kind, cell.source) for at, cell in enumerate(new)],
    )
    anchors = in_order(sorted(pairs.items()))
    taken = set(pairs.values())
    start_old = start_new = 0
    for end_old, end_new in [*anchors, (len(old), len(new))]:
        free_old = [at for at in range(start_old, end_old) if at not in pairs]
        free_new = [at for at in range(start_new, end_new) if at not in taken]
        pairs |= _alike(old, new, free_old, free_new)
        start_old, start_new = end_old + 1, end_new + 1
    return sorted(pairs.items())


def in_order(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs (sorted by the first) whose second positions rise too; the others have moved."""
    tails: list[int] = []
    tail_at: list[int] = []
    back: list[int] = []
    for index, (_, position) in enumerate(pairs):
        slot = bisect_left(tails, position)
        back.append(tail_at[slot - 1] if slot else -1)
        tails[slot : slot + 1] = [position]
        tail_at[slot : slot + 1] = [index]
    chain = []
    index = tail_at[-1] if tail_at else -1
    while index >= 0:
        chain.append(pairs[index])
        index = back[index]
    return chain[::-1]


def _identity(cell: Cell) -> Hashable:
    return cell.id or None


def _unique_pairs(old: Sequence[Hashable], new: Sequence[Hashable]) -> dict[int, int]:
    """Positions of keys that occur once on each side; None is no key."""
    seen_old, seen_new = Counter(old), Counter(new)
    where = {key: at for at, key in enumerate(new) if key is not None and seen_new[key] == 1}
    return {at: where[key] for at, key in enumerate(old) if seen_old[key] == 1 and key in where}


def _alike(old: Sequence[Cell], new: Sequence[Cell], free_old: list[int], free_new: list[int]) -> dict[int, int]:
    """Pair cells of one gap, the likest first, never crossing."""
    if not free_old or not free_new or len(free_old) * len(free_new) > _MOST_PAIRS:
        return {}
    scored = sorted(
        (
            (score, -abs(row - column), at, to)
            for row, at in enumerate(free_old)
            for column, to in enumerate(free_new)
            if old[at].kind == new[to].kind and (score := _likeness(old[at].source, new[to].source)) >= _ALIKE
        ),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for _, _, at, to in scored:
        if all((at < a) == (to < b) and at != a and to != b for a, b in pairs.items()):
            pairs[at] = to
    return pairs


def _likeness(old: str, new: str) -> float:
    """0 to 1: equal lines count most; short sources by their characters."""
    if old == new:
        return 1.0
    if len(old) + len(new) > 800:
        matcher = SequenceMatcher(None, old.splitlines()[:400], new.splitlines()[:400], autojunk=False)
        return matcher.ratio() if matcher.real_quick_ratio() >= _ALIKE else 0.0
    characters = SequenceMatcher(None, old, new, autojunk=False)
    if characters.real_quick_ratio() < _ALIKE or characters.quick_ratio() < _ALIKE:
        return 0.0
    return characters.ratio()


def _changes(before: Cells, after: Cells) -> list[CellChange]:
    old, new = before.cells, after.cells
    pairs = align(old, new)
    stayed = set(in_order(pairs))
    origin = {to: at for at, to in pairs}
    kept = {at for at, _ in pairs}
    found: list[tuple[float, CellChange]] = [
        (_place(at, stayed), _lost(old[at], at)) for at in range(len(old)) if at not in kept
    ]
    for to, cell in enumerate(new):
        if to not in origin:
            lines = tuple(f"+{line}" for line in cell.source.splitlines())
            found.append((to, CellChange(change=Change.ADDED, kind=cell.kind, before=None, after=to, lines=lines)))
            continue
        at = origin[to]
        lines, notes = _source_diff(old[at].source, cell.source), _notes(old[at], cell)
        moved = (at, to) not in stayed
        if lines or notes or moved:
            change = Change.CHANGED if lines or notes else Change.MOVED
            if moved and change is Change.CHANGED:
                notes = (f"moved from cell {at + 1}", *notes)
            found.append((to, CellChange(change=change, kind=cell.kind, before=at, after=to, lines=lines, notes=notes)))
    return [change for _, change in sorted(found, key=lambda item: item[0])]


def _place(at: int, stayed: set[tuple[int, int]]) -> float:
    """Where a removed cell is told: after the last cell before it that stayed."""
    return max((to + 0.5 for before, to in stayed if before < at), default=-0.5)


def _lost(cell: Cell, at: int) -> CellChange:
    lines = tuple(f"-{line}" for line in cell.source.splitlines())
    notes = (f"{_outputs(len(cell.outputs))} removed with it",) if cell.outputs else ()
    return CellChange(change=Change.REMOVED, kind=cell.kind, before=at, after=None, lines=lines, notes=notes)


def _source_diff(old: str, new: str) -> tuple[str, ...]:
    if old == new:
        return ()
    before, after = old.splitlines(), new.splitlines()
    if before == after:
        return (" (only line ends changed)",)
    return tuple(_unified(before, after))


def _unified(before: list[str], after: list[str]) -> list[str]:
    if len(before) > _MOST_LINES or len(after) > _MOST_LINES or _chars(before) + _chars(after) > _MOST_CHARS:
        return [f" (too long to compare: {len(before)} lines became {len(after)})"]
    return list(unified_diff(before, after, lineterm="", n=3))[2:]


def _chars(lines: list[str]) -> int:
    return sum(map(len, lines))


def _notes(old: Cell, new: Cell) -> tuple[str, ...]:
    notes = []
    if old.kind != new.kind:
        notes.append(f"{old.kind} became {new.kind}")
    if old.outputs != new.outputs:
        notes.append(_outputs_note(len(old.outputs), len(new.outputs)))
    if old.count != new.count and old.outputs == new.outputs:
        notes.append("run again" if new.count is not None else "execution count cleared")
    if old.metadata != new.metadata:
        notes.append("metadata changed")
    if old.attachments != new.attachments:
        notes.append("attachments changed")
    return tuple(notes)


def _outputs_note(old: int, new: int) -> str:
    if not new:
        return f"{_outputs(old)} cleared"
    if not old:
        return f"{_outputs(new)} appeared"
    return "outputs changed" if old == new else f"outputs changed: {old} became {new}"


def _outputs(count: int) -> str:
    return f"{count} output{'s' if count != 1 else ''}"


def _text_diff(old: bytes, new: bytes) -> list[str]:
    before = old.decode("utf-8", "backslashreplace").splitlines()
    after = new.decode("utf-8", "backslashreplace").splitlines()
    return _unified(before, after) or [f" ({len(old)} bytes became {len(new)}; the lines are the same)"]
