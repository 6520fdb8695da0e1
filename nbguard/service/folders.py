"""Which folders of a home to propose for watching: a walk that is bounded in time, and a merge to a few roots."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from nbguard.clock import Clock
from nbguard.names import is_entered_name, is_notebook_name

BUDGET_SECONDS = 3.0
MOST_PROPOSED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A folder worth watching, and how many notebooks were seen in it."""

    path: str
    notebooks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the walk saw. ``loose`` are notebooks directly in the home, which no proposal covers; ``is_complete`` is
    False when time ran out."""

    proposals: tuple[Proposal, ...]
    loose: int
    is_complete: bool


def find_folders(home: str, clock: Clock, *, budget_seconds: float = BUDGET_SECONDS) -> Found:
    """Look for notebooks under ``home``, near ones first, for at most ``budget_seconds``.

    Hidden folders, environments, package folders and other file systems are not entered; symlinks not followed.
    """
    deadline = clock.monotonic() + budget_seconds
    counts: dict[str, int] = {}
    try:
        device = os.stat(home).st_dev
    except OSError:
        return Found(proposals=(), loose=0, is_complete=True)
    waiting = deque([home])
    while waiting and clock.monotonic() < deadline:
        folder = waiting.popleft()
        notebooks, below = _look_into(folder, device)
        if notebooks:
            counts[folder] = notebooks
        waiting.extend(below)
    return Found(proposals=merge(counts, home), loose=counts.get(home, 0), is_complete=not waiting)


def merge(counts: Mapping[str, int], home: str) -> tuple[Proposal, ...]:
    """One proposal per folder directly under ``home`` that holds notebooks somewhere, most notebooks first.

    Never ``home`` itself: it holds everything, and watching it must be somebody's own word.
    """
    totals: dict[str, int] = {}
    prefix = home.rstrip("/") + "/"
    for folder, notebooks in counts.items():
        if folder.startswith(prefix):
            top = prefix + folder[len(prefix) :].split("/", 1)[0]
            totals[top] = totals.get(top, 0) + notebooks
    most_first = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Proposal(path=path, notebooks=notebooks) for path, notebooks in most_first[:MOST_PROPOSED])


def _look_into(folder: str, device: int) -> tuple[int, list[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError:
        return 0, []
    names = {entry.name for entry in listed}
    if "pyvenv.cfg" in names or "conda-meta" in names:
        return 0, []
    notebooks, below = 0, []
    for entry in listed:
        try:
            if entry.is_dir(follow_symlinks=False):
                if is_entered_name(entry.name) and entry.stat(follow_symlinks=False).st_dev == device:
                    below.append(entry.path)
            elif is_notebook_name(entry.name) and entry.is_file(follow_symlinks=False):
                notebooks += 1
        except OSError:
            continue
    return notebooks, sorted(below)
