"""Pairs of versions of real notebooks: the older was archived, the newer was on the screen when it was lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbguard.recover.cells import read_cells
from nbguard.recover.diff import align

LEAST_CELLS = 4
MOST_PER_NOTEBOOK = 5
LEAST_ALIKE, MOST_ALIKE = 0.4, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """``old`` and ``new`` are code cells' sources; ``mapped[n]`` is the old cell that the new cell n was, or None."""

    repository: str
    name: str
    old_file: Path
    new_file: Path
    old: tuple[str, ...]
    new: tuple[str, ...]
    mapped: tuple[int | None, ...]


def pairs(folder: Path) -> list[Pair]:
    """Of each notebook under ``folder/REPOSITORY``: a version, and the next one with an F1 of 0.4 to 0.95 against it,
    at most five times."""
    found: list[Pair] = []
    for repository in sorted(os.listdir(folder)):
        for where, _, files in sorted(os.walk(folder / repository)):
            versions = [Path(where, name) for name in sorted(files) if name.endswith(".ipynb") and name[:3].isdigit()]
            if where.endswith(".ipynb"):
                found.extend(_of_one(repository, where.removeprefix(f"{folder}/"), versions))
    return found


def normal(source: str) -> str:
    """A source as history would give it back."""
    return source.replace("\r\n", "\n").rstrip()


def code(data: bytes) -> tuple[str, ...] | None:
    """The sources of a notebook's code cells that are not empty."""
    cells = read_cells(data)
    if cells is None:
        return None
    return tuple(text for cell in cells.cells if cell.kind == "code" and (text := normal(cell.source)))


def f1(truth: Sequence[str], guess: Sequence[str]) -> float:
    """F1 of two bags of sources."""
    shared = sum((Counter(truth) & Counter(guess)).values())
    return 2 * shared / (len(truth) + len(guess)) if truth or guess else 1.0


def _of_one(repository: str, name: str, versions: Sequence[Path]) -> Iterator[Pair]:
    made = 0
    start: Path | None = None
    old: tuple[str, ...] = ()
    for version in versions:
        new = code(version.read_bytes())
        if new is None or len(new) < LEAST_CELLS:
            continue
        if start is None:
            start, old = version, new
            continue
        likeness = f1(new, old)
        if likeness < LEAST_ALIKE:
            start, old = version, new
        elif likeness <= MOST_ALIKE:
            yield Pair(
                repository=repository,
                name=name,
                old_file=start,
                new_file=version,
                old=old,
                new=new,
                mapped=_mapped(start, version),
            )
            start, old = version, new
            made += 1
            if made == MOST_PER_NOTEBOOK:
                return


def _mapped(old: Path, new: Path) -> tuple[int | None, ...]:
    before, after = read_cells(old.read_bytes()), read_cells(new.read_bytes())
    assert before is not None
    assert after is not None
    old_cells = [cell for cell in before.cells if cell.kind == "code" and normal(cell.source)]
    new_cells = [cell for cell in after.cells if cell.kind == "code" and normal(cell.source)]
    where = {to: at for at, to in align(old_cells, new_cells)}
    return tuple(where.get(number) for number in range(len(new_cells)))
