"""Which added cells are probably scratch: looks at a value, copies of lines, cells that later runs passed over."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Sequence

from nbguard.recover.bindings import is_whole, names_of
from nbguard.recover.slots import Execution, Slot

_LOOKING = frozenset({"help", "dir", "type", "len", "print", "display", "id", "vars", "globals", "locals", "repr"})
_LOOKING_METHODS = frozenset({"head", "tail", "describe", "info", "keys", "sample", "value_counts"})
_QUESTION = re.compile(r"^\s*(?:\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*$")
_LOOKING_MAGIC = re.compile(
    r"^\s*(?:%(?:who|whos|timeit|time|pinfo|pwd|ls|history|debug)\b|!pip\b|!ls\b|!pwd\b|%pip\b)"
)
_ASKING = re.compile(
    r"(?:help|dir|type|vars)\(\s*[\w.]*\s*\)$|%(?:who|whos|pinfo|history)\b"
    r"|[!%]pip (?:list|show|freeze)\b|[\d.\s+*/-]+$"
)
_OTHER_WAYS = re.compile(r"import \*|%(?:pylab|run|load|store|load_ext)\b|\bexec\(|globals\(\)|\bsetattr\(")
_NEAR = 4
_ODD_SHARE = 0.1


def scratch(slots: Sequence[Slot], executed: Sequence[Execution], *, has_base: bool) -> list[Slot]:
    """Added cells that look like scratch, in order. A cell that binds a name which a kept cell needs is never one."""
    passed = _passed_over(slots, executed)
    holders = Counter(line for slot in slots if slot.is_code for line in set(_lines(slot.text)))
    anywhere = _Known(slots, executed)
    last = len(executed) - 1
    suspects = [
        slot
        for slot in slots
        if slot.base is None
        and slot.is_code
        and (
            id(slot) in passed
            or (
                not _was_run_again(slot)
                and (
                    (has_base and (looks_on(slot.text) or _is_copied(slot, slots, holders)))
                    or asks(slot.text)
                    or anywhere.cannot_have_worked(slot.text)
                    or (anywhere.is_broken(slot.text) and slot.runs[-1:] != [last])  # what ran last may be at work
                )
            )
        )
    ]
    return _not_needed(suspects, slots)


def looks_on(text: str) -> bool:
    """Whether a cell only looks: one expression that is a name, an item, or a call known to change nothing."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1 or len(lines[0]) > 200:
        return False
    line = lines[0]
    if _QUESTION.match(line) or _LOOKING_MAGIC.match(line):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) and _is_look(tree.body[0].value)


def asks(text: str) -> bool:
    """Whether a cell asks Python or the machine about something, as nobody leaves it in a notebook: ``x?``,
    ``help(x)``, ``dir(x)``, ``%whos``, ``!pip list``, ``1 + 1``."""
    line = text.strip()
    return "\n" not in line and bool(_QUESTION.match(line) or _ASKING.match(line))


def _is_look(node: ast.expr) -> bool:
    match node:
        case ast.Constant() | ast.Name():
            return True
        case ast.Attribute(value=value) | ast.Subscript(value=value):
            return _is_look(value)
        case ast.Call(func=ast.Name(id=name), args=args):
            return name in _LOOKING and all(_is_look(arg) for arg in args)
        case ast.Call(func=ast.Attribute(value=value, attr=name)):
            return name in _LOOKING_METHODS and _is_look(value)
        case ast.BinOp(left=left, right=right):
            return isinstance(left, ast.Constant) and isinstance(right, ast.Constant)
        case _:
            return False


class _Known:
    """The names that anything archived or executed binds; nothing is certain where names come by other ways too."""

    def __init__(self, slots: Sequence[Slot], executed: Sequence[Execution]) -> None:
        texts = {step.text for slot in slots if slot.is_code for step in slot.steps} | {cell.text for cell in executed}
        self._bound = {name for text in texts for name in names_of(text).bound}
        self._is_certain = not any(_OTHER_WAYS.search(text) for text in texts) and self._explains(slots)
        codes = [slot.text for slot in slots if slot.is_code]
        self._is_python = sum(1 for text in codes if not is_whole(text)) <= _ODD_SHARE * len(codes)

    def _explains(self, slots: Sequence[Slot]) -> bool:
        """Whether nearly all cells find their names: else a part of what was executed is not known here."""
        used = [names_of(slot.text).used for slot in slots if slot.is_code]
        return sum(1 for names in used if names - self._bound) <= 0.1 * len(used)

    def cannot_have_worked(self, text: str) -> bool:
        """Whether the cell needs a name that never was."""
        return self._is_certain and bool(names_of(text).used - self._bound)

    def is_broken(self, text: str) -> bool:
        """Whether the cell is no Python where nearly all the others are."""
        return self._is_python and not is_whole(text)


def _was_run_again(slot: Slot) -> bool:
    """Whether it was run, then something else, then it again."""
    return any(later - earlier > 1 for earlier, later in zip(slot.runs, slot.runs[1:], strict=False))


def _is_copied(slot: Slot, slots: Sequence[Slot], holders: Counter[str]) -> bool:
    """Whether another cell near holds all its lines, one after the other, and more."""
    lines = _lines(slot.text)
    if not lines or any(holders[line] < 2 for line in lines):
        return False
    near = slots[max(slot.at - 3 * _NEAR, 0) : slot.at + 3 * _NEAR]
    return any(other is not slot and other.is_code and _holds(_lines(other.text), lines) for other in near)


def _holds(lines: Sequence[str], part: Sequence[str]) -> bool:
    if len(lines) <= len(part):
        return False
    return any(lines[start : start + len(part)] == part for start in range(len(lines) - len(part) + 1))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _passed_over(slots: Sequence[Slot], executed: Sequence[Execution]) -> set[int]:
    """Ids of the added cells that later runs went past: the one before and one soon after ran in a row."""
    where: dict[int, Slot] = {run: slot for slot in slots for run in slot.runs}
    passed: set[int] = set()
    holders = Counter(slot.text for slot in slots if slot.is_code)
    for run in sorted(where):
        if not _goes_on(where, executed, run):
            continue
        here, then = where[run], where[run + 1]
        if holders[here.text] > 1 or holders[then.text] > 1:
            continue  # which of them ran is not certain
        if not (_goes_on(where, executed, run - 1) or _goes_on(where, executed, run + 1)):
            continue
        for slot in slots[here.at + 1 : then.at]:
            if slot.runs and slot.runs[-1] < run:
                passed.add(id(slot))
    return passed


def _goes_on(where: dict[int, Slot], executed: Sequence[Execution], run: int) -> bool:
    """Whether the run after this one was of a cell soon after its cell, in the same session."""
    here, then = where.get(run), where.get(run + 1)
    if here is None or then is None or executed[run].session != executed[run + 1].session:
        return False
    return 0 < then.at - here.at <= _NEAR


def _not_needed(suspects: Sequence[Slot], slots: Sequence[Slot]) -> list[Slot]:
    """The suspects without those that bind, alone, a name that a kept cell uses."""
    apart = {id(slot) for slot in suspects}
    kept = [slot for slot in slots if slot.is_code and id(slot) not in apart]
    used = {name for slot in kept for name in names_of(slot.text).used}
    bound = {name for slot in kept for name in names_of(slot.text).bound}
    return [slot for slot in suspects if not (names_of(slot.text).bound & used) - bound]
