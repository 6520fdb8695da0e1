"""Processor time for each kept save, packing, read-back and maintenance included."""

from __future__ import annotations

from collections.abc import Callable

from bench.measure import median
from bench.results import Result
from bench.runs import APART_SECONDS, Run, in_rotation, run_git, run_nbguard
from bench.sources import Sources

_GIT_SAVES = 500


def cpu(work: str, sources: Sources, rounds: int) -> Result:
    """(a), (a') and (c) against git, rounds in rotation."""
    result = Result("cpu", "Processor time for each kept save", "python -m bench cpu")
    count = sum(1 for _ in sources.many())
    every = max(1, count // _GIT_SAVES)
    kinds: dict[str, Callable[[str], Run]] = {
        "a": lambda place: run_nbguard(place, sources.one()),
        "a'": lambda place: run_nbguard(place, sources.one(), APART_SECONDS),
        "a git": lambda place: run_git(place, sources.one(), max(1, sources.count(1000, 24) // _GIT_SAVES)),
        "c": lambda place: run_nbguard(place, sources.many()),
        "c git": lambda place: run_git(place, sources.many(), every),
    }
    runs = in_rotation(work, kinds, rounds)
    for mode, git, at_most in (("a", "a git", 1 / 6), ("c", "c git", 1 / 4), ("a'", "a git", 1 / 2)):
        ratios = [one.milliseconds / other.milliseconds for one, other in zip(runs[mode], runs[git], strict=True)]
        ours, theirs = (median([run.milliseconds for run in runs[name]]) for name in (mode, git))
        result.row(
            f"({mode}) of git add + git commit",
            median(ratios),
            "×",
            at_most=at_most,
            detail=f"{ours:.2f} of {theirs:.2f} ms; rounds {_spread(ratios)}; {runs[mode][0].kept} kept",
        )
    whole, sample = runs["c"][0], runs["c git"][0]
    result.note(
        f"git did about {_GIT_SAVES} saves of each mode, evenly spread; in (c) they have "
        f"{sample.size / sample.kept / 1e3:.0f} kB on average, all have {whole.size / whole.kept / 1e3:.0f} kB."
    )
    result.note("(a), (a'), (c): one save is kept and packed before, so that what is imported once is not counted.")
    result.note("git commit as it is typed; with --quiet it takes about a sixth less of both commands together.")
    result.note("Both: this process and all its children; git is started with posix_spawn. nbguard: from the event on.")
    return result


def _spread(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"
