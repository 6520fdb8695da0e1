"""What was executed, read in parts: the same rows in the same order as all at once, and never all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from nbguard.executed import (
    Confidence,
    ExecutedCell,
    Frontend,
    Generation,
    HistorySession,
    Link,
    Recorded,
    Run,
    SessionKey,
)
from nbguard.history.answering import Question, answer, sessions_of_kernels
from nbguard.history.timeline import Executed, put_together, row_order

G = "3f9a12bc" * 4
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Kept:
    """A library in memory that counts what it was asked for."""

    sessions_: list[HistorySession] = field(default_factory=list)
    cells_: dict[SessionKey, list[ExecutedCell]] = field(default_factory=dict)
    links_: list[Link] = field(default_factory=list)
    runs_: list[Run] = field(default_factory=list)
    read: list[int] = field(default_factory=list)

    def generations(self) -> list[Generation]:
        return []

    def sessions(self) -> list[HistorySession]:
        return self.sessions_

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        self.read.append(session)
        return self.cells_[generation, session]

    def links(self) -> list[Link]:
        return self.links_

    def runs(self, *, kernel: str | None = None, path: str | None = None) -> list[Run]:
        return [run for run in self.runs_ if kernel in (None, run.kernel) and path in (None, run.path)]

    def seen(self, generation: str, session: int) -> tuple[datetime, datetime] | None:
        cells = self.cells_[generation, session]
        return (cells[0].seen_at, cells[-1].seen_at) if cells else None

    def recorded(self) -> list[Recorded]:
        found: dict[tuple[str, str | None, int | None, str | None], list[datetime]] = {}
        for run in self.runs_:
            found.setdefault((run.kernel, run.generation, run.session, run.path), []).append(run.started_at)
        return [Recorded(kernel=k, generation=g, session=s, path=p, first_at=min(at), last_at=max(at))
                for (k, g, s, p), at in found.items()]  # fmt: skip

    def all_at_once(self) -> list[Executed]:
        return put_together(self.sessions_, self.cells_, self.runs_, self.links_)


def session(number: int, ended: float | None) -> HistorySession:
    end = None if ended is None else NOW + timedelta(seconds=ended)
    return HistorySession(generation=G, session=number, started_at=NOW, ended_at=end, seen_at=NOW)


def cell(number: int, line: int, source: str, seconds: float) -> ExecutedCell:
    seen_at = NOW + timedelta(seconds=seconds)
    return ExecutedCell(generation=G, session=number, line=line, source=source, seen_at=seen_at)


def run(identity: str, kernel: str, line: int, source: str, seconds: float, number: int | None = None) -> Run:
    at = NOW + timedelta(seconds=seconds)
    return Run(
        id=identity,
        kernel=kernel,
        execution_count=line,
        source=source,
        started_at=at,
        ended_at=at,
        status="ok",
        generation=None if number is None else G,
        session=number,
    )


def link(number: int | None, kernel: str | None, path: str | None = "/w/a.ipynb") -> Link:
    return Link(
        generation=None if number is None else G,
        session=number,
        path=path,
        frontend=Frontend.NOTEBOOK,
        confidence=Confidence.EXACT,
        evidence=("server",),
        seen_at=NOW,
        kernel=kernel,
    )


SOURCES = st.sampled_from(["import numpy as np  # long enough", "x = 1", "x"])
SECONDS = st.integers(0, 90).map(float)


@st.composite
def libraries(draw: st.DrawFn) -> Kept:
    kept = Kept()
    for number in range(draw(st.integers(0, 5))):
        times = sorted(draw(st.lists(SECONDS, max_size=4)))
        kept.sessions_.append(session(number, draw(st.none() | SECONDS)))
        kept.cells_[G, number] = [cell(number, line, draw(SOURCES), at) for line, at in enumerate(times, 1)]
    numbers = st.none() | st.integers(0, 5)
    kernels = st.sampled_from(["k1", "k2", "k3"])
    for identity in range(draw(st.integers(0, 6))):
        line, of = draw(st.integers(1, 4)), draw(numbers)
        kept.runs_.append(run(f"r{identity}", draw(kernels), line, draw(SOURCES), draw(SECONDS), of))
    kept.runs_.sort(key=lambda one: (one.started_at, one.id))
    for _ in range(draw(st.integers(0, 4))):
        kept.links_.append(link(draw(numbers), draw(st.none() | kernels), draw(st.sampled_from(["/w/a.ipynb", None]))))
    return kept


UNASKED = Kept()
UNASKED.sessions_ = [session(0, None), session(1, None)]
UNASKED.cells_ = {(G, 0): [], (G, 1): [cell(1, 1, "import numpy as np  # long enough", 0.0)]}
UNASKED.runs_ = [
    run("r0", "k1", 1, "import numpy as np  # long enough", 0.0),
    run("r1", "k1", 1, "import numpy as np  # long enough", 0.0, 0),
]


@given(libraries())
@example(UNASKED)
def test_rows_read_in_parts_are_those_that_all_at_once_give_in_their_order(kept: Kept) -> None:
    found = list(answer(kept, Question()))
    assert sorted(found, key=row_order) == found
    assert _without_ties(found) == _without_ties(kept.all_at_once())


def _without_ties(rows: list[Executed]) -> list[tuple[object, ...]]:
    """Rows that are sorted alike stand in any order."""
    return sorted((*map(str, row_order(row)), str(row.notebook), row.run.id if row.run else "") for row in rows)


def test_a_session_is_read_when_its_turn_comes_and_not_before() -> None:
    kept = Kept()
    for number in range(50):
        kept.sessions_.append(session(number, None))
        kept.cells_[G, number] = [cell(number, line, "x", 100 * number + line) for line in range(1, 5)]
    rows: Iterator[Executed] = answer(kept, Question())
    assert kept.read == []
    next(rows)
    assert kept.read == [0]
    assert [next(rows).number for _ in range(8)] == [0, 0, 0, 1, 1, 1, 1, 2]
    assert kept.read == [0, 1, 2]
    assert len(list(rows)) == 191


def test_a_recorded_kernel_that_was_never_asked_for_its_session_is_found_in_history_and_shown_once() -> None:
    kept = Kept(sessions_=[session(1, None)], links_=[link(None, "k1")])
    texts = ["import numpy as np", "x = np.arange(10)", "x.sum()"]
    kept.cells_[G, 1] = [cell(1, line, text, 10 * line + 0.4) for line, text in enumerate(texts, 1)]
    kept.runs_ = [run(f"r{line}", "k1", line, text, 10 * line) for line, text in enumerate(texts, 1) if line < 3]
    found = list(answer(kept, Question()))
    assert [(row.session, row.line, row.notebook.path) for row in found] == [
        ("3f9a12bc-1", line, "/w/a.ipynb") for line in (1, 2, 3)
    ]
    assert list(answer(kept, Question(session="3f9a12bc-1"))) == found
    assert list(answer(kept, Question(belongs=lambda path, at: path == "/w/a.ipynb"))) == found


def test_two_sessions_that_fit_a_recorded_kernel_equally_are_not_mixed_into_it() -> None:
    kept = Kept(sessions_=[session(1, None), session(2, None)])
    for number in (1, 2):
        kept.cells_[G, number] = [cell(number, 1, "import numpy as np  # both", 10)]
    kept.runs_ = [run("r1", "k1", 1, "import numpy as np  # both", 10)]
    assert sorted(row.session for row in answer(kept, Question())) == ["3f9a12bc-1", "3f9a12bc-2", "kernel-k1"]


def test_what_a_row_says_ran_at_that_moment_on_that_line_tells_two_kernels_apart() -> None:
    kept = Kept(sessions_=[session(1, None)])
    kept.cells_[G, 1] = [cell(1, 1, "import numpy as np  # same", 10), cell(1, 2, "y = 2", 20)]
    kept.runs_ = [run("r1", "k1", 1, "import numpy as np  # same", 10), run("r2", "k1", 2, "y = 3", 20)]
    assert {row.session for row in answer(kept, Question())} == {"3f9a12bc-1", "kernel-k1"}


def test_the_session_of_a_recorded_kernel_is_told_by_links_or_by_what_ran() -> None:
    texts = ["import numpy as np", "x = np.arange(10)"]
    kept = Kept(sessions_=[session(number, None) for number in (1, 2, 3)], links_=[link(2, "k2"), link(3, "k3")])
    kept.links_ += [link(1, "k3")]
    for number in (1, 2, 3):
        kept.cells_[G, number] = []
    kept.sessions_.append(session(4, None))
    kept.cells_[G, 4] = [cell(4, line, text, 10 * line) for line, text in enumerate(texts, 1)]
    kept.runs_ = [run(f"r{line}", "k1", line, text, 10 * line) for line, text in enumerate(texts, 1)]
    kept.runs_ += [run("r", kernel, 9, "x", 500) for kernel in ("k2", "k3", "k5")]
    assert sessions_of_kernels(kept) == {"k1": "3f9a12bc-4", "k2": "3f9a12bc-2"}
