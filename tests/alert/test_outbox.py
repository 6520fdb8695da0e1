"""The outbox: no flood, nothing lost, and nobody hears of what was nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.alert.incidents import SHOWN_ONLY
from nbguard.alerting import Observation, Observer, Weight
from tests.alert.town import ADA, BOB, DAY, EVE, HOUR, MINUTE, Town, swift_folder


def test_a_week_without_a_network_ends_in_one_summary_for_each_channel(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail", "chat"}
    town.break_("daemon-down")
    town.live(3 * DAY, every=30 * MINUTE)
    town.break_("no-space")
    town.break_("not-kept", "/a.ipynb", Weight.GAP)
    town.live(4 * DAY, every=30 * MINUTE)
    assert town.boxes.all() == []
    assert town.boxes.attempts < 2 * 7 * 24 + 50, "later and later, once an hour at last"
    town.boxes.failing = set()
    town.live(70 * MINUTE, every=10 * MINUTE)
    for name in ("mail", "chat"):
        assert len(town.boxes.of(name)) == 1
        told = town.sees(town.boxes.of(name)[0])
        assert all(code in told for code in ("daemon-down", "no-space", "not-kept"))


def test_what_came_and_went_while_nobody_could_be_reached_is_told_afterwards(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail", "chat"}
    town.break_("daemon-down")
    town.live(5 * HOUR, every=5 * MINUTE)
    town.mend("daemon-down")
    town.live(HOUR, every=5 * MINUTE)
    town.boxes.failing = set()
    town.live(70 * MINUTE, every=5 * MINUTE)
    assert [each.message.kind for each in town.boxes.of("mail")] == ["resolved"]
    assert "it lasted 5 h" in town.sees(town.boxes.of("mail")[0])


def test_a_failure_of_minutes_does_not_wake_everybody_afterwards(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail", "chat"}
    town.break_("daemon-down")
    town.live(MINUTE)
    town.boxes.failing = {"chat"}
    town.live(3 * MINUTE)
    town.boxes.failing = set()
    town.live(20 * MINUTE)
    assert len(town.boxes.of("mail")) == 1
    assert town.boxes.of("chat") == [], "the first has it by now"


def test_what_comes_in_drops_is_gathered(town: Town) -> None:
    town.prove()
    for number in range(60):
        town.break_("not-kept", f"/{number:02}.ipynb", Weight.GAP)
        town.live(30, every=30)
    assert len(town.boxes.of("mail")) <= 7
    town.live(10 * MINUTE)
    told = "".join(town.sees(each) for each in town.boxes.of("mail"))
    assert "59.ipynb" in told or "and " in told
    before = len(town.boxes.of("mail"))
    town.live(5 * DAY, every=30 * MINUTE)
    assert len(town.boxes.of("mail")) - before <= 9, "and reminded of together"


def test_what_flaps_is_one_incident_and_told_less_and_less(town: Town) -> None:
    town.prove()
    for _ in range(40):
        town.break_("watcher-dead", weight=Weight.GAP)
        town.live(5 * MINUTE)
        town.mend("watcher-dead")
        town.live(5 * MINUTE)
    assert len(town.boxes.of("mail", "incident")) == 1
    assert town.boxes.all("resolved") == []
    town.boxes.boxes.clear()
    for _ in range(40):
        town.break_("watcher-dead", weight=Weight.GAP)
        town.live(5 * MINUTE)
        town.mend("watcher-dead")
        town.live(25 * MINUTE)
    assert len(town.boxes.of("mail", "resolved")) <= 3


def test_a_thousand_are_bounded_and_counted(town: Town) -> None:
    town.prove()
    for number in range(3_000):
        town.break_("not-kept", f"/work/{number}.ipynb", Weight.GAP)
    town.look()
    town.desk.step()
    assert len(town.desk.open_incidents()) == 501
    assert town.path.stat().st_size < 1_000_000
    assert len(town.sees(town.boxes.of("mail")[0])) < 4_000


def test_a_crash_between_sending_and_noting_it_sends_once_more(town: Town) -> None:
    town.prove()
    town.break_("daemon-down")
    town.look()
    send, before = town.boxes.send, list[bytes]()

    def noted(*arguments: object) -> object:
        before.append(town.path.read_bytes())
        return send(*arguments)  # type: ignore[arg-type]

    town.boxes.send = noted  # type: ignore[assignment,method-assign]
    town.desk.step()
    town.boxes.send = send  # type: ignore[method-assign]
    town.path.write_bytes(before[0])
    town.restart()
    assert len(town.boxes.of("mail")) == 1
    town.live(20, every=10)
    assert len(town.boxes.of("mail")) == 1, "somebody may just be sending it"
    town.live(5 * MINUTE)
    assert len(town.boxes.of("mail")) == 2
    assert town.desk.answer(town.boxes.of("mail")[0].code or "").is_accepted, "and both codes count"


def test_the_daemon_takes_back_only_what_it_said_itself(town: Town) -> None:
    town.prove()
    town.break_("no-space", "/disk", Weight.WARNING)
    town.look(Observer.FULL)
    for _ in range(50):
        town.clock.true += 30
        town.desk.observe(
            Observation(
                observer=Observer.DAEMON,
                at=town.clock.now(),
                boot=town.clock.boot,
                boottime_ns=town.clock.boottime_ns(),
                found=(),
                sees=frozenset({"no-space"}),
            )
        )
        town.desk.step()
    assert [each.code for each in town.desk.open_incidents()] == ["no-space"]
    assert [each.message.kind for each in town.boxes.of("mail")] == ["incident"]


def test_an_unproven_channel_hears_of_it_when_all_do() -> None:
    with swift_folder() as folder:
        town = Town(folder, channels=(ADA, BOB, EVE))
        town.prove("mail", "chat")
        town.break_("daemon-down")
        town.live(119 * MINUTE)
        assert town.boxes.of("push", "incident") == []
        town.live(2 * MINUTE)
        assert len(town.boxes.of("push", "incident")) == 1


def test_hostile_words_reach_nobodys_terminal(town: Town) -> None:
    town.prove()
    town.break_(
        "not-kept", "/a\x1b]0;owned\x07\n\udcff\ud800\x00\u202e.ipynb", Weight.GAP, "gone\r\nBcc: eve@example.org"
    )
    town.live(MINUTE)
    letter = town.boxes.of("mail")[0].message
    shown = letter.title + letter.body + town.line
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\n" not in letter.title + town.line
    assert not any(line.startswith("Bcc") for line in letter.body.splitlines())


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=900), st.sampled_from(list(Weight)[1:]))
def test_any_words_can_be_told(code: str, subject: str, message: str, weight: Weight) -> None:
    with swift_folder() as folder:
        town = Town(folder)
        town.prove()
        town.break_(code, subject, weight, message)
        town.live(3 * MINUTE)
        town.restart()
        town.mend(code, subject)
        town.live(15 * MINUTE)
        expected = [] if code in SHOWN_ONLY else ["incident", "resolved"]
        assert [each.message.kind for each in town.boxes.of("mail")] == expected
        for each in town.boxes.of("mail"):
            town.sees(each).encode()
