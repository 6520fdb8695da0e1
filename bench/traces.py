"""What somebody may have executed between two versions of a notebook: simulated, the same for the same seed.

The person walks down the newer notebook. A cell that was edited runs with its old text, then with none to three
texts on the way to the new one, then with the new one. Now and then the last one to five cells are run again, and a
scratch cell is run that is deleted later: a look at some name, a few lines of a cell nearby, or a small cell of
another notebook. In one style there are also restarts, with everything run from the top, and jumps back to a single
earlier cell. Some of the cells that did not change are not run at all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from bench.pairs import Pair

_NAME = re.compile(r"^(\w+)(?:, *\w+)* = ", re.MULTILINE)
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_LOOKS = (
    "{name}",
    "{name}",
    "print({name})",
    "{name}.shape",
    "type({name})",
    "len({name})",
    "{name}.head()",
    "{name}[:5]",
    "{name}?",
    "help({name})",
    "%timeit {name}",
    "dir({name})",
    "!pip list",
    "%whos",
    "1 + 1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How somebody works: shares and chances per cell."""

    name: str
    not_run: float = 0.08
    run_again: float = 0.22
    scratch: float = 0.10
    restarts: float = 0.0
    jumps: float = 0.0
    deleted_run: float = 0.25


USUAL = Style(name="usual")
ALL_RUN = Style(name="all run", not_run=0.0)
HALF_RUN = Style(name="half the cells run", not_run=0.5)
HEAVY = Style(name="heavy scratch and re-runs", run_again=0.40, scratch=0.30)
RESTARTED = Style(name="restarts, jumps back", restarts=0.03, jumps=0.05)
STYLES = (USUAL, HALF_RUN, HEAVY, RESTARTED)


@dataclass(frozen=True, slots=True)
class Ran:
    """One execution: its text, the number of the session, and why it was run (which no rebuild is told)."""

    text: str
    session: int
    why: str = ""


def trace(pair: Pair, style: Style, foreign: Sequence[str], seed: str) -> list[Ran]:
    """What was executed from ``pair.old`` to ``pair.new``."""
    return _Person(pair, style, foreign, random.Random(seed)).work()


class _Person:
    def __init__(self, pair: Pair, style: Style, foreign: Sequence[str], chance: random.Random) -> None:
        self._pair = pair
        self._style = style
        self._foreign = foreign
        self._chance = chance
        self._ran: list[Ran] = []
        self._done: list[str] = []
        self._session = 1

    def work(self) -> list[Ran]:
        kept = {at for at in self._pair.mapped if at is not None}
        next_old = 0
        for number, text in enumerate(self._pair.new):
            at = self._pair.mapped[number]
            while at is not None and next_old < at:
                if next_old not in kept and self._chance.random() < self._style.deleted_run:
                    self._run(self._pair.old[next_old], "deleted later")
                next_old += 1
            old = self._pair.old[at] if at is not None else None
            if old == text:
                if self._chance.random() < self._style.not_run:
                    continue
            else:
                self._edit(old, text)
            self._run(text, "cell")
            self._done.append(text)
            self._wander()
        return self._ran

    def _edit(self, old: str | None, new: str) -> None:
        if old is not None:
            self._run(old, "edited later")
        for share in sorted(self._chance.random() for _ in range(self._chance.randint(0, 3))):
            between = on_the_way(old or "", new, share, self._chance)
            if between not in ("", old, new):
                self._run(between, "draft")

    def _wander(self) -> None:
        if self._chance.random() < self._style.scratch:
            text, why = self._scratch()
            if text:
                self._run(text, why)
        if self._chance.random() < self._style.run_again:
            for text in self._done[-self._chance.randint(1, 5) :]:
                self._run(text, "again")
        if self._chance.random() < self._style.restarts:
            self._session += 1
            for text in self._done:
                self._run(text, "again")

        if self._done and self._chance.random() < self._style.jumps:
            self._run(self._chance.choice(self._done), "again")

    def _scratch(self) -> tuple[str, str]:
        kind = self._chance.random()
        if kind < 0.5:
            names = [name for text in self._done[-6:] for name in _NAME.findall(text)] or ["x"]
            return self._chance.choice(_LOOKS).format(name=self._chance.choice(names)), "look"
        if kind < 0.75:
            lines = self._chance.choice(self._done[-4:]).split("\n")
            start = self._chance.randrange(len(lines))
            return "\n".join(lines[start : start + self._chance.randint(1, 3)]).strip(), "fragment"
        return (self._chance.choice(self._foreign) if self._foreign else ""), "foreign"

    def _run(self, text: str, why: str) -> None:
        self._ran.append(Ran(text, self._session, why))


def on_the_way(old: str, new: str, share: float, chance: random.Random) -> str:
    """A text between two: about ``share`` of the differences are made, by lines, within one line by words."""
    before, after = old.split("\n"), new.split("\n")
    if not old or (len(before) < 3 and len(after) < 3):
        before, after = _TOKEN.findall(old), _TOKEN.findall(new)
        glue = ""
    else:
        glue = "\n"
    parts: list[str] = []
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal" or chance.random() < share:
            parts.extend(after[b1:b2])
        else:
            parts.extend(before[a1:a2])
    text = glue.join(parts)
    if not old and text == "":
        text = new[: int(len(new) * (0.5 + share / 2))]
    return text.rstrip()


def small_cells(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """For each notebook, small cells of the other notebooks in its repository."""
    owners: dict[str, dict[str, set[str]]] = {}
    for pair in pairs:
        cells = owners.setdefault(pair.repository, {})
        for text in pair.new:
            if text.count("\n") < 3:
                cells.setdefault(text, set()).add(pair.name)
    return {
        pair.name: sorted(text for text, names in owners[pair.repository].items() if pair.name not in names)
        for pair in pairs
    }
