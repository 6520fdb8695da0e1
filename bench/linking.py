"""Which notebook was a dead session's? Measured on real notebooks, executions simulated; by repository.

The archive holds of each notebook the older version of a pair, and sessions are what `bench/traces.py` executes on the
way to the newer one. A session is whole, or two to five cells of it. In the hard cases the archive also has a copy of
every notebook, as it was some versions ago (a right answer then names both); or it has everything but the session's own
notebook (a right answer then is none).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.pairs import Pair, code, pairs
from bench.traces import HALF_RUN, USUAL, small_cells, trace
from nbguard.executed import Confidence
from nbguard.history.content import Guess, Notebooks, Thresholds, lines_of

SET_ON = ("ageron__handson-ml3", "jupyter__nbdime")
CASES = ("whole", "half run", "2-5 cells", "copies", "copies, 2-5 cells", "not in the archive", "not there, 2-5 cells")
COPY = " (copy)"


@dataclass(slots=True)
class Tally:
    """How often: of those said to be probable, right, a copy of the right one, and wrong; ambiguous with and without
    the right one; unknown."""

    answers: Counter[str] = field(default_factory=Counter)

    def add(self, guess: Guess, truth: frozenset[str], copies: frozenset[str] = frozenset()) -> None:
        named = {one.notebook for one in guess.notebooks}
        match guess.confidence:
            case Confidence.PROBABLE:
                self.answers["right" if named & truth else "copy" if named & copies else "wrong"] += 1
            case Confidence.AMBIGUOUS:
                self.answers["among" if named & (truth or copies) else "not among"] += 1
            case _:
                self.answers["unknown"] += 1

    def row(self) -> list[int]:
        return [self.answers[name] for name in ("right", "copy", "wrong", "among", "not among", "unknown")]


def sessions(found: Sequence[Pair], case: str) -> Iterator[tuple[Pair, list[str]]]:
    """A session for each pair: the texts in order."""
    foreign = small_cells(found)
    for number, pair in enumerate(found):
        seed = f"{pair.name}:{number}"
        style = HALF_RUN if case == "half run" else USUAL
        texts = [ran.text for ran in trace(pair, style, foreign[pair.name], seed)]
        if "2-5" in case and texts:
            chance = random.Random(seed)
            size = min(len(texts), chance.randint(2, 5))
            start = chance.randrange(len(texts) - size + 1)
            texts = texts[start : start + size]
        if texts:
            yield pair, texts


def archive_of(found: Sequence[Pair], *, copies: bool) -> dict[str, frozenset[str]]:
    """Each notebook with its newest archived version, and a copy from an earlier state."""
    lines = {pair.name: lines_of(pair.old) for pair in found}
    if copies:
        for pair in found:
            earliest = sorted(path for path in pair.old_file.parent.iterdir() if path.suffix == ".ipynb")[0]
            texts = code(earliest.read_bytes())
            lines[pair.name + COPY] = lines_of(texts or pair.old)
    return lines


def copies_of(name: str, lines: dict[str, frozenset[str]]) -> frozenset[str]:
    """Notebooks that share half their lines with one: that one under another name, or what grew out of it."""
    own = lines[name]
    return frozenset(
        other
        for other, known in lines.items()
        if other != name and len(own & known) >= 0.5 * min(len(own), len(known)) > 0
    )


def measured(found: Sequence[Pair], case: str, thresholds: Thresholds) -> Tally:
    """One case, over all pairs: a notebook with several pairs has its first one's older version in the archive."""
    tally = Tally()
    first: dict[str, Pair] = {}
    for pair in found:
        first.setdefault(pair.name, pair)
    chosen = list(first.values())
    lines = archive_of(chosen, copies="copies" in case)
    whole = Notebooks(lines, thresholds)
    for pair, texts in sessions(chosen, case):
        if "not" in case:
            rest = {name: known for name, known in lines.items() if name != pair.name}
            tally.add(Notebooks(rest, thresholds).guess(texts), frozenset(), copies_of(pair.name, lines))
        else:
            tally.add(whole.guess(texts), frozenset({pair.name}))
    return tally


def table(found: Sequence[Pair], thresholds: Thresholds) -> list[str]:
    """Markdown rows, by repository and case; archives of all notebooks of the repositories together."""
    rows = ["| case | sessions | probable, right | a copy of it | wrong | ambiguous, with it | without it | unknown |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        numbers = measured(found, case, thresholds).row()
        rows.append(f"| {case} | {sum(numbers)} | " + " | ".join(str(number) for number in numbers) + " |")
    return rows


def _of_history(found: Sequence[Pair]) -> list[str]:
    return table(found, Thresholds())


def _of_rescue(found: Sequence[Pair]) -> list[str]:
    from bench.linking_rescue import table as table_of_rescue

    return table_of_rescue(found)


def main() -> int:
    """Print one table for each repository: those that thresholds were set on, and those they are reported on."""
    parser = argparse.ArgumentParser(prog="python -m bench.linking", description=__doc__)
    parser.add_argument("--real", type=Path, metavar="DIR", required=True, help="REPOSITORY/…/NAME.ipynb/000.ipynb, …")
    parser.add_argument("--rescue", action="store_true", help="what rescue makes of names and contents instead")
    options = parser.parse_args()
    found = pairs(options.real)
    rows = _of_rescue if options.rescue else _of_history
    for repository in sorted({pair.repository for pair in found}):
        of_one = [pair for pair in found if pair.repository == repository]
        use = "thresholds were set on this one" if repository in SET_ON else "reported"
        print(f"\n### {repository} ({len({pair.name for pair in of_one})} notebooks; {use})\n")
        print("\n".join(rows(of_one)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
