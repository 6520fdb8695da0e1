"""How near a rebuilt notebook is to the one that was lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.pairs import Pair, f1, normal
from bench.traces import Ran
from nbguard.recover.bindings import names_of
from nbguard.recover.found import FoundCell
from nbguard.recover.rebuild import Rebuilt, rebuild
from nbguard.recover.slots import Policy

APART = ("scratch", "older", "earlier")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One rebuilt notebook against the newer version; ``lost`` is the number of names no cell binds any more."""

    f1: float
    order: float
    lost: int


def methods(
    pair: Pair, ran: Sequence[Ran], policy: Policy | None = None
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The code cells that each way of rebuilding gives, scratch apart; and those of the chronological log."""
    texts = [cell.text for cell in ran]
    with_base = guess(pair, ran, policy)
    without = rebuild(None, as_found(ran), now=NOW, policy=policy)
    cells = {
        "every command, in order": tuple(texts),
        "last occurrence of each": tuple(reversed(dict.fromkeys(reversed(texts)))),
        "last archived version": pair.old,
        "rebuilt": body(with_base.notebook),
        "rebuilt, all its cells": body(with_base.notebook, scratch=True),
        "rebuilt without an archive": body(without.notebook),
        "without an archive, all its cells": body(without.notebook, scratch=True),
    }
    return cells, body(with_base.log, scratch=True)


def guess(pair: Pair, ran: Sequence[Ran], policy: Policy | None = None) -> Rebuilt:
    """The rebuilt notebook."""
    return rebuild(pair.old_file.read_bytes(), as_found(ran), now=NOW, policy=policy)


def as_found(ran: Sequence[Ran]) -> list[FoundCell]:
    """Executions as rescue would hand them over."""
    return [
        FoundCell(source=cell.text, origin=f"history bench-{cell.session}:{line}", group=str(cell.session), line=line)
        for line, cell in enumerate(ran, 1)
    ]


def body(notebook: bytes, *, scratch: bool = False) -> tuple[str, ...]:
    """The sources of code cells; with ``scratch`` also those under its heading."""
    cells = json.loads(notebook)["cells"]
    return tuple(
        text
        for cell in cells
        if cell["cell_type"] == "code"
        and (text := normal("".join(cell["source"])))
        and (scratch or cell["metadata"]["nbguard"]["state"] not in APART)
    )


def score(truth: Sequence[str], guessed: Sequence[str], ever: Sequence[str]) -> Score:
    """``ever`` is all that was archived or executed: what is bound nowhere in it cannot be lost."""
    shared = common_in_order(truth, guessed)
    return Score(
        f1=f1(truth, guessed), order=2 * shared / max(len(truth) + len(guessed), 1), lost=len(lost(guessed, ever))
    )


def lost(guessed: Sequence[str], ever: Sequence[str]) -> set[str]:
    """Names that some cell uses, none binds, and something archived or executed would bind."""
    bound = {name for text in guessed for name in names_of(text).bound}
    used = {name for text in guessed for name in names_of(text).used}
    could = {name for text in set(ever) for name in names_of(text).bound}
    return (used - bound) & could


def common_in_order(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for text in one:
        before = 0
        for at, candidate in enumerate(other, 1):
            before, row[at] = row[at], (before + 1 if text == candidate else max(row[at], row[at - 1]))
    return row[-1]
