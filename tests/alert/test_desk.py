"""The desk: told once, passed on, repeated for ever, silenced by an answer, and told that it is over."""

from __future__ import annotations

import pytest

from nbguard.alerting import ChannelState, Message, Sent, Weight
from nbguard.settings import Channel
from tests.alert.town import DAY, HOUR, MINUTE, Town, swift_folder


def test_nothing_wrong_sends_only_the_roll_call(town: Town) -> None:
    town.live(HOUR)
    assert [each.message.kind for each in town.boxes.all()] == ["roll-call", "roll-call"]


def test_a_stall_is_told_at_once_and_once_to_the_first_channel(town: Town) -> None:
    town.prove()
    town.break_("daemon-down")
    town.live(29 * MINUTE)
    assert [each.message.kind for each in town.boxes.of("mail")] == ["incident"]
    assert town.boxes.of("chat") == []
    assert "daemon-down" in town.sees(town.boxes.of("mail")[0])
    assert "STALLED" in town.line


def test_what_nobody_acknowledges_goes_on_to_the_next_and_is_repeated_for_ever(town: Town) -> None:
    town.prove()
    began = town.clock.true
    town.break_("daemon-down")
    town.live(4 * DAY, every=5 * MINUTE)
    times = [(each.at - began) / HOUR for each in town.boxes.of("mail")]
    assert times == pytest.approx([0, 0.5, 2, 6, 24, 48, 72], abs=0.1)
    assert next((each.at - began) / HOUR for each in town.boxes.of("chat")) == pytest.approx(0.5, abs=0.1)


def test_an_answer_silences_that_cause_alone_and_for_a_week(town: Town) -> None:
    town.prove()
    town.break_("daemon-down")
    town.live(MINUTE)
    code = town.boxes.of("mail")[0].code
    assert code is not None
    answer = town.desk.answer(f" {code.lower()} ")
    assert answer.is_accepted
    assert [each.code for each in answer.incidents] == ["daemon-down"]
    assert town.line == ""
    town.boxes.boxes.clear()
    town.live(6 * DAY, every=10 * MINUTE)
    assert town.boxes.all() == []
    town.break_("no-space")
    town.live(MINUTE)
    assert "no-space" in town.sees(town.boxes.of("mail")[-1])
    assert "daemon-down" not in town.sees(town.boxes.of("mail")[-1])
    town.live(DAY, every=10 * MINUTE)
    assert any("daemon-down" in town.sees(each) for each in town.boxes.of("mail"))


def test_it_is_over_once_it_stayed_away_and_whoever_heard_is_told(town: Town) -> None:
    town.prove()
    town.break_("daemon-down")
    town.live(HOUR)
    town.mend("daemon-down")
    town.live(9 * MINUTE)
    assert town.boxes.all("resolved") == []
    town.live(3 * MINUTE)
    assert [len(town.boxes.of(name, "resolved")) for name in ("mail", "chat")] == [1, 1]
    assert "it lasted 1 h" in town.sees(town.boxes.of("mail", "resolved")[0])
    town.live(DAY, every=10 * MINUTE)
    assert len(town.boxes.all("resolved")) == 2


def test_a_warning_that_lasts_less_than_two_minutes_is_not_told(town: Town) -> None:
    town.prove()
    town.break_("watch-limit", weight=Weight.WARNING)
    town.live(90, every=30)
    town.mend("watch-limit")
    town.live(HOUR)
    assert town.boxes.all() == []
    town.break_("watch-limit", weight=Weight.WARNING)
    town.live(4 * MINUTE, every=30)
    assert len(town.boxes.of("mail")) == 1


def test_getting_worse_is_told_at_once_even_if_acknowledged(town: Town) -> None:
    town.prove()
    town.break_("not-kept", "/n.ipynb", Weight.GAP)
    town.live(MINUTE)
    code = town.boxes.of("mail")[0].code
    assert code is not None and town.desk.answer(code).is_accepted
    town.break_("not-kept", "/n.ipynb", Weight.STALL)
    town.live(MINUTE)
    assert len(town.boxes.of("mail", "incident")) == 2


def test_five_hundred_subjects_are_one_message(town: Town) -> None:
    town.prove()
    for number in range(800):
        town.break_("not-kept", f"/work/{number}.ipynb", Weight.GAP)
    town.live(20 * MINUTE)
    assert len(town.boxes.of("mail")) == 1
    assert "501 times" in town.sees(town.boxes.of("mail")[0])


def test_a_channel_that_fails_hands_over_at_once(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail"}
    town.break_("daemon-down")
    town.live(MINUTE)
    assert len(town.boxes.of("chat")) == 1
    town.boxes.failing = set()
    town.live(5 * MINUTE)
    assert len(town.boxes.of("mail")) == 1, "what it did not take is tried again"


def test_channels_stand_as_their_humans_answered(town: Town) -> None:
    town.prove("chat")
    states = {report.name: report.state for report in town.desk.reports()}
    assert states == {"mail": ChannelState.UNPROVEN, "chat": ChannelState.LIVE}
    assert [each.problem.code for each in town.desk.problems()] == []


def test_a_step_ends_also_when_every_channel_hangs() -> None:
    channels = tuple(Channel(name=f"hang-{number}", human="ada", url=f"json://x/{number}") for number in range(8))
    with swift_folder() as folder:
        town = Town(folder, channels=channels)
        town.prove()

        def hang(channel: Channel, message: Message) -> Sent:
            town.clock.true += 20
            return Sent(is_sent=False, answer="no answer within 20 s")

        town.boxes.send = hang  # type: ignore[method-assign]
        town.break_("daemon-down")
        town.look()
        before = town.clock.true
        assert town.desk.step().failed == 3
        assert town.clock.true - before <= 65
        for _ in range(8):
            town.desk.step()
        assert all(report.trouble for report in town.desk.reports()), "the others are tried in the next steps"
