"""From what was seen of a kernel to its notebooks: decided from values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nbguard.executed import Confidence, Frontend, Link
from nbguard.history.links import (
    Belonging,
    Place,
    Seen,
    Served,
    Willingness,
    chain_of,
    may_ask,
    new_links,
    places_of,
)
from nbguard.model import Moment, Status, Trigger, Version

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOTEBOOK, CONSOLE = Frontend.NOTEBOOK, Frontend.CONSOLE


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def version(path: str, minutes: float, *, gone: bool = False) -> Version:
    return Version(
        id=f"{path}{minutes}",
        notebook="n",
        path=path,
        moment=Moment(1, int(minutes * 1000) + 10**9, 0),
        saved_at=at(minutes),
        size=1,
        sha256=None if gone else "s",
        cells=1,
        source_chars=1,
        status=Status.DELETED if gone else Status.OK,
        trigger=Trigger.WATCH,
        tip=True,
        root="/",
        install="i",
        boot="b",
    )


ONE = {"one": [version("/a", -60), version("/b", 5), version("/c", 9)]}
USED_AGAIN = {**ONE, "two": [version("/a", 6)]}


@pytest.mark.parametrize(
    ("path", "minutes", "logs", "is_there", "chain"),
    [
        ("/a", 0, ONE, False, ("/a", "/b", "/c")),
        ("/b", 6, ONE, False, ("/b", "/c")),
        ("/a", 20, ONE, False, ("/a", "/b", "/c")),  # restarted after a move that its server does not know
        ("/a", 20, ONE, True, ()),  # something else is there now, and nobody has seen it come
        ("/a", 0, USED_AGAIN, True, ("/a", "/b", "/c")),
        ("/a", 7, USED_AGAIN, True, ("/a",)),
        ("/a", 5.9, USED_AGAIN, True, ("/a",)),  # seen a little after its kernel started
        ("/nowhere", 0, ONE, True, ()),
        ("/a", 0, {"one": [version("/a", -60), version("/a", 5, gone=True)]}, False, ("/a",)),
    ],
)
def test_a_path_at_a_time_is_followed_through_renames(
    path: str, minutes: float, logs: dict[str, list[Version]], is_there: bool, chain: tuple[str, ...]
) -> None:
    assert chain_of(path, at(minutes), logs, is_there=is_there) == chain


def served(path: str, kind: str = "notebook", minutes: float = 3) -> Served:
    return Served(path, kind, at(minutes))


@pytest.mark.parametrize(
    ("told", "heard", "known", "there", "wanted"),
    [
        # A server and the process agree; or the process alone.
        ("/a", (served("/a"),), {}, {"/a"}, [("/a", NOTEBOOK, Confidence.EXACT)]),
        ("/a", None, {}, {"/a"}, [("/a", NOTEBOOK, Confidence.EXACT)]),
        # Renamed in Lab: the server knows; by mv: only the watcher does; first one, then the other.
        ("/a", (served("/b"),), {("/a", T0): ("/a", "/b")}, {"/b"}, [("/b", NOTEBOOK, Confidence.EXACT)]),
        ("/a", (served("/b"),), {}, {"/b"}, [("/b", NOTEBOOK, Confidence.EXACT)]),
        ("/a", (served("/a"),), {("/a", T0): ("/a", "/b")}, {"/b"}, [("/b", NOTEBOOK, Confidence.EXACT)]),
        ("/a", (served("/b"),), {("/a", T0): ("/a", "/b", "/c")}, {"/c"}, [("/c", NOTEBOOK, Confidence.EXACT)]),
        (None, (served("/b"),), {("/b", at(3)): ("/b", "/c")}, {"/c"}, [("/c", NOTEBOOK, Confidence.EXACT)]),
        # By mv, and its old name is another notebook's now.
        ("/a", (served("/a"),), {("/a", T0): ("/a", "/b")}, {"/a", "/b"}, [("/b", NOTEBOOK, Confidence.EXACT)]),
        # Moved where nobody watches.
        ("/a", (served("/a"),), {}, set(), [("/a", NOTEBOOK, Confidence.PROBABLE)]),
        # One kernel for two notebooks; and for a notebook and a console.
        (
            "/a",
            (served("/a"), served("/b")),
            {},
            {"/a", "/b"},
            [("/a", NOTEBOOK, Confidence.EXACT), ("/b", NOTEBOOK, Confidence.EXACT)],
        ),
        ("/a", (served("/a"), served("/x", "console")), {}, {"/a"}, [("/a", NOTEBOOK, Confidence.EXACT)]),
        # No notebook at all, and one that nobody names.
        (None, (served("/x", "console"),), {}, set(), [(None, CONSOLE, Confidence.EXACT)]),
    ],
)
def test_what_was_seen_says_which_notebooks_a_kernel_serves(
    told: str | None,
    heard: tuple[Served, ...] | None,
    known: dict[tuple[str, datetime], tuple[str, ...]],
    there: set[str],
    wanted: list[tuple[str | None, Frontend, Confidence]],
) -> None:
    seen = Seen(frontend=NOTEBOOK, told=told, started_at=T0, served=heard)
    places = places_of(seen, lambda path, when: known.get((path, when), ()), there.__contains__)
    assert [(place.path, place.frontend, place.confidence) for place in places] == wanted


@pytest.mark.parametrize(
    ("frontend", "confidence"),
    [
        (Frontend.CONSOLE, Confidence.EXACT),
        (Frontend.TERMINAL, Confidence.EXACT),
        (Frontend.VSCODE, Confidence.UNKNOWN),
        (Frontend.OTHER, Confidence.UNKNOWN),
    ],
)
def test_a_kernel_that_was_told_no_path_is_labelled_and_not_guessed_at(
    frontend: Frontend, confidence: Confidence
) -> None:
    seen = Seen(frontend=frontend, told=None, started_at=T0)
    (place,) = places_of(seen, lambda path, when: (), lambda path: False)
    assert (place.path, place.frontend, place.confidence) == (None, frontend, confidence)


SESSION = Belonging(kernel="k", pid=7, generation="g", session=4, since=T0)


def place(path: str | None, confidence: Confidence = Confidence.EXACT) -> Place:
    return Place(path, NOTEBOOK, ("server",), confidence)


def told_by(links: list[Link]) -> list[tuple[str | None, bool, datetime | None]]:
    return [(link.path, link.until is not None, link.since) for link in links]


def test_a_rename_ends_one_link_and_begins_another() -> None:
    first = new_links(SESSION, [], [place("/a")], at(1))
    assert told_by(first) == [("/a", False, T0)]
    assert new_links(SESSION, first, [place("/a")], at(2)) == []
    second = new_links(SESSION, first, [place("/b")], at(3))
    assert told_by(second) == [("/a", True, T0), ("/b", False, at(3))]


def test_what_was_certain_stays_so_when_the_file_has_gone() -> None:
    first = new_links(SESSION, [], [place("/a")], at(1))
    assert new_links(SESSION, first, [place("/a", Confidence.PROBABLE)], at(2)) == []


def test_what_was_probable_becomes_exact() -> None:
    first = new_links(SESSION, [], [place("/a", Confidence.PROBABLE)], at(1))
    (better,) = new_links(SESSION, first, [place("/a")], at(2))
    assert (better.path, better.confidence) == ("/a", Confidence.EXACT)


@pytest.mark.parametrize(
    ("worked_at", "not_before", "state", "asked"),
    [
        (None, 0.0, "idle", False),  # it has run nothing, or nothing since it was asked
        (90.0, 0.0, "idle", True),
        (90.0, 0.0, "", True),
        (90.0, 0.0, "busy", False),
        (90.0, 0.0, "starting", False),
        (99.9, 0.0, "idle", False),  # its history thread is still at it
        (90.0, 101.0, "idle", False),
    ],
)
def test_a_kernel_is_asked_after_it_worked_and_not_while_it_works(
    worked_at: float | None, not_before: float, state: str, asked: bool
) -> None:
    assert may_ask(Willingness(worked_at=worked_at, not_before=not_before, state=state), 100.0) is asked
