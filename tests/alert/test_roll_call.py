"""The roll call: who answers is live, who does not is missed by all others, and nobody is asked twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nbguard.alert.roll_call import SharedCall, channel_state, matching
from nbguard.alert.state import Instant, Way
from nbguard.alert.state_json import decode
from nbguard.alerting import ChannelState
from nbguard.settings import RollCall
from tests.alert.town import ADA, BEGIN, BOB, DAY, HOUR, MINUTE, Town, changed, swift_folder

WAY = Way(name="mail", human="ada", digest="1")
ANSWERED = replace(WAY, answered_seconds=0.0, answered_at=BEGIN)
CALLED = replace(ANSWERED, called_seconds=90 * DAY)
REMINDED = replace(CALLED, reminded=1, reminded_seconds=93 * DAY)

TABLE = [
    ("nobody ever answered", WAY, 400 * DAY, ChannelState.UNPROVEN),
    ("answered lately", ANSWERED, 89 * DAY, ChannelState.LIVE),
    ("not asked yet, by fault of ours", ANSWERED, 200 * DAY, ChannelState.LIVE),
    ("asked", CALLED, 91 * DAY, ChannelState.DUE),
    ("asked and reminded", REMINDED, 96 * DAY, ChannelState.DUE),
    ("no answer in a week", REMINDED, 97 * DAY, ChannelState.OVERDUE),
    (
        "switched off meanwhile: reminded just now",
        replace(REMINDED, reminded_seconds=110 * DAY),
        110 * DAY,
        ChannelState.DUE,
    ),
    ("no answer in four weeks", REMINDED, 118 * DAY, ChannelState.DEAD),
    ("refused", replace(ANSWERED, refused=True), DAY, ChannelState.DEAD),
    ("refused before anybody answered", replace(WAY, refused=True), DAY, ChannelState.DEAD),
]


@pytest.mark.parametrize(("way", "seconds", "state"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_states(way: Way, seconds: float, state: ChannelState) -> None:
    assert channel_state(way, Instant(seconds, BEGIN), RollCall()) is state


def state_of(town: Town, name: str) -> ChannelState:
    return next(report.state for report in town.desk.reports() if report.name == name)


def test_a_human_who_left_is_missed_by_all_others(town: Town) -> None:
    town.prove()
    town.live(90 * DAY + HOUR, every=6 * HOUR)
    assert {state_of(town, "mail"), state_of(town, "chat")} == {ChannelState.DUE}
    assert town.desk.answer(town.boxes.of("chat")[-1].code or "").is_accepted
    town.live(6 * DAY, every=6 * HOUR)
    assert state_of(town, "mail") is ChannelState.DUE
    assert len(town.boxes.of("mail", "roll-call")) == 2, "asked, and reminded after three days"
    assert town.boxes.of("chat", "incident") == []
    town.live(DAY, every=6 * HOUR)
    assert state_of(town, "mail") is ChannelState.OVERDUE
    town.live(5 * MINUTE)
    told = town.boxes.of("chat", "incident")
    assert len(told) == 1 and "recipient-overdue" in town.sees(told[0]) and "have they left" in town.sees(told[0])
    assert town.boxes.of("mail", "incident") == [], "not to the one it is about"
    assert "ada has not answered" in town.line
    town.live(22 * DAY, every=6 * HOUR)
    assert state_of(town, "mail") is ChannelState.DEAD


def test_an_answer_of_the_missed_one_is_told_to_those_who_heard(town: Town) -> None:
    town.prove()
    town.live(90 * DAY + HOUR, every=6 * HOUR)
    assert town.desk.answer(town.boxes.of("chat")[-1].code or "").is_accepted
    town.live(8 * DAY, every=6 * HOUR)
    assert town.desk.answer(town.boxes.of("mail")[-1].code or "").is_accepted
    town.live(HOUR)
    assert state_of(town, "mail") is ChannelState.LIVE
    assert len(town.boxes.of("chat", "resolved")) == 1


def test_an_answered_incident_is_an_answer_to_the_roll_call(town: Town) -> None:
    town.prove()
    town.live(89 * DAY, every=12 * HOUR)
    town.break_("daemon-down")
    town.live(MINUTE)
    assert town.desk.answer(town.boxes.of("mail", "incident")[0].code or "").is_accepted
    town.mend("daemon-down")
    town.live(10 * DAY, every=12 * HOUR)
    assert len(town.boxes.of("mail", "roll-call")) == 0
    assert len(town.boxes.of("chat", "roll-call")) > 0


def test_a_channel_that_leads_elsewhere_is_unproven_and_asked_again(town: Town) -> None:
    town.prove()
    town.restart(channels=(changed(ADA, "mailto://ada@example.com"), BOB))
    town.live(MINUTE)
    assert state_of(town, "mail") is ChannelState.UNPROVEN
    assert state_of(town, "chat") is ChannelState.LIVE
    assert len(town.boxes.of("mail", "roll-call")) == 1


def test_a_hard_refusal_counts_at_once_and_until_something_gets_through(town: Town) -> None:
    town.prove()
    town.boxes.refusing = {"mail"}
    town.break_("daemon-down")
    town.live(4 * MINUTE)
    assert state_of(town, "mail") is ChannelState.DEAD
    told = "".join(town.sees(each) for each in town.boxes.of("chat"))
    assert "daemon-down" in told and "recipient-overdue" in told and "550 no such user" in told
    town.boxes.refusing = set()
    town.live(7 * HOUR, every=10 * MINUTE)
    assert state_of(town, "mail") is ChannelState.LIVE


def test_what_nobody_answers_is_asked_for_ever(town: Town) -> None:
    town.live(200 * DAY, every=12 * HOUR)
    asked = town.boxes.of("mail", "roll-call")
    assert 12 <= len(asked) <= 20
    assert town.desk.answer(asked[-1].code or "").is_accepted, "the newest code can be answered"


def test_two_weeks_switched_off_are_no_departure(town: Town) -> None:
    town.prove()
    town.live(90 * DAY + HOUR, every=6 * HOUR)
    town.clock.true += 14 * DAY
    town.reboot()
    town.live(12 * HOUR, every=HOUR)
    assert state_of(town, "mail") is ChannelState.DUE
    town.live(16 * HOUR, every=HOUR)
    assert state_of(town, "mail") is ChannelState.OVERDUE


def test_one_channel_is_advised_against_and_none_proven_is_a_problem() -> None:
    with swift_folder() as folder:
        town = Town(folder, channels=(ADA,))
        town.desk.step()
        assert [each.problem.code for each in town.desk.problems()] == ["recipient-unproven", "single-channel"]
        town.prove()
        assert [each.problem.code for each in town.desk.problems()] == ["single-channel"]
        town.restart(channels=())
        assert [each.problem.code for each in town.desk.problems()] == ["no-channel"]


def test_that_no_channel_takes_anything_is_a_problem(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail", "chat"}
    town.break_("daemon-down")
    town.live(2 * MINUTE)
    assert [each.problem.code for each in town.desk.problems()] == ["alert-failed"]
    assert {report.waiting for report in town.desk.reports()} == {1}
    assert "connection refused" in town.desk.reports()[0].trouble
    town.boxes.failing = set()
    town.live(10 * MINUTE)
    assert town.desk.problems() == ()


# -- machines that share a mirror --------------------------------------------------------------------------------------


def two_machines(first: Town, second: Town, seconds: float) -> None:
    """They live side by side, and each knows what the other exports."""
    end = first.clock.true + seconds
    while first.clock.true < end:
        for town in (first, second):
            town.live(HOUR, every=HOUR)
        exported = first.desk.export(), second.desk.export()
        first.desk.merge(exported[1])
        second.desk.merge(exported[0])


def patience(town: Town) -> float:
    """Its part of a day, which is its own by chance."""
    return int(decode(town.path.read_bytes()).salt[:4], 16) / 0x10000


def test_one_message_for_a_human_with_two_machines_and_one_answer_counts_for_both() -> None:
    with swift_folder() as folder:
        folder.mkdir()
        towns = [Town(folder / str(number), channels=(ADA,)) for number in range(8)]
        for town in towns:
            town.prove()
        first, second = min(towns, key=patience), max(towns, key=patience)
        two_machines(first, second, 91 * DAY + 12 * HOUR)
        assert [len(town.boxes.of("mail", "roll-call")) for town in (first, second)] == [1, 0]
        assert first.desk.answer(first.boxes.of("mail")[0].code or "").is_accepted
        two_machines(first, second, 30 * DAY)
        assert state_of(first, "mail") is state_of(second, "mail") is ChannelState.LIVE
        assert len(first.boxes.all()) + len(second.boxes.all()) == 1


def test_an_answer_elsewhere_never_proves_a_channel_that_was_not_proven_here(town: Town) -> None:
    town.desk.step()
    elsewhere = SharedCall(
        human="ada",
        channel="mail",
        state=ChannelState.LIVE,
        asked_at=BEGIN,
        answered_at=BEGIN + timedelta(seconds=1),
    )
    town.clock.true += HOUR
    town.desk.merge((elsewhere,))
    assert state_of(town, "mail") is ChannelState.UNPROVEN


def test_what_is_exported_has_no_address_and_codes_only_as_hashes(town: Town) -> None:
    town.desk.step()
    code = town.boxes.of("mail")[0].code or ""
    exported = town.desk.export()
    assert [(each.human, each.channel, len(each.codes)) for each in exported] == [
        ("ada", "mail", 1),
        ("bob", "chat", 1),
    ]
    assert "example.org" not in repr(exported) and code not in repr(exported)
    found = matching(exported, code.lower(), town.clock.now())
    assert found is not None and found[0].channel == "mail"
    assert matching(exported, "00000000", town.clock.now()) is None
    assert matching(exported, code, town.clock.now() + timedelta(days=15)) is None
