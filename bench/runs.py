"""One tool's pass over all saves of one mode."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.installation import Installation, write
from bench.measure import Cost, costing, folder_bytes, folder_files, rotated
from bench.peers import Git

APART_SECONDS = 120.0
"""Between two saves of (a')."""

_FIRST = b'{\n "cells": [],\n "metadata": {},\n "nbformat": 4,\n "nbformat_minor": 5\n}\n'

Saves = Callable[[], Iterator[tuple[str, bytes]]]


@dataclass(slots=True)
class Run:
    """One tool's pass over one mode."""

    cost: Cost = field(default_factory=Cost)
    kept: int = 0
    size: int = 0
    archive: int = 0
    files: int = 0

    @property
    def milliseconds(self) -> float:
        return self.cost.processor / max(1, self.kept) * 1e3


def run_nbguard(work: str, saves: Iterator[tuple[str, bytes]], apart: float = 0.0) -> Run:
    """All saves through one installation in ``work``, packed at the end as the daemon would in a quarter of an hour.

    One save of another notebook goes before: a daemon imports what it needs once, not for a thousand saves.
    """
    done, installation = Run(), Installation(os.path.join(work, "home"), os.path.join(work, "desk"))
    write(installation.desk, "first.ipynb", _FIRST)
    installation.saved("first.ipynb")
    installation.settle()
    before = installation.kept
    for name, content in saves:
        write(installation.desk, name, content)
        done.size += len(content)
        with costing(done.cost):
            installation.saved(name)
            if apart:
                installation.wait(apart)
    with costing(done.cost):
        installation.settle()
    done.kept = installation.kept - before
    done.archive, done.files = folder_bytes(installation.archive), folder_files(installation.archive)
    return done


def run_git(work: str, saves: Iterator[tuple[str, bytes]], every: int = 1) -> Run:
    """`git add` and `git commit` for each save, or for every so many-th."""
    done, desk = Run(), os.path.join(work, "desk")
    os.makedirs(desk)
    git = Git(desk)
    before = b""
    for name, content in itertools.islice(saves, 0, None, every):
        write(desk, name, content)
        with costing(done.cost):
            git.keep(name)
        done.size += len(content)
        done.kept += content != before
        before = content
    done.archive, done.files = folder_bytes(git.folder), folder_files(git.folder)
    return done


def in_rotation(work: str, kinds: dict[str, Callable[[str], Run]], rounds: int) -> dict[str, list[Run]]:
    """Every kind once in each round, in another order each time, in a fresh folder.

    Nothing is removed meanwhile: ext4 is slow to make files where many were removed in the last minutes.
    """
    runs: dict[str, list[Run]] = {name: [] for name in kinds}
    for number in range(rounds):
        for place_in_round, (name, action) in enumerate(rotated(list(kinds.items()), number)):
            place = os.path.join(work, f"run-{number}-{place_in_round}")
            os.makedirs(place)
            runs[name].append(action(place))
    return runs
