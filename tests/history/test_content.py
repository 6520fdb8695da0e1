"""Dead sessions by content: a guess is called one, and copies are never chosen between."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from nbguard.executed import Confidence, HistorySession
from nbguard.history.content import Notebooks, guessed_links, lines_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COMMON = ["import numpy as np", "import pandas as pd", "plt.show()"]


def book(name: str, lines: int = 12) -> list[str]:
    return [*COMMON, *(f"{name}_{number} = load('{name}', {number})" for number in range(lines))]


BOOKS = {name: book(name) for name in ("sales", "weather", "stars", "cells", "trade")}
SHELF = Notebooks({name: lines_of(lines) for name, lines in BOOKS.items()})


def test_lines_that_only_one_notebook_has_make_it_probable() -> None:
    guess = SHELF.guess([*COMMON, *BOOKS["stars"][3:9], "stars_1.head()"])
    assert guess.confidence is Confidence.PROBABLE
    assert guess.notebooks[0].notebook == "stars"


def test_lines_that_every_notebook_has_say_nothing() -> None:
    assert SHELF.guess(COMMON).confidence is Confidence.UNKNOWN


def test_a_single_line_is_too_little() -> None:
    assert SHELF.guess(BOOKS["stars"][3:4]).confidence is Confidence.UNKNOWN


def test_a_session_of_no_notebook_is_unknown() -> None:
    assert SHELF.guess([f"quite_other = {number}" for number in range(20)]).confidence is Confidence.UNKNOWN
    assert SHELF.guess([]).confidence is Confidence.UNKNOWN
    assert Notebooks({}).guess(BOOKS["stars"]).confidence is Confidence.UNKNOWN


def test_copies_are_all_named_and_none_is_chosen() -> None:
    grown = [*BOOKS["stars"], *(f"extra_{number} = 1 + {number}" for number in range(4))]
    shelf = Notebooks({name: lines_of(lines) for name, lines in {**BOOKS, "stars again": grown}.items()})
    guess = shelf.guess(grown)
    assert guess.confidence is Confidence.AMBIGUOUS
    assert {one.notebook for one in guess.notebooks} == {"stars", "stars again"}


def test_a_guess_becomes_links_with_their_confidence_and_never_exact_ones() -> None:
    session = HistorySession(generation="g", session=3, started_at=NOW, ended_at=None, seen_at=NOW)
    guess = SHELF.guess(BOOKS["sales"])
    (link,) = guessed_links(session, guess, {"sales": "/work/sales.ipynb"}, NOW)
    assert (link.path, link.confidence, link.evidence) == ("/work/sales.ipynb", Confidence.PROBABLE, ("content",))


@given(st.lists(st.sampled_from(sorted({line for lines in BOOKS.values() for line in lines})), max_size=40))
def test_a_guess_is_one_of_three_and_says_what_it_means(sources: list[str]) -> None:
    guess = SHELF.guess(sources)
    named = len(guess.notebooks)
    assert guess.confidence is not Confidence.EXACT
    assert {Confidence.PROBABLE: named == 1, Confidence.AMBIGUOUS: named > 1, Confidence.UNKNOWN: named == 0}[
        guess.confidence
    ]
    assert all(0 <= one.score <= 1.000001 for one in guess.notebooks)


@given(st.lists(st.text(), max_size=10))
def test_any_text_is_taken(sources: list[str]) -> None:
    SHELF.guess(sources)
