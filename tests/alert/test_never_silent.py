"""Whatever clocks, humans, networks and restarts do: a stall that no human has acknowledged is tried again each day."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.alert.escalation import rounds_due
from nbguard.alerting import ChannelState, Message, Sent, Weight
from nbguard.settings import Alerts, Channel
from tests.alert.town import ADA, BOB, DAY, EVE, HOUR, MINUTE, Town, changed, swift_folder

STEP = 30 * MINUTE
# A restart with the clock set back: of the time since the last writing (15 minutes, and the pauses between two
# looks) nothing is provable.
LOST_BY_A_RESTART = 900.0 + 2 * STEP

names = st.sampled_from(["mail", "chat", "push"])
hours = st.sampled_from([0.4, 1.0, 3.0, 11.0, 23.0, 30.0, 50.0])
jumps = st.sampled_from([-400 * DAY, -3 * DAY, -2 * HOUR, 2 * HOUR, DAY, 400 * DAY])
EVENTS = st.one_of(
    st.tuples(st.just("live"), hours),
    st.tuples(st.just("sleep"), hours),
    st.tuples(st.just("off"), hours, jumps),
    st.tuples(st.just("set-clock"), jumps),
    st.tuples(st.just("fail"), st.frozensets(names)),
    st.tuples(st.just("refuse"), st.frozensets(names)),
    st.tuples(st.just("answer"), names, st.booleans()),
    st.tuples(st.just("guess"), st.integers(1, 12)),
    st.tuples(st.just("change"), names),
    st.tuples(st.just("crash")),
    st.tuples(st.just("flicker"), st.sampled_from([1, 3])),
    st.tuples(st.just("other"), st.sampled_from(list(Weight))),
)


@dataclass
class Life:
    """A town in which protection has stopped, and a book of how long nothing was tried to say so."""

    town: Town
    silent_seconds: float = 0.0
    allowed_seconds: float = DAY + 2 * STEP
    acknowledged: bool = False
    answered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        boxes = self.town.boxes
        send = boxes.send

        def watched(channel: Channel, message: Message) -> Sent:
            if "daemon-down" in message.body or "daemon-down" in message.title:
                self.silent_seconds, self.allowed_seconds = 0.0, DAY + 2 * STEP
            return send(channel, message)

        boxes.send = watched  # type: ignore[method-assign]  # the same boxes, with somebody who looks on
        self.town.restart()
        self.town.break_("daemon-down")

    def live(self, seconds: float) -> None:
        town, end = self.town, self.town.clock.true + seconds
        while town.clock.true < end:
            town.clock.true += STEP
            self.silent_seconds += STEP
            town.look()
            town.desk.step()
            told = [each for each in town.desk.open_incidents() if each.code == "daemon-down"]
            assert told, "it is known"
            if all(each.acknowledged_seconds is not None for each in told):
                self.silent_seconds, self.allowed_seconds = 0.0, DAY + 2 * STEP
                assert self.acknowledged, "nobody answered, and yet it is silent"
            assert self.silent_seconds <= self.allowed_seconds, "a stall was known, and nothing was tried for a day"
            for report in town.desk.reports():
                if report.state in (ChannelState.LIVE, ChannelState.DUE):
                    assert report.name in self.answered, "only an answer proves a channel"

    def do(self, event: tuple[object, ...]) -> None:
        match event:
            case ("live", float(long)):
                self.live(long * HOUR)
            case ("sleep", float(long)):
                self.town.clock.true += long * HOUR
                self.allowed_seconds += STEP
                self.live(STEP)
            case ("off", float(long), float(jump)):
                self.town.clock.true += long * HOUR
                self.town.clock.wall_skew += jump
                self.allowed_seconds += LOST_BY_A_RESTART
                self.town.reboot()
                self.live(STEP)
            case ("set-clock", float(jump)):
                self.town.clock.wall_skew += jump
            case ("fail", frozenset() as which):
                self.town.boxes.failing = {str(each) for each in which}
            case ("refuse", frozenset() as which):
                self.town.boxes.refusing = {str(each) for each in which}
            case ("answer", str(name), bool(newest)):
                letters = [each for each in self.town.boxes.of(name) if each.code is not None]
                if letters:
                    letter = letters[-1 if newest else 0]
                    if self.town.desk.answer(letter.code or "").is_accepted:
                        self.answered.add(name)
                        self.acknowledged |= "daemon-down" in letter.message.body
            case ("guess", int(tries)):
                for number in range(tries):
                    assert not self.town.desk.answer(f"0000-000{number % 10}").is_accepted
            case ("change", str(name)):
                self.answered.discard(name)
                channels = tuple(
                    changed(each, each.url + "x") if each.name == name else each for each in self.town.channels
                )
                self.town.restart(channels=channels)
            case ("crash",):
                self.crash()
            case ("flicker", int(minutes)):
                self.town.mend("daemon-down")
                self.town.clock.true += minutes * MINUTE
                self.town.look()
                self.town.break_("daemon-down")
                self.town.look()
            case ("other", Weight() as weight):
                self.town.break_("mirror-late", "usb", weight)

    def crash(self) -> None:
        """Between sending and writing down that it was sent: the disk has what was claimed."""
        town, send, before = self.town, self.town.boxes.send, list[bytes]()

        def noted(channel: Channel, message: Message) -> Sent:
            before.append(town.path.read_bytes())
            return send(channel, message)

        town.boxes.send = noted  # type: ignore[method-assign]
        town.restart()
        self.live(STEP)
        town.boxes.send = send  # type: ignore[method-assign]
        if before:
            town.path.write_bytes(before[-1])
        town.restart()


def run(events: list[tuple[object, ...]]) -> None:
    with swift_folder() as folder:
        life = Life(Town(folder, channels=(ADA, BOB, EVE)))
        life.live(STEP)
        for event in events:
            life.do(event)
        life.live(26 * HOUR)


@settings(max_examples=8, deadline=None)
@given(st.lists(EVENTS, max_size=10))
def test_no_stall_is_known_for_a_day_while_nothing_is_tried(events: list[tuple[object, ...]]) -> None:
    run(events)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_no_stall_is_known_for_a_day_while_nothing_is_tried_in_long_lives(events: list[tuple[object, ...]]) -> None:
    run(events)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([1.0, 7.0, 29.0, 31.0, 130.0, 700.0, 1_500.0, 4_000.0]), min_size=1, max_size=40))
def test_while_sending_works_each_due_moment_is_told_once(pauses_minutes: list[float]) -> None:
    """However irregularly anybody looks: those moments that passed unseen are told as one."""
    with swift_folder() as folder:
        town = Town(folder, channels=(ADA,))
        town.prove()
        town.break_("daemon-down")
        town.look()
        town.desk.step()
        began, expected, seen = town.clock.true, 1, 1
        for pause in pauses_minutes:
            town.clock.true += pause * MINUTE
            town.look()
            town.desk.step()
            town.desk.step()
            due = rounds_due(town.clock.true - began, Alerts().repeat_seconds)
            expected, seen = expected + (due > seen), max(seen, due)
        assert len(town.boxes.of("mail", "incident", "reminder")) == expected


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 5, 31, 600, 1500]), st.sampled_from("abcd"), st.booleans()), max_size=30))
def test_while_sending_works_nothing_that_lasts_goes_untold_and_nothing_is_told_of_what_is_not(
    story: list[tuple[int, str, bool]],
) -> None:
    with swift_folder() as folder:
        town = Town(folder, channels=(ADA,))
        town.prove()
        for minutes, subject, is_wrong in story:
            if is_wrong:
                town.break_("not-kept", subject, Weight.GAP)
            else:
                town.wrong.pop(("not-kept", subject), None)
            town.live(minutes * MINUTE, every=min(minutes, 10) * MINUTE)
            told = "".join(town.sees(each) for each in town.boxes.of("mail"))
            ever = {each for _, each, was_wrong in story if was_wrong}
            assert all(f"{each}: it is so" not in told for each in set("abcd") - ever)
        town.live(20 * MINUTE)
        told = "".join(town.sees(each) for each in town.boxes.of("mail"))
        assert all(f"{subject}: it is so" in told for _, subject in town.wrong)
