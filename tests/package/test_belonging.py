"""Which notebook a session belongs to, which of its cells, and which version stands for a notebook: tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from nbguard.executed import Confidence, HistorySession, Link
from nbguard.history.timeline import choose
from nbguard.model import Status
from nbguard.package.belonging import anchor, own_cells, paired, ran_by, session_of, sure_links
from nbguard.package.selection import as_of, faces, is_deleted
from tests.library import START, MemoryLibrary
from tests.package.test_secrets import MINE, OTHER, cell, link, run


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


EXACT, CONSOLE = link(1, MINE), link(1, None)
PROBABLE, AMBIGUOUS = link(1, OTHER, Confidence.PROBABLE), link(1, OTHER, Confidence.AMBIGUOUS)


@pytest.mark.parametrize(
    ("given", "sure"),
    [
        ([EXACT], [EXACT]),
        ([PROBABLE], [PROBABLE]),
        ([AMBIGUOUS], []),
        ([EXACT, PROBABLE], [EXACT]),
        ([CONSOLE, PROBABLE], []),
        ([CONSOLE, EXACT], [EXACT]),
        ([], []),
    ],
)
def test_what_was_seen_counts_and_contents_only_where_nothing_was(given: list[Link], sure: list[Link]) -> None:
    assert sure_links(given) == sure


def test_a_shared_session_is_divided_by_time() -> None:
    cells = [cell(1, line, f"cell {line}", minute=line) for line in range(1, 10)]
    mine = link(1, MINE, until=at(4))
    other = link(1, OTHER, since=at(5), until=at(7))
    again = link(1, MINE, since=at(8))

    console = link(1, None, since=at(5), until=at(7))
    unbounded = replace(link(1, OTHER), seen_at=at(9))

    def lines(path: str, *links: Link) -> list[int]:
        found = own_cells(cells, links, lambda links, at: choose(links, at).link, lambda one: one.path == path)
        return [each.line for each in found]

    assert lines(MINE, mine) == list(range(1, 10))
    assert lines(MINE, mine, other, again) == [1, 2, 3, 4, 8, 9]
    assert lines(OTHER, mine, other, again) == [5, 6, 7]
    assert lines(MINE, mine, console, again) == [1, 2, 3, 4, 8, 9]
    assert lines(MINE, mine, unbounded)[:4] == [1, 2, 3, 4] and 9 not in lines(MINE, mine, unbounded)


def test_a_link_is_judged_at_a_time_when_it_surely_held() -> None:
    assert anchor(link(1, MINE)) == at(5)
    assert anchor(replace(link(1, MINE, since=at(1)), seen_at=at(5))) == at(5)
    assert anchor(link(1, MINE, since=at(1), until=at(3))) == at(2)


def test_a_run_belongs_to_the_session_that_says_so_or_else_to_its_kernel_s() -> None:
    first, second = ("g", 1), ("g", 2)
    cells = {first: [cell(1, 1, "a")], second: [cell(2, 1, "b")]}
    kernels = {"k": [second, first]}
    of_kernel = replace(run("r", MINE, "a\n"), kernel="k")
    assert session_of(replace(of_kernel, generation="g", session=2), cells, {}) == second
    assert session_of(replace(of_kernel, generation="g", session=3), cells, kernels) is None
    assert session_of(of_kernel, cells, kernels) == first
    assert session_of(replace(of_kernel, source="neither"), cells, kernels) == second
    assert session_of(replace(of_kernel, kernel="other"), cells, kernels) is None


@pytest.mark.parametrize(
    ("started", "ended", "lines"),
    [(0, None, [1, 2]), (0, 2, [1, 2, 3]), (0, 30, [1, 2]), (9, None, []), (None, None, [1, 2])],
)
def test_as_of_a_time_cells_that_ran_later_are_left_out(
    started: int | None, ended: int | None, lines: list[int]
) -> None:
    cells = [cell(1, line, "x", minute=line * 2) for line in (1, 2, 3)]
    session = HistorySession(
        generation="g",
        session=1,
        started_at=None if started is None else at(started),
        ended_at=None if ended is None else at(ended),
        seen_at=at(20),
    )
    assert [each.line for each in ran_by(cells, session, at(5))] == lines
    assert ran_by(cells, session, None) == cells


def test_each_execution_is_there_once() -> None:
    cells = [cell(1, 1, "a", 1), cell(1, 2, "b", 3), cell(1, 3, "c", 5)]
    runs = [
        replace(run("r1", MINE, "b"), execution_count=2, started_at=at(3)),
        replace(run("r2", MINE, "silent"), execution_count=None, started_at=at(4)),
        replace(run("r3", MINE, "other text"), execution_count=1, started_at=at(9)),
    ]
    found = [(one.source if one else None, recorded.id if recorded else None) for one, recorded in paired(cells, runs)]
    assert found == [("a", None), ("b", "r1"), (None, "r2"), ("c", None), (None, "r3")]


def test_the_best_state_stands_for_a_notebook() -> None:
    library = MemoryLibrary()
    good = library.add("/a", b'{"cells": []}')
    never = library.add("/a", b'{"cells": [], "n": 1}', tip=False)
    emptied = library.add("/a", b"{}", status=Status.EMPTIED)
    library.delete("/a")
    versions = as_of(library.log(good.notebook), None, None)
    assert [version.id for version in faces(versions)] == [good.id, never.id, emptied.id]
    assert is_deleted(versions) and not is_deleted(versions[:3])
    accepted = [replace(version, accepted=version.id == emptied.id) for version in versions]
    assert faces(accepted)[0].id == emptied.id


def test_up_to_a_version_and_up_to_a_time() -> None:
    library = MemoryLibrary()
    versions = [library.add("/a", str(number).encode(), at=at(number)) for number in range(4)]
    log = library.log(versions[0].notebook)
    assert as_of(log, None, None) == versions
    assert as_of(log, versions[2].id, None) == versions[:3]
    assert as_of(log, versions[3].id, at(1)) == versions[:2]
