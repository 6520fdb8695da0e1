"""Which session a kernel wrote that was recorded, and never asked: by what both say ran at the same moment. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from nbguard.executed import ExecutedCell, Run, SessionKey

_SAME_MOMENT_SECONDS = 5.0
_NEAR_SECONDS = 30.0
_LEAST_CHARS = 20
_LEAST_RUNS = 3


def paired(
    cells: Mapping[SessionKey, Sequence[ExecutedCell]], runs: Iterable[Run], tied: Iterable[SessionKey | str]
) -> dict[str, list[SessionKey]]:
    """Kernels with the sessions that are theirs beyond doubt; ``tied`` are sessions and kernels that are known already.

    A session is a kernel's when rows of it were seen within seconds of that kernel's running the same text on the same
    line (three of them, or 20 characters), no row of then says otherwise, and no other kernel or session fits as well.
    """
    known = set(tied)
    runs_of: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.kernel not in known and run.generation is None and run.execution_count is not None:
            runs_of[run.kernel].append(run)
    fitting: dict[tuple[str, SessionKey], set[str]] = {}
    for key, rows in cells.items():
        if key not in known and runs_of:
            by_line: dict[int, list[ExecutedCell]] = defaultdict(list)
            for row in rows:
                by_line[row.line].append(row)
            for kernel, those in runs_of.items():
                if same := _same(by_line, those):
                    fitting[kernel, key] = same
    found: dict[str, list[SessionKey]] = defaultdict(list)
    for (kernel, key), same in fitting.items():
        others = [
            what for what, theirs in fitting.items() if what != (kernel, key) and (what[1] == key or theirs & same)
        ]
        if not others:
            found[kernel].append(key)
    return found


def _same(by_line: Mapping[int, Sequence[ExecutedCell]], runs: Sequence[Run]) -> set[str]:
    """The runs that rows say too; none when one row says that something else ran there and then, or they are few."""
    same: dict[str, str] = {}
    for run in runs:
        text = run.source.rstrip("\n")
        rows = by_line.get(run.execution_count or 0, ())
        if any(_said(row) == text and _apart(row, run) <= _SAME_MOMENT_SECONDS for row in rows):
            same[run.id] = text
        elif any(_said(row) != text and _apart(row, run) <= _NEAR_SECONDS for row in rows):
            return set()
    is_enough = len(same) >= _LEAST_RUNS or sum(map(len, same.values())) >= _LEAST_CHARS
    return set(same) if is_enough else set()


def _said(row: ExecutedCell) -> str:
    return row.source.rstrip("\n")


def _apart(row: ExecutedCell, run: Run) -> float:
    return abs((row.seen_at - run.started_at).total_seconds())
