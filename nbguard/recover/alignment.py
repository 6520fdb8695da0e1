"""Which cell of the notebook each execution was: a document that is replayed, one execution after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from nbguard.recover.likeness import TokenIndex, likeness, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The thresholds of the alignment; set on real notebooks' histories (docs/benchmarks-rebuild.md)."""

    alike: float = 0.70
    alike_without_base: float = 0.85
    here: float = 0.12
    near: float = 0.06
    short_chars: int = 15
    short: float = 0.15


@dataclass(frozen=True, slots=True)
class Step:
    """A text that a cell had: ``run`` is the execution that showed it, None for the base."""

    text: str
    run: int | None


@dataclass(slots=True, eq=False)
class Slot:
    """One place in the rebuilt notebook: its texts in order (the last counts), and every run of it.

    ``base`` is its number in the base; None for a cell that was added. ``at`` is its place, renumbered on insertion.
    """

    base: int | None
    steps: list[Step]
    is_code: bool = True
    runs: list[int] = field(default_factory=list)
    at: int = 0

    @property
    def text(self) -> str:
        return self.steps[-1].text


@dataclass(frozen=True, slots=True)
class BaseText:
    """One cell of the base, for aligning: its normal text."""

    text: str
    is_code: bool
    cell_id: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution, for aligning: its normal text."""

    text: str
    failed: bool = False
    cell_id: str | None = None


def align(base: Sequence[BaseText], executed: Sequence[Execution], policy: Policy) -> list[Slot]:
    """The notebook's places in order. Every execution with a text is a run of exactly one of them."""
    document = _Document(base, executed, policy)
    for number in range(len(executed)):
        document.replay(number)
    return document.slots


class _Document:
    def __init__(self, base: Sequence[BaseText], executed: Sequence[Execution], policy: Policy) -> None:
        self.slots = [
            Slot(base=number, steps=[Step(cell.text, None)], is_code=cell.is_code, at=number)
            for number, cell in enumerate(base)
        ]
        self._executed = executed
        self._policy = policy
        self._has_base = any(cell.is_code for cell in base)
        self._pointer = -1
        self._index = TokenIndex()
        self._known: dict[int, Slot] = {}
        self._current: dict[str, list[Slot]] = defaultdict(list)
        self._earlier: dict[str, list[Slot]] = defaultdict(list)
        self._last_run = {execution.text: number for number, execution in enumerate(executed)}
        self._by_id = {cell.cell_id: slot for cell, slot in zip(base, self.slots, strict=True) if cell.cell_id}
        for slot in self.slots:
            if slot.is_code:
                self._hold(slot)

    def replay(self, number: int) -> None:
        """Find the cell that this execution was, or add one."""
        execution = self._executed[number]
        text = execution.text
        if not text:
            return
        slot = self._same(text)
        if slot is None:
            slot = self._revised(execution, number)
            if slot is not None:
                self._replace(slot, Step(text, number))
        if slot is None:
            slot = self._insert(Slot(base=None, steps=[Step(text, number)]))
        slot.runs.append(number)
        self._pointer = slot.at

    def _same(self, text: str) -> Slot | None:
        """The cell that has this very text, the nearest one from here on; or had it."""
        found = self._current.get(text)
        if found:
            return min(found, key=self._distance)
        return None

    def _revised(self, execution: Execution, number: int) -> Slot | None:
        """The cell of which this is a new text."""
        best: tuple[float, Slot] | None = None
        for slot in self._candidates(execution.text):
            if self._last_run.get(slot.text, -1) > number:
                continue
            bonus = self._bonus(slot, execution.text)
            least = self._policy.alike if self._has_base else self._policy.alike_without_base
            score = likeness(slot.text, execution.text, least - bonus) + bonus
            if score >= least and (best is None or score > best[0]):
                best = (score, slot)
        return best[1] if best else None

    def _candidates(self, text: str) -> list[Slot]:
        near = [slot for slot in self.slots[max(self._pointer - 2, 0) : self._pointer + 5] if slot.is_code]
        voted = [self._known[number] for number in self._index.likeliest(text)]
        return list(dict.fromkeys([*near, *voted]))

    def _bonus(self, slot: Slot, text: str) -> float:
        ahead = slot.at - self._pointer
        bonus = 0.0
        if ahead in (0, 1):
            bonus = self._policy.here
        elif abs(ahead) <= 3:
            bonus = self._policy.near
        if min(len(slot.text), len(text)) < self._policy.short_chars:
            bonus -= self._policy.short
        return bonus

    def _distance(self, slot: Slot) -> tuple[int, int]:
        ahead = slot.at - self._pointer
        return (ahead, 0) if ahead > 0 else (-ahead, 1)

    def _insert(self, slot: Slot) -> Slot:
        at = self._pointer + 1
        self.slots.insert(at, slot)
        for place in range(at, len(self.slots)):
            self.slots[place].at = place
        self._hold(slot)
        return slot

    def _replace(self, slot: Slot, step: Step) -> None:
        self._release(slot)
        self._earlier[slot.text].append(slot)
        slot.steps.append(step)
        self._hold(slot)

    def _hold(self, slot: Slot) -> None:
        self._known[id(slot)] = slot
        self._index.add(id(slot), slot.text)
        self._current[slot.text].append(slot)

    def _release(self, slot: Slot) -> None:
        self._index.remove(id(slot), slot.text)
        self._current[slot.text].remove(slot)


def words(text: str) -> int:
    """Tokens of a text."""
    return len(tokens(text).order)
