"""One executed cell once, with the notebook that it belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nbguard.executed import Confidence, ExecutedCell, Frontend, HistorySession, Link, Run
from nbguard.history.lineage import holder_at
from nbguard.history.timeline import Executed, TimeIs, choose, identified, kernel_session, put_together
from nbguard.model import Moment, Status, Trigger, Version

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
G = "3f9a12bc" * 4


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def cell(line: int, source: str = "x", *, seen: float = 0, session: int = 1) -> ExecutedCell:
    return ExecutedCell(generation=G, session=session, line=line, source=source, seen_at=at(seen))


def run(
    identity: str,
    count: int | None,
    source: str = "x",
    *,
    started: float = 0,
    session: int | None = None,
    kernel: str = "k1",
    outputs: int = 0,
    path: str | None = None,
) -> Run:
    return Run(
        id=identity,
        kernel=kernel,
        execution_count=count,
        source=source,
        started_at=at(started),
        ended_at=at(started),
        status="ok",
        generation=None if session is None else G,
        session=session,
        outputs=outputs,
        path=path,
    )


def link(
    path: str | None,
    confidence: Confidence = Confidence.EXACT,
    *,
    session: int | None = 1,
    kernel: str | None = None,
    seen: float = 0,
    since: float | None = None,
    until: float | None = None,
) -> Link:
    return Link(
        generation=None if session is None else G,
        session=session,
        path=path,
        frontend=Frontend.NOTEBOOK,
        confidence=confidence,
        evidence=("server",),
        seen_at=at(seen),
        since=None if since is None else at(since),
        until=None if until is None else at(until),
        kernel=kernel,
    )


def together(cells: list[ExecutedCell], runs: list[Run], links: list[Link]) -> list[Executed]:
    by_session: dict[tuple[str, int], list[ExecutedCell]] = {}
    for one in cells:
        by_session.setdefault((one.generation, one.session), []).append(one)
    return put_together([], by_session, runs, links)


def rows(found: list[Executed]) -> list[tuple[str, int | None, str, str | None]]:
    return [(one.session, one.line, one.source, None if one.run is None else one.run.id) for one in found]


@pytest.mark.parametrize(
    ("runs", "links", "expected"),
    [
        ([run("r", 1, session=1)], [], [("3f9a12bc-1", 1, "x", "r")]),
        ([run("r", 1, "x\n\n", session=1)], [], [("3f9a12bc-1", 1, "x", "r")]),
        ([run("r", 1)], [link("/a", kernel="k1")], [("3f9a12bc-1", 1, "x", "r")]),
        ([run("r", 1, session=2)], [], [("3f9a12bc-1", 1, "x", None), ("3f9a12bc-2", 1, "x", "r")]),
        ([run("r", 2, session=1)], [], [("3f9a12bc-1", 1, "x", None), ("3f9a12bc-1", 2, "x", "r")]),
        ([run("r", 1, "y", session=1)], [], [("3f9a12bc-1", 1, "x", None), ("3f9a12bc-1", 1, "y", "r")]),
        ([run("r", None, session=1)], [], [("3f9a12bc-1", None, "x", "r"), ("3f9a12bc-1", 1, "x", None)]),
        ([run("r", 1)], [], [("3f9a12bc-1", 1, "x", None), ("kernel-k1", 1, "x", "r")]),
        (
            [run("r1", 1, session=1), run("r2", 1, session=1, outputs=3)],
            [],
            [("3f9a12bc-1", 1, "x", "r2")],
        ),
    ],
)
def test_a_run_and_a_history_row_of_the_same_session_line_and_text_are_one_executed_cell(
    runs: list[Run], links: list[Link], expected: list[tuple[str, int | None, str, str | None]]
) -> None:
    assert rows(together([cell(1)], runs, links)) == expected


def test_a_run_of_a_kernel_with_several_sessions_finds_the_one_that_has_its_row() -> None:
    cells = [cell(1, "a", session=1), cell(1, "b", session=2)]
    links = [link("/n", session=1, kernel="k1", seen=0), link("/n", session=2, kernel="k1", seen=9)]
    found = together(cells, [run("r", 1, "a")], links)
    assert [(one.session, one.run is not None) for one in found] == [("3f9a12bc-1", True), ("3f9a12bc-2", False)]


def test_the_first_cell_of_a_restarted_kernel_is_not_taken_for_that_of_its_first_life() -> None:
    cells = [cell(1, session=1, seen=0), cell(1, session=2, seen=9)]
    links = [link("/n", session=1, kernel="k1", seen=0), link("/n", session=2, kernel="k1", seen=9)]
    runs = [run("first", 1, started=0), run("second", 1, started=9), run("third", 1, started=30)]
    found = together(cells, runs, links)
    assert rows(found) == [
        ("3f9a12bc-1", 1, "x", "first"),
        ("3f9a12bc-2", 1, "x", "second"),
        ("kernel-k1", 1, "x", "third"),  # of a life whose session is not known yet: shown, not swallowed
    ]


def test_the_time_is_when_it_ran_else_when_it_was_seen_else_the_end_of_its_session() -> None:
    ended = HistorySession(generation=G, session=2, started_at=at(-90), ended_at=at(-60), seen_at=at(0))
    cells = {(G, 1): [cell(1), cell(2, seen=1)], (G, 2): [cell(1, session=2)]}
    found = put_together([ended], cells, [run("r", 1, session=1, started=-1)], [])
    assert [(one.at, one.time_is) for one in found] == [
        (at(-60), TimeIs.LATEST),
        (at(-1), TimeIs.RAN),
        (at(1), TimeIs.SEEN),
    ]


def test_a_line_ran_no_later_than_the_lines_after_it_and_the_other_session_is_not_asked() -> None:
    cells = [cell(1, "a", seen=3), cell(2, "b", seen=3), cell(3, "c", seen=4), cell(1, "z", seen=3.5, session=2)]
    found = together(cells, [run("r", 2, "b", started=1, session=1)], [])
    assert [(one.source, one.at, one.time_is) for one in found] == [
        ("a", at(1), TimeIs.LATEST),
        ("b", at(1), TimeIs.RAN),
        ("z", at(3.5), TimeIs.SEEN),
        ("c", at(4), TimeIs.SEEN),
    ]


@pytest.mark.parametrize(
    ("links", "path", "confidence", "candidates"),
    [
        ([], None, Confidence.UNKNOWN, ()),
        ([link("/a")], "/a", Confidence.EXACT, ()),
        ([link(None)], None, Confidence.EXACT, ()),
        ([link("/a", Confidence.PROBABLE, seen=9), link("/b")], "/b", Confidence.EXACT, ()),
        ([link("/a", since=-20, until=-10), link("/b", since=-10, seen=5)], "/b", Confidence.EXACT, ()),
        ([link("/a", since=-20, until=5), link("/b", since=5, seen=9)], "/a", Confidence.EXACT, ()),
        ([link("/a", since=-20, until=-15), link("/b", since=50, until=60)], "/a", Confidence.EXACT, ()),
        ([link("/a", seen=-50), link("/b", seen=3)], "/b", Confidence.EXACT, ()),
        (
            [link("/b", Confidence.AMBIGUOUS), link("/a", Confidence.AMBIGUOUS)],
            None,
            Confidence.AMBIGUOUS,
            ("/a", "/b"),
        ),
        ([link("/b", Confidence.UNKNOWN)], None, Confidence.UNKNOWN, ()),
    ],
)
def test_the_strongest_link_that_held_then_names_the_notebook_and_a_guess_never_does(
    links: list[Link], path: str | None, confidence: Confidence, candidates: tuple[str, ...]
) -> None:
    found = choose(links, NOW)
    assert (found.path, found.confidence, found.candidates) == (path, confidence, candidates)


def test_a_run_without_a_link_belongs_to_the_notebook_that_its_recorder_named() -> None:
    (found,) = together([], [run("r", 1, path="/w/a.ipynb")], [])
    assert (found.notebook.path, found.notebook.evidence, found.origin) == ("/w/a.ipynb", ("recorder",), "recorder")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("3f-4", ["3f-4"]),  # exactly that one, though 3f-42 begins so
        ("3f-42", ["3f-42"]),
        ("3f", ["3f-4", "3f-42"]),
        ("a", ["ab-1"]),
        ("", []),
        ("zz", []),
    ],
)
def test_an_id_is_found_by_its_beginning(prefix: str, expected: list[str]) -> None:
    assert identified(["3f-42", "3f-4", "ab-1", "ab-1"], prefix) == expected


def test_a_kernel_without_history_has_an_id_that_can_be_typed() -> None:
    assert kernel_session("9c7f0a11-22bb-43cd") == "kernel-9c7f0a1122bb"


def version(path: str, minutes: float, *, deleted: bool = False, tip: bool = True) -> Version:
    return Version(
        id=f"{path}{minutes}",
        notebook="n",
        path=path,
        moment=Moment(1, int((minutes + 1000) * 1e9), 1),
        saved_at=at(minutes),
        size=0 if deleted else 1,
        sha256=None if deleted else "0" * 64,
        cells=None,
        source_chars=None,
        status=Status.DELETED if deleted else Status.OK,
        trigger=Trigger.WATCH,
        tip=tip,
        root="/",
        install="i",
        boot="b",
    )


FIRST = [version("/a", 0), version("/a", 5), version("/b", 10), version("/b", 20, deleted=True)]
SECOND = [version("/c", -10), version("/a", 15), version("/a", 12, tip=False)]


@pytest.mark.parametrize(
    ("path", "minutes", "expected"),
    [
        ("/a", 3, "first"),
        ("/a", 5, "first"),
        ("/a", -3, "first"),  # before its first version it was there already
        ("/a", 11, "first"),  # it has left, but its kernel goes on
        ("/a", 14, "first"),
        ("/a", 15, "second"),
        ("/a", 99, "second"),
        ("/b", 15, "first"),
        ("/b", 25, "first"),  # deleted: its kernel goes on
        ("/c", 99, "second"),
        ("/d", 0, None),
    ],
)
def test_a_path_belongs_to_the_notebook_that_had_it_then(path: str, minutes: float, expected: str | None) -> None:
    assert holder_at(path, at(minutes), {"first": FIRST, "second": SECOND[::-1]}) == expected
