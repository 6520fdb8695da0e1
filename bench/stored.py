"""What the archive weighs as the daemon leaves it."""

from __future__ import annotations

import itertools
import os

from bench.facts import has
from bench.installation import write
from bench.measure import folder_bytes
from bench.peers import Borg, Restic, repacked_bytes
from bench.results import Result
from bench.runs import APART_SECONDS, Run, Saves, run_git, run_nbguard
from bench.sources import Sources

_FIRST = 60


def stored(work: str, sources: Sources) -> Result:
    """Bytes of the archive as the daemon leaves it, in one run each: they are always the same."""
    result = Result("stored", "Bytes of the archive", "python -m bench stored")
    one, many = _git(f"{work}/git-a", sources.one), _git(f"{work}/git-c", sources.many)
    _mode(result, f"{work}/a", "a", sources.one, one, at_most=0.07, gain_at_most=1.5)
    _mode(result, f"{work}/b", "a'", sources.one, one, at_most=0.15, gain_at_most=1.5, apart=APART_SECONDS)
    _mode(result, f"{work}/c", "c", sources.many, many, at_most=0.2)
    _first(result, f"{work}/first", sources)
    result.note("Bytes of every file of the archive; of git's, of every file of its .git.")
    return result


def _git(work: str, saves: Saves) -> Run:
    os.makedirs(work)
    return run_git(work, saves())


def _mode(
    result: Result,
    work: str,
    mode: str,
    saves: Saves,
    loose: Run,
    *,
    at_most: float,
    gain_at_most: float | None = None,
    apart: float = 0.0,
) -> None:
    os.makedirs(work)
    ours = run_nbguard(work, saves(), apart)
    best = repacked_bytes(f"{work}/home/archive.git", f"{work}/best.git")
    result.row(
        f"({mode}) of loose-object git",
        ours.archive / loose.archive,
        "×",
        at_most=at_most,
        detail=f"{_mega(ours.archive)} in {ours.files} files, git {_mega(loose.archive)} in {loose.files}",
    )
    result.row(
        f"({mode}) what git repack -adf --window=50 --depth=50 gains",
        ours.archive / best,
        "×",
        at_most=gain_at_most,
        detail=f"{_mega(ours.archive)} → {_mega(best)}",
    )


def _first(result: Result, place: str, sources: Sources) -> None:
    """The first 60 saves of (a) in restic and borg."""
    count = min(_FIRST, sources.count(_FIRST))
    os.makedirs(place)
    ours = run_nbguard(place, itertools.islice(sources.one(), count))
    for command, kind in (("restic", Restic), ("borg", Borg)):
        if not has(command):
            result.note(f"{command} is not installed: not compared.")
            continue
        desk = os.path.join(place, f"{command}-desk")
        os.makedirs(desk)
        peer = kind(desk, os.path.join(place, command))
        for name, content in itertools.islice(sources.one(), count):
            write(desk, name, content)
            peer.keep(name)
        theirs = folder_bytes(peer.folder)
        result.row(
            f"first {count} saves of (a), of {command}",
            ours.archive / theirs,
            "×",
            at_most=0.1,
            detail=f"{_mega(ours.archive)} of {_mega(theirs)}",
        )


def _mega(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
