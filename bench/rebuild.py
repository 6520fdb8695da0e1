"""`python -m bench.rebuild --real DIR`: how near rebuilt notebooks come to the ones that were lost.

DIR holds real histories: `REPOSITORY/path/X.ipynb/000.ipynb`, `001.ipynb`, … Thresholds were set on the repositories
named with `--tuned-on`; those of the others are what counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.pairs import LEAST_ALIKE, MOST_ALIKE, MOST_PER_NOTEBOOK, Pair, pairs
from bench.rebuild_runs import Run, Skipped, missing_imports, runs
from bench.rebuild_scores import Score, methods, score
from bench.traces import ALL_RUN, STYLES, USUAL, Style, small_cells, trace
from nbguard.recover.checking import Limits

_STYLES = (STYLES[0], ALL_RUN, *STYLES[1:])
_RUN_METHODS = ("every command", "last version", "rebuilt", "no archive")


@dataclass(slots=True)
class Tables:
    """The report as it grows."""

    lines: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        """Lines, also to the terminal."""
        self.lines.extend(lines)
        print("\n".join(lines), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the report if one is asked for; 2 without histories."""
    options = _parser().parse_args(arguments)
    everything = pairs(options.real) if options.real.is_dir() else []
    if not everything:
        print(f"no histories under {options.real}: see the top of bench/rebuild.py", file=sys.stderr)
        return 2
    tables, began = Tables(), time.monotonic()
    foreign = small_cells(everything)
    kept = [pair for pair in everything if not options.only or pair.repository in options.only][:: options.every]
    tables.add(*_intro(kept, options))
    repositories = sorted({pair.repository for pair in kept}, key=lambda name: (name in options.tuned_on, name))
    of: dict[str, list[Pair]] = {name: [pair for pair in kept if pair.repository == name] for name in repositories}
    reported = [pair for pair in kept if pair.repository not in options.tuned_on]
    scored = () if options.only_execute else (("All that were not tuned on", reported), *of.items())
    for title, chosen in scored:
        note = " (thresholds were set here)" if title in options.tuned_on else ""
        tables.add("", f"## {title}{note}: {len(chosen)} pairs", "", *_scores(chosen, foreign))
    if options.execute:
        tables.add("", "## Executed from the top", "", *_executed(of, foreign, options))
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s", file=sys.stderr)
    if options.report:
        asked = " ".join(["python -m bench.rebuild", *(sys.argv[1:] if arguments is None else arguments)])
        Path(options.report).write_text("\n".join([*tables.lines, "", f"Made by `{asked}`.", ""]), encoding="utf-8")
    return 0


def _intro(kept: Sequence[Pair], options: argparse.Namespace) -> list[str]:
    return [
        "# How near a rebuilt notebook comes",
        "",
        f"{len(kept)} pairs of versions out of the real histories of {len({pair.name for pair in kept})} notebooks: "
        f"the older version is the archived one, the newer one was on the screen when it was lost. Of each notebook a "
        f"version and the next one with an F1 of {LEAST_ALIKE} to {MOST_ALIKE} against it, at most "
        f"{MOST_PER_NOTEBOOK} times. What was executed between the two is simulated (`bench/traces.py`), the same for "
        "the same pair: read the gaps between the lines, not the third digit.",
        "",
        f"Thresholds were set on {' and '.join(options.tuned_on) or 'none of these'} only.",
        "",
        "F1 is over the sources of code cells; *order* counts only those in the right order (longest common "
        "subsequence). *Lost* is the share of notebooks in which some cell uses a name that nothing binds any more. "
        "What the rebuilt notebook sets apart under its last headings does not count as its cells; the line below it "
        "counts all of them. What looks like scratch was written down knowing the simulated scratch, so that these "
        "figures are on the kind side; the line below is the other extreme.",
    ]


def _scores(chosen: Sequence[Pair], foreign: dict[str, list[str]]) -> list[str]:
    lines = []
    for style in _STYLES:
        found: dict[str, list[Score]] = defaultdict(list)
        log_is_whole = 0
        for pair in chosen:
            ran = trace(pair, style, foreign[pair.name], str(pair.new_file.relative_to(pair.new_file.parents[1])))
            ever = [*pair.old, *(cell.text for cell in ran)]
            made, log = methods(pair, ran)
            log_is_whole += log == tuple(cell.text for cell in ran)
            for name, cells in made.items():
                found[name].append(score(pair.new, cells, ever))
        lines += [
            f"### {style.name}",
            "",
            "| | F1 | order F1 | lost |",
            "| --- | --- | --- | --- |",
            *(_line(name, scores) for name, scores in found.items()),
            "",
            f"Logs with every executed cell in order: {log_is_whole} of {len(chosen)}.",
            "",
        ]
    return lines


def _line(name: str, scores: Sequence[Score]) -> str:
    lost = sum(1 for one in scores if one.lost) / len(scores)
    return f"| {name} | {_mean(scores, lambda s: s.f1):.3f} | {_mean(scores, lambda s: s.order):.3f} | {lost:.0%} |"


def _mean(scores: Sequence[Score], of: Callable[[Score], float]) -> float:
    return statistics.mean(of(one) for one in scores)


