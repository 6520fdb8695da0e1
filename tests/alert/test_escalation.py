"""Who is told when: tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alert.escalation import Candidate, moment_of, reach, rounds_due
from nbguard.alerting import ChannelState
from nbguard.settings import Alerts

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
LIVE, DUE, UNPROVEN, OVERDUE, DEAD = (
    ChannelState.LIVE,
    ChannelState.DUE,
    ChannelState.UNPROVEN,
    ChannelState.OVERDUE,
    ChannelState.DEAD,
)


def way(name: str, state: ChannelState, human: str = "", transport: str = "", *, failing: bool = False) -> Candidate:
    return Candidate(name=name, human=human or name, transport=transport or name, state=state, is_failing=failing)


ALL_LIVE = (way("mail", LIVE, "ada"), way("push", LIVE, "ada"), way("chat", LIVE, "bob"))

TABLE = [
    ("at once: the first", ALL_LIVE, 0.0, ("mail",)),
    ("until half an hour", ALL_LIVE, 29 * MINUTE, ("mail",)),
    ("then the next, of another human", ALL_LIVE, 30 * MINUTE, ("mail", "chat")),
    ("after two hours everybody", ALL_LIVE, 2 * HOUR, ("mail", "push", "chat")),
    ("one that is due is relied on", (way("mail", DUE), way("chat", LIVE)), 0.0, ("mail",)),
    ("unproven ones come after those that are", (way("mail", UNPROVEN), way("chat", LIVE)), 0.0, ("chat",)),
    (
        "where nobody is proven, everybody is told",
        (way("mail", UNPROVEN), way("chat", UNPROVEN)),
        0.0,
        ("mail", "chat"),
    ),
    ("overdue: told, and the next as well", (way("mail", OVERDUE), way("chat", LIVE)), 0.0, ("mail", "chat")),
    ("dead: told, and the next as well", (way("mail", DEAD), way("chat", LIVE)), 0.0, ("mail", "chat")),
    ("failing: the next at once", (way("mail", LIVE, failing=True), way("chat", LIVE)), 0.0, ("mail", "chat")),
    (
        "all of the proven fail: the unproven as well",
        (way("mail", LIVE, failing=True), way("chat", UNPROVEN)),
        0.0,
        ("mail", "chat"),
    ),
    ("overdue in its turn", (way("mail", LIVE), way("chat", OVERDUE), way("push", LIVE)), 0.0, ("mail",)),
    (
        "the next that can be relied on",
        (way("mail", LIVE), way("chat", OVERDUE), way("push", LIVE)),
        30 * MINUTE,
        ("mail", "chat", "push"),
    ),
    (
        "the same human by another transport before the same transport",
        (way("mail", LIVE, "ada", "mail"), way("mail-2", LIVE, "ada", "mail"), way("push", LIVE, "ada", "ntfy")),
        30 * MINUTE,
        ("mail", "push"),
    ),
    ("no channel", (), 3 * HOUR, ()),
]


@pytest.mark.parametrize(("candidates", "elapsed", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_reach(candidates: tuple[Candidate, ...], elapsed: float, told: tuple[str, ...]) -> None:
    assert reach(candidates, elapsed, Alerts()) == told


def test_that_one_does_not_answer_is_told_to_all_others_at_once() -> None:
    assert reach(ALL_LIVE, 0.0, Alerts(), about="mail") == ("push", "chat")


@given(
    st.lists(
        st.builds(
            way,
            st.uuids().map(str),
            st.sampled_from(list(ChannelState)),
            st.sampled_from(["ada", "bob"]),
            st.sampled_from(["mail", "chat"]),
            failing=st.booleans(),
        ),
        max_size=6,
    ),
    st.floats(0, 10 * DAY),
    st.floats(0, 10 * DAY),
)
def test_reach_only_grows_and_holds_somebody_relied_on_if_there_is_one(
    candidates: list[Candidate], first: float, second: float
) -> None:
    before, after = (reach(candidates, each, Alerts()) for each in sorted((first, second)))
    assert set(before) <= set(after)
    assert bool(before) == bool(candidates)
    if any(each.is_relied_on for each in candidates):
        assert any(each.is_relied_on and each.name in before for each in candidates)
    else:
        assert len(before) == len(candidates)


@pytest.mark.parametrize(
    ("elapsed", "rounds"),
    [
        (0, 1),
        (29 * MINUTE, 1),
        (30 * MINUTE, 2),
        (2 * HOUR, 3),
        (6 * HOUR, 4),
        (DAY, 5),
        (2 * DAY, 6),
        (100 * DAY, 104),
    ],
)
def test_rounds_by_default(elapsed: float, rounds: int) -> None:
    assert rounds_due(elapsed, Alerts().repeat_seconds) == rounds


@given(st.lists(st.floats(0, 10 * DAY), max_size=6).map(tuple), st.integers(0, 50))
def test_it_never_stops_whatever_is_configured(repeats: tuple[float, ...], number: int) -> None:
    moment = moment_of(number, repeats)
    assert rounds_due(moment + 1e-3, repeats) >= number
    assert rounds_due(moment + 30 * DAY, repeats) > rounds_due(moment, repeats)
