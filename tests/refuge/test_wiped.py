"""Wiped, unmounted, or only nbguard's own folders removed: told apart by what HOME held before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.refuge.wiped import Baseline, Home, Sight, decide, is_like

HOME = "/home/ada"
BEFORE = Baseline(
    way=((HOME, 7), ("/home", 1), ("/", 1)),
    entries=frozenset({(".bashrc", 11), (".local", 12), ("work", 13), ("venv", 14), ("music", 15), ("mail", 16)}),
    ours=frozenset({(f"{HOME}/.local/share/nbguard/archive.git", 21), (f"{HOME}/.local/share/nbguard/spool", 22)}),
    roots=frozenset({(f"{HOME}/work", 13)}),
)
WHOLE = Sight(nearest=HOME, device=7, entries=BEFORE.entries, ours=BEFORE.ours, roots=BEFORE.roots)
NONE: frozenset[tuple[str, int]] = frozenset()
EMPTY = replace(WHOLE, entries=NONE, ours=NONE, roots=NONE)
ELSEWHERE = replace(BEFORE, ours=frozenset({("/data/archive.git", 31)}))

CASES = [
    ("nothing happened", BEFORE, WHOLE, Home.INTACT),
    ("new files came", BEFORE, replace(WHOLE, entries=BEFORE.entries | {("new", 99)}), Home.INTACT),
    ("a root was deleted", BEFORE, replace(WHOLE, roots=NONE), Home.INTACT),
    ("rm -rf of all that HOME held", BEFORE, EMPTY, Home.WIPED),
    (
        "HOME itself is gone; the folder above is as it was",
        BEFORE,
        replace(EMPTY, nearest="/home", device=1),
        Home.WIPED,
    ),
    (
        "running programs have made some of it anew",
        BEFORE,
        replace(EMPTY, entries=frozenset({(".local", 77), ("work", 78)})),
        Home.WIPED,
    ),
    ("one thing resisted", BEFORE, replace(EMPTY, entries=frozenset({("mail", 16)})), Home.WIPED),
    (
        "it is just being emptied: ours went first",
        BEFORE,
        replace(WHOLE, entries=BEFORE.entries - {(".local", 12)}, ours=NONE),
        Home.OURS_GONE,
    ),
    ("only our folders were removed", BEFORE, replace(WHOLE, ours=NONE), Home.OURS_GONE),
    ("only the spool was removed", BEFORE, replace(WHOLE, ours=frozenset({min(BEFORE.ours)})), Home.OURS_GONE),
    ("unmounted: the empty folder below it shows", BEFORE, replace(EMPTY, device=1), Home.UNREACHABLE),
    ("/home unmounted", BEFORE, replace(EMPTY, nearest="/home", device=9), Home.UNREACHABLE),
    ("it cannot be read", BEFORE, replace(EMPTY, entries=None), Home.UNREACHABLE),
    ("everything but ours is gone, and ours lies in it", BEFORE, replace(EMPTY, ours=BEFORE.ours), Home.INTACT),
    (
        "ours lies elsewhere, and the watched folders are gone",
        ELSEWHERE,
        replace(EMPTY, ours=ELSEWHERE.ours),
        Home.WIPED,
    ),
    (
        "ours lies elsewhere and a root is left",
        ELSEWHERE,
        replace(EMPTY, ours=ELSEWHERE.ours, entries=frozenset({("work", 13)}), roots=BEFORE.roots),
        Home.INTACT,
    ),
    (
        "nothing of concern to us lies in HOME",
        replace(ELSEWHERE, roots=NONE),
        replace(EMPTY, ours=NONE),
        Home.OURS_GONE,
    ),
]


@pytest.mark.parametrize(("before", "now", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_became_of_home(before: Baseline, now: Sight, expected: Home) -> None:
    assert decide(before, now) is expected


@given(st.sets(st.sampled_from(sorted(BEFORE.entries))), st.booleans())
def test_home_is_never_wiped_while_the_archive_that_lies_in_it_is_there(
    left: set[tuple[str, int]], roots: bool
) -> None:
    now = replace(WHOLE, entries=frozenset(left), roots=BEFORE.roots if roots else NONE)
    assert decide(BEFORE, now) is Home.INTACT


@given(st.sets(st.sampled_from(sorted(BEFORE.entries))))
def test_the_fewer_is_left_the_more_it_is_wiped(left: set[tuple[str, int]]) -> None:
    fewer = decide(BEFORE, replace(EMPTY, entries=frozenset(sorted(left)[1:])))
    if decide(BEFORE, replace(EMPTY, entries=frozenset(left))) is Home.WIPED:
        assert fewer is Home.WIPED


def test_a_home_that_is_being_emptied_is_no_new_baseline() -> None:
    emptied = replace(BEFORE, entries=frozenset(sorted(BEFORE.entries)[:2]))
    assert not is_like(BEFORE, emptied)
    assert is_like(BEFORE, replace(BEFORE, entries=BEFORE.entries | {("new", 99)}))
    assert not is_like(BEFORE, replace(BEFORE, ours=NONE))