def _executed(of: dict[str, list[Pair]], foreign: dict[str, list[str]], options: argparse.Namespace) -> list[str]:
    lines = [
        "Both versions and every rebuilt notebook really executed by `nbguard.recover.checking`, "
        f"{options.cell_seconds:g} s a cell and {options.notebook_seconds:g} s a notebook, at most {options.execute} "
        f"pairs of a repository and {options.minutes:g} minutes for each. *Same* is the share of the true notebook's "
        "cells (those that run, and give the same output twice) that are there with the same source and the same "
        "output. Cells tagged `skip-execution` (those that the rebuilt notebook sets apart) are not executed, as "
        "nbclient does.",
        "",
    ]
    for repository, chosen in of.items():
        found, skipped = _executed_pairs(chosen, USUAL, foreign, options)
        skips = ", ".join(f"{count} ({why})" for why, count in skipped.most_common()) or "none"
        lines += [f"### {repository}: {len(found)} pairs executed", "", f"Skipped: {skips}.", ""]
        if not found:
            continue
        lines += [
            "| | same | extra failing cells a notebook | failing | code cells |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name in _RUN_METHODS:
            same = statistics.mean(one[name].same for one in found)
            extra = statistics.mean(one[name].extra_failing for one in found)
            failing = statistics.mean(one[name].failing for one in found)
            cells = statistics.mean(one[name].code_cells for one in found)
            lines.append(f"| {name} | {same:.3f} | {extra:.2f} | {failing:.2f} | {cells:.1f} |")
        lines += ["", *_by_notebook(found), ""]
    return lines


def _by_notebook(found: Sequence[dict[str, Run]]) -> list[str]:
    naive, guess = "every command", "rebuilt"
    extra = {name: sum(one[name].extra_failing for one in found) for name in (naive, guess)}
    over = [one for one in found if 3 * one[guess].extra_failing > one[naive].extra_failing]
    shown = ", ".join(f"{one[guess].extra_failing} of {one[naive].extra_failing}" for one in over)
    less = sum(1 for one in found if one[guess].same < one[naive].same - 0.02)
    return [
        f"Extra failing cells of all these notebooks: {extra[guess]} rebuilt, {extra[naive]} with every command. "
        f"Notebooks with more than a third of those of every command: {len(over)} of {len(found)}"
        f"{f' ({shown})' if shown else ''}; with *same* more than 0.02 lower: {less}.",
    ]


def _executed_pairs(
    chosen: Sequence[Pair], style: Style, foreign: dict[str, list[str]], options: argparse.Namespace
) -> tuple[list[dict[str, Run]], Counter[str]]:
    found: list[dict[str, Run]] = []
    skipped: Counter[str] = Counter()
    deadline = time.monotonic() + 60 * options.minutes
    limits = Limits(cell_seconds=options.cell_seconds, whole_seconds=options.notebook_seconds)
    for pair in _one_of_each_first(chosen):
        if len(found) >= options.execute:
            break
        if time.monotonic() > deadline:
            skipped["no time left"] += 1
            continue
        missing = missing_imports(pair, options.python)
        if not set(missing) <= set(options.may_miss):
            skipped["imports are missing"] += 1
            continue
        ran = trace(pair, style, foreign[pair.name], str(pair.new_file.relative_to(pair.new_file.parents[1])))
        try:
            found.append(runs(pair, ran, options.kernel, limits))
        except Skipped as why:
            skipped[str(why)] += 1
            continue
        print(
            pair.new_file,
            {name: (round(one.same, 2), one.extra_failing, one.why) for name, one in found[-1].items()},
            file=sys.stderr,
            flush=True,
        )
    return found, skipped


def _one_of_each_first(chosen: Sequence[Pair]) -> list[Pair]:
    seen: Counter[str] = Counter()
    ranked = []
    for pair in chosen:
        ranked.append((seen[pair.name], pair))
        seen[pair.name] += 1
    return [pair for _, pair in sorted(ranked, key=lambda item: item[0])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.rebuild", description=__doc__)
    parser.add_argument("--real", type=Path, metavar="DIR", required=True, help="real histories")
    parser.add_argument("--tuned-on", action="append", default=[], metavar="NAME", help="a repository tuned on")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this repository")
    parser.add_argument("--may-miss", action="append", default=[], metavar="MODULE", help="executed without it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth pair, to try it out (1)")
    parser.add_argument("--execute", type=int, default=0, metavar="N", help="execute N pairs of each repository (0)")
    parser.add_argument("--only-execute", action="store_true", help="no scores of the texts")
    parser.add_argument("--minutes", type=float, default=10.0, help="for executing one repository's pairs (10)")
    parser.add_argument("--cell-seconds", type=float, default=8.0, help="the longest that a cell may take (8)")
    parser.add_argument("--notebook-seconds", type=float, default=40.0, help="the longest for a notebook (40)")
    parser.add_argument("--kernel", default="python3", help="the kernel that executes (python3)")
    parser.add_argument("--python", default=sys.executable, help="that kernel's Python, asked which modules it has")
    parser.add_argument("--report", metavar="FILE", help="write the tables there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
