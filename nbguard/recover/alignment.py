"""Which cell of the notebook each execution was: a document that is replayed, one execution after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nbguard.recover.bindings import is_whole, names_of
from nbguard.recover.likeness import TokenIndex, likeness
from nbguard.recover.slots import BaseText, Execution, Policy, Slot, Step


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
        self._front = -1
        self._session = ""
        self._index = TokenIndex()
        self._known: dict[int, Slot] = {}
        self._current: dict[str, list[Slot]] = defaultdict(list)
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
        slot = self._named(execution, number) or self._same(number)
        if slot is None:
            slot = self._tried(number)
            if slot is not None:
                slot.steps.insert(len(slot.steps) - 1, Step(text, number))
        if slot is None:
            slot = self._revised(number)
            if slot is not None:
                self._replace(slot, Step(text, number))
        if slot is None:
            slot = self._insert(Slot(base=None, steps=[Step(text, number)]), self._place(number))
        slot.runs.append(number)
        if execution.cell_id is not None:
            self._by_id.setdefault(execution.cell_id, slot)
        self._pointer = slot.at
        self._front = max(self._front, slot.at) if self._session == execution.session else slot.at
        self._session = execution.session

    def _named(self, execution: Execution, number: int) -> Slot | None:
        """The cell that has the id which the front end gave, if it gave one; it has this text from now on."""
        slot = self._by_id.get(execution.cell_id) if execution.cell_id is not None else None
        if slot is None or not slot.is_code:
            return None
        if slot.text != execution.text:
            self._replace(slot, Step(execution.text, number))
        return slot

    def _same(self, number: int) -> Slot | None:
        """The cell that has this very text, the nearest one from here on.

        Many notebooks say the same in several cells, and edit all of these in the same way: where the cell that is
        next has an older text very like this one, and what runs next follows it, this is its turn.
        """
        text = self._executed[number].text
        found = self._current.get(text)
        if not found:
            return None
        best = min(found, key=self._distance)
        if 0 <= best.at - self._pointer <= 2:
            return best
        following = self._text_of(number + 1)
        if following is not None and any(slot.text == following for slot in self._after(best, 3)):
            return best
        if not self._has_base and self._is_said_again(best, number):
            return None
        for slot in self._around():
            if (
                slot is not best
                and slot.base is not None
                and len(slot.steps) == 1
                and self._may_go(slot, number)
                and likeness(slot.text, text, self._policy.twin) >= self._policy.twin
            ):
                return None
        return best

    def _is_said_again(self, slot: Slot, number: int) -> bool:
        """Whether this is a new cell with the text of an old one, and not the old one run again.

        It came after the last cell there is, and neither before nor after it ran what stands beside the old one: a
        short text (a seed, a reset, a look) then stands in the notebook twice more often than somebody jumps back.
        """
        return (
            self._executed[number].session == self._session
            and self._pointer == self._front
            and slot.text.count("\n") < self._policy.short_lines
            and self._pointer - slot.at > 1
        )

    def _tried(self, number: int) -> Slot | None:
        """The cell that got this text only for a while, and then has the present one again; or for the first time:
        a base is often saved after the session began."""
        text = self._executed[number].text
        coming = [self._text_of(later) for later in range(number + 1, number + 5)]
        for slot in self._around():
            if slot.text not in coming or slot.at < self._pointer:
                continue
            after = number + 1 + coming.index(slot.text)
            if slot.at == self._pointer:
                is_due, least = after == number + 1, self._policy.tried
            else:
                is_due, least = not slot.runs, self._policy.early
            if is_due and self._last_run[text] < after and likeness(slot.text, text) >= least:
                return slot
        return None

    def _revised(self, number: int) -> Slot | None:
        """The cell of which this is a new text."""
        text = self._executed[number].text
        best: tuple[float, Slot] | None = None
        for slot in self._candidates(text):
            if slot.text == text or not self._may_go(slot, number):
                continue
            bonus, least = self._bonus(slot, text), self._least(slot, number)
            score = likeness(slot.text, text, least - bonus) + bonus
            if score >= least and (best is None or score - least > best[0]):
                best = (score - least, slot)
        if best is None and 0 <= self._pointer < len(self.slots):
            slot = self.slots[self._pointer]
            if slot.is_code and slot.base is None and self._may_go(slot, number) and _grew(slot.text, text):
                return slot
        return best[1] if best else None

    def _least(self, slot: Slot, number: int) -> float:
        """How alike a text must be to be this cell's new one."""
        if slot.base is not None:
            return self._policy.alike_ran if slot.runs and slot.at != self._pointer else self._policy.alike
        if slot.base is None and _is_copy(slot.text, self._executed[number].text):
            return self._policy.added
        is_here = slot.at in (self._pointer, self._pointer + 1)
        following = self._text_of(number + 1)
        is_followed = following is not None and any(other.text == following for other in self._after(slot, 1))
        if slot.runs and self._executed[slot.runs[-1]].failed and slot.at == self._pointer:
            return self._policy.failed  # who sees an error mends that cell
        return self._policy.just_added if is_here or is_followed else self._policy.added

    def _may_go(self, slot: Slot, number: int) -> bool:
        """Whether the slot's text may give way: nobody runs it again, or another cell has it too."""
        return self._last_run.get(slot.text, -1) <= number or len(self._current[slot.text]) > 1

    def _candidates(self, text: str) -> list[Slot]:
        voted = [self._known[number] for number in self._index.likeliest(text)]
        return list(dict.fromkeys([*self._around(), *voted]))

    def _around(self) -> list[Slot]:
        return [slot for slot in self.slots[max(self._pointer - 2, 0) : self._pointer + 5] if slot.is_code]

    def _after(self, slot: Slot, most: int) -> list[Slot]:
        return [other for other in self.slots[slot.at + 1 : slot.at + 1 + 2 * most] if other.is_code][:most]

    def _text_of(self, number: int) -> str | None:
        return self._executed[number].text if number < len(self._executed) else None

    def _place(self, number: int) -> int:
        """Where an added cell goes: after the one that ran before it, if what runs next follows there.

        After a look back at earlier cells, people add at the place that they had reached before. What ran first of
        all stands before what ran next, or at the end.
        """
        here = self._pointer + 1
        if here > 0 and self._front < here:
            return here
        following = self._next_known(number)
        if here == 0:
            return following.at if following is not None else len(self.slots)
        if following is not None and following.at >= here:
            return here if following.at <= here + 1 else min(self._front + 1, following.at)
        return here if self._has_base else self._front + 1

    def _next_known(self, number: int) -> Slot | None:
        """The cell that one of the next three executions is, as far as its text tells."""
        for later in range(number + 1, min(number + 4, len(self._executed))):
            found = self._current.get(self._executed[later].text)
            if found:
                return min(found, key=self._distance)
        return None

    def _bonus(self, slot: Slot, text: str) -> float:
        ahead = slot.at - self._pointer
        bonus = 0.0
        if ahead in (0, 1):
            bonus = self._policy.here
        elif abs(ahead) <= 3:
            bonus = self._policy.near
        shorter = min(len(slot.text), len(text))
        if shorter < self._policy.short_chars:
            bonus -= self._policy.short
        elif shorter < 3 * self._policy.short_chars:
            bonus -= self._policy.short / 2
        return bonus

    def _distance(self, slot: Slot) -> tuple[int, int]:
        ahead = slot.at - self._pointer
        return (ahead, 0) if ahead > 0 else (-ahead, 1)

    def _insert(self, slot: Slot, at: int) -> Slot:
        self.slots.insert(at, slot)
        for place in range(at, len(self.slots)):
            self.slots[place].at = place
        if self._front >= at:
            self._front += 1
        self._hold(slot)
        return slot

    def _replace(self, slot: Slot, step: Step) -> None:
        self._release(slot)
        slot.steps.append(step)
        self._hold(slot)

    def _hold(self, slot: Slot) -> None:
        self._known[id(slot)] = slot
        self._index.add(id(slot), slot.text)
        self._current[slot.text].append(slot)

    def _release(self, slot: Slot) -> None:
        self._index.remove(id(slot), slot.text)
        self._current[slot.text].remove(slot)


def _grew(old: str, new: str) -> bool:
    """Whether one text is the other, typed further from the middle of a word, or of what was no whole statement."""
    if len(old) < 3 or not new.startswith(old):
        return False
    in_a_word = new[len(old) : len(old) + 1].isalnum() and old[-1:].isalnum()
    return in_a_word or not is_whole(old)


def _is_copy(old: str, new: str) -> bool:
    """Whether a text like another one makes other things: a copy under new names, and not an edit."""
    before, after = names_of(old).bound, names_of(new).bound
    return bool(before - after) and bool(after - before)
