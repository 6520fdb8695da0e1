"""When a mirror is tried: a table, and days offline in simulated time."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.mirror import backoff
from nbguard.mirror.standing import MirrorState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("state", "is_behind", "wait"),
    [
        (MirrorState(), True, 0.0),
        (MirrorState(), False, 0.0),
        (MirrorState(tried_at=_ago(10), beat_at=_ago(10)), False, 590.0),
        (MirrorState(tried_at=_ago(10), beat_at=_ago(10)), True, 0.0),
        (MirrorState(tried_at=_ago(700), beat_at=_ago(700)), False, 0.0),
        (MirrorState(tried_at=_ago(10), failures=1, network="n"), True, 20.0),
        (MirrorState(tried_at=_ago(10), failures=1, network="other"), True, 0.0),
        (MirrorState(tried_at=_ago(100), failures=4, network="n"), True, 140.0),
        (MirrorState(tried_at=_ago(100), failures=50, network="n"), True, 3_500.0),
        (MirrorState(tried_at=_ago(-5), failures=50, network="n"), True, 0.0),  # the clock was set back
        (MirrorState(tried_at=_ago(10), beat_at=_ago(-10_000)), False, 0.0),
    ],
)
def test_when_it_is_due(state: MirrorState, is_behind: bool, wait: float) -> None:
    assert backoff.due_in_seconds(state, now=NOW, is_behind=is_behind, network="n") == wait


def test_three_days_offline_cost_few_tries_and_the_first_hour_back_brings_it() -> None:
    state, now, tries = MirrorState(), NOW, []
    while now < NOW + timedelta(days=3):
        wait = backoff.due_in_seconds(state, now=now, is_behind=True, network="none")
        if wait <= 0:
            tries.append(now)
            state = backoff.after_failure(state, now=now, trouble="no route", network="none")
        now += timedelta(seconds=max(wait, 1.0))
    assert 60 < len(tries) < 90
    pauses = [(late - early).total_seconds() for early, late in itertools.pairwise(tries)]
    assert pauses == sorted(pauses) and pauses[0] == 30 and pauses[-1] == 3_600
    assert backoff.due_in_seconds(state, now=now, is_behind=True, network="none") <= 3_600
    assert backoff.due_in_seconds(state, now=now, is_behind=True, network="wifi") == 0.0
    again = backoff.after_success(state, now=now)
    assert (again.failures, again.trouble, again.behind_since, again.step_commits) == (0, "", None, 256)


@given(
    st.integers(0, 10_000), st.booleans(), st.integers(-10_000_000, 10_000_000), st.integers(-10_000_000, 10_000_000)
)
def test_whatever_the_clock_did_the_next_try_is_within_an_hour(
    failures: int, behind: bool, tried: int, beat: int
) -> None:
    state = MirrorState(tried_at=_ago(tried), beat_at=_ago(beat), failures=failures, network="n")
    assert 0.0 <= backoff.due_in_seconds(state, now=NOW, is_behind=behind, network="n") <= 3_600.0


def test_steps_shrink_where_pushes_fail_and_grow_where_they_are_quick() -> None:
    state = MirrorState()
    for _ in range(10):
        state = backoff.after_failure(state, now=NOW, trouble="", network="")
    assert state.step_commits == 1
    assert backoff.next_step(1, 1.0) == 2 and backoff.next_step(1, 100.0) == 1 and backoff.next_step(256, 60.0) == 128
    assert backoff.next_step(100_000, 1.0) == backoff.MOST_STEP


def test_late_is_counted_from_what_it_first_lacked() -> None:
    state = MirrorState(behind_since=_ago(7_201))
    assert backoff.is_late(state, now=NOW, late_seconds=7_200)
    assert not backoff.is_late(state, now=_ago(2), late_seconds=7_200)
    assert not backoff.is_late(MirrorState(tried_at=_ago(1e6), failures=9), now=NOW, late_seconds=7_200)
