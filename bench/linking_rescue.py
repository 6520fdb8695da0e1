"""What `rescue` makes of names and contents, where nothing else is known: measured on real notebooks, by repository.

Three questions, each asked of every notebook of a repository while all the others lie beside it. Its *name* alone is
typed, and every notebook is found at its path. A *session* of 2 to 5 cells, or a whole one, is compared with the older
versions of all. *Nameless bytes* (its older version, and every other notebook) are compared with what is left of it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

from bench.linking import sessions
from bench.pairs import Pair
from nbguard.app_rescue import wanted_of
from nbguard.executed import Confidence
from nbguard.rescue.findings import File, Finding, SourceName
from nbguard.rescue.likeness import likeness, looks_like
from nbguard.rescue.matching import fit, settle

_ROOT = "/home/ada"
_HEAD = [
    "| what is known | asked | right | wrong | ambiguous, with it | without it | nothing said | precision | recall |"
]


def table(found: Sequence[Pair]) -> list[str]:
    """Markdown rows. Precision is of what is said to be exact or probable; recall counts that and ambiguous ones."""
    first: dict[str, Pair] = {}
    for pair in found:
        first.setdefault(pair.name, pair)
    chosen = list(first.values())
    rows = [*_HEAD, "|---|---|---|---|---|---|---|---|---|"]
    rows.append(_row("its name", _names(chosen, os.path.basename)))
    rows.append(_row("its name and folder", _names(chosen, lambda path: "/".join(path.split("/")[-2:]))))
    for case in ("whole", "half run", "2-5 cells"):
        rows.append(_row(f"a session, {case}", _sessions(chosen, case, is_there=True)))
        rows.append(_row(f"the same, its notebook gone (right: {_NOTHING})", _sessions(chosen, case, is_there=False)))
    rows.append(_row("nameless bytes: its older version", _nameless(chosen, own=True)))
    rows.append(_row(f"nameless bytes: another notebook (right: {_NOTHING})", _nameless(chosen, own=False)))
    return rows


_NOTHING = "nothing said"


def _row(title: str, tally: Counter[str]) -> str:
    numbers = [tally[name] for name in ("right", "wrong", "among", "not among", "nothing")]
    said, asked = tally["right"] + tally["wrong"], sum(numbers)
    is_there = _NOTHING not in title
    precision = f"{tally['right'] / said:.3f}" if said and is_there else "-"
    recall = f"{(tally['right'] + tally['among']) / asked:.3f}" if is_there and asked else "-"
    return f"| {title} | {asked} | {' | '.join(map(str, numbers))} | {precision} | {recall} |"


def _names(chosen: Sequence[Pair], typed: Callable[[str], str]) -> Counter[str]:
    """What is typed somewhere else, and every notebook lies at its path."""
    tally: Counter[str] = Counter()
    paths = [f"{_ROOT}/{pair.name}" for pair in chosen]
    for path in paths:
        wanted = wanted_of(typed(path), None, "/tmp/elsewhere")
        fitting = [_file(other, sure) for other in paths if (sure := fit(wanted, other)) is not None]
        for finding in settle(fitting, wanted):
            if finding.notebook == path:
                tally["right" if finding.confidence is not Confidence.AMBIGUOUS else "among"] += 1
            elif finding.confidence is not Confidence.AMBIGUOUS:
                tally["wrong"] += 1
    return tally


def _file(path: str, confidence: Confidence) -> Finding:
    return Finding(
        source=SourceName.TRASH,
        path=path,
        time=None,
        size=1,
        cells=1,
        notebook=path,
        confidence=confidence,
        content=File(lambda: b""),
    )


def _sessions(chosen: Sequence[Pair], case: str, *, is_there: bool) -> Counter[str]:
    tally: Counter[str] = Counter()
    for pair, texts in sessions(chosen, case):
        beside = {other.name: other.old for other in chosen if is_there or other.name != pair.name}
        notebook, confidence = likeness(beside).of(texts)
        match confidence:
            case Confidence.PROBABLE:
                tally["right" if notebook == pair.name else "wrong"] += 1
            case Confidence.AMBIGUOUS:
                tally["among" if is_there else "not among"] += 1
            case _:
                tally["nothing"] += 1
    return tally


def _nameless(chosen: Sequence[Pair], *, own: bool) -> Counter[str]:
    tally: Counter[str] = Counter()
    for pair in chosen:
        is_likely = looks_like(pair.new)
        for other in [pair] if own else [other for other in chosen if other is not pair]:
            tally[("right" if own else "wrong") if is_likely(other.old_file.read_bytes()) else "nothing"] += 1
    return tally
