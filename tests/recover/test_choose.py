"""Which version is meant, and what is said when there is none."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import Ambiguous, NothingMatched
from nbguard.model import DraftKind, Status, Version
from nbguard.recover.choose import emptied_now, newest_with_bytes, pick, pick_to_restore, pick_with_bytes
from nbguard.recover.when import LastGood, Named, Nth, Until
from tests.helpers import notebook_bytes
from tests.library import START, MemoryLibrary

PATH = "/work/eda.ipynb"


def history(*statuses: Status) -> list[Version]:
    """Versions of one notebook, given oldest first, returned newest first, a minute apart."""
    library = MemoryLibrary()
    for number, status in enumerate(statuses):
        if status is Status.DELETED:
            library.delete(PATH)
        else:
            library.add(PATH, notebook_bytes(f"x = {number}"), status=status)
    return list(reversed(library.versions))


OK, EMPTIED, DAMAGED, DELETED = Status.OK, Status.EMPTIED, Status.DAMAGED, Status.DELETED


def test_rows_count_from_the_newest() -> None:
    versions = history(OK, OK, OK)
    assert [pick(versions, Nth(row), UTC) for row in range(3)] == versions
    with pytest.raises(NothingMatched, match="no ~3: 3 versions") as caught:
        pick(versions, Nth(3), UTC)
    assert "~2" in caught.value.hint


def test_a_row_of_one_version_is_told_in_the_singular() -> None:
    with pytest.raises(NothingMatched, match=r"1 version$"):
        pick(history(OK), Nth(1), UTC)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([OK, EMPTIED, EMPTIED], 2),
        ([OK, OK, DAMAGED], 1),
        ([OK, DELETED], 1),
        ([DAMAGED, OK], 0),
    ],
)
def test_last_good_is_the_newest_ok(statuses: list[Status], expected: int) -> None:
    versions = history(*statuses)
    assert pick(versions, LastGood(), UTC) is versions[expected]


def test_an_accepted_emptied_version_is_good() -> None:
    library = MemoryLibrary()
    library.add(PATH, notebook_bytes("a", "b"))
    library.decide(DraftKind.ACCEPT, library.add(PATH, notebook_bytes(), status=EMPTIED))
    versions = list(reversed(library.versions))
    assert pick(versions, LastGood(), UTC) is versions[0]


def test_without_an_ok_version_it_says_what_there_is() -> None:
    with pytest.raises(NothingMatched, match="no version of this notebook is ok") as caught:
        pick(history(DAMAGED, DAMAGED), LastGood(), UTC)
    assert "2 versions" in caught.value.hint
    assert "~0" in caught.value.hint


def test_a_time_means_the_newest_not_later() -> None:
    versions = history(OK, OK, OK)
    middle = versions[1].saved_at
    assert pick(versions, Until(middle), UTC) is versions[1]
    assert pick(versions, Until(middle + timedelta(seconds=59)), UTC) is versions[1]
    assert pick(versions, Until(middle - timedelta(microseconds=1)), UTC) is versions[2]


def test_before_the_first_version_it_says_from_when_there_is_something() -> None:
    with pytest.raises(NothingMatched, match="nothing was kept of this notebook by") as caught:
        pick(history(OK, OK), Until(START), UTC)
    assert "2 versions, from 2026-11-20 12:01:00 +00:00 to 2026-11-20 12:02:00 +00:00" in caught.value.hint


def test_order_is_the_log_not_the_clock() -> None:
    library = MemoryLibrary()
    library.add(PATH, notebook_bytes("first"), at=START)
    set_back = library.add(PATH, notebook_bytes("second"), at=START - timedelta(hours=1))
    versions = list(reversed(library.versions))
    assert pick(versions, Until(START), UTC) == set_back


def test_the_beginning_of_an_id() -> None:
    versions = history(OK, OK)
    assert pick(versions, Named(versions[1].id[:6]), UTC) is versions[1]
    with pytest.raises(NothingMatched, match="begins with ffffff"):
        pick(versions, Named("ffffff"), UTC)


def test_an_ambiguous_beginning_lists_the_candidates() -> None:
    twins = [
        Version(
            **{
                **{name: getattr(version, name) for name in version.__dataclass_fields__},
                "id": "aaaaaa" + version.id,
            }
        )
        for version in history(OK, OK)
    ]
    with pytest.raises(Ambiguous, match="2 versions begin with aaaaaa") as caught:
        pick(twins, Named("aaaaaa"), UTC)
    assert all(version.id[:8] in caught.value.hint for version in twins)


def test_what_is_no_id_may_still_be_a_day() -> None:
    versions = history(OK, OK)
    assert pick(versions, Named("20261120", Until(versions[0].saved_at)), UTC) is versions[0]


def test_a_tombstone_is_never_given_but_what_was_before_it_is_named() -> None:
    versions = history(OK, DELETED)
    assert pick(versions, Nth(0), UTC) is versions[0]
    with pytest.raises(NothingMatched, match="was deleted then") as caught:
        pick_with_bytes(versions, Nth(0), UTC)
    assert f"~1: {versions[1].id[:8]}" in caught.value.hint
    assert newest_with_bytes(versions) is versions[1]


def test_restore_passes_over_what_is_on_disk_already() -> None:
    versions = history(OK, OK, EMPTIED)
    assert pick_to_restore(versions, versions[0].sha256, UTC) is versions[1]
    assert pick_to_restore(versions, versions[1].sha256, UTC) is versions[2]
    assert pick_to_restore(versions, None, UTC) is versions[1]
    with pytest.raises(NothingMatched, match="on disk already"):
        pick_to_restore(versions[2:], versions[2].sha256, UTC)


def test_only_an_emptied_present_state_can_be_accepted() -> None:
    versions = history(OK, EMPTIED)
    assert emptied_now(versions, UTC) is versions[0]
    with pytest.raises(NothingMatched, match="not marked as emptied"):
        emptied_now(history(EMPTIED, OK), UTC)


@given(st.lists(st.sampled_from([OK, EMPTIED, DAMAGED, DELETED]), min_size=1, max_size=8), st.integers(0, 10))
def test_every_question_is_answered_or_refused_with_words(statuses: list[Status], minutes: int) -> None:
    versions = history(*statuses)
    for when in (Nth(minutes), LastGood(), Until(START + timedelta(minutes=minutes)), Named(versions[0].id[:7])):
        try:
            found = pick_with_bytes(versions, when, UTC)
        except NothingMatched as error:
            assert error.message
        else:
            assert found in versions
            assert found.status is not DELETED
