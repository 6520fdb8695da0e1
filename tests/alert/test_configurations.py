"""Two processes that know different configurations, and those that know none: no channel loses its standing by it."""

from __future__ import annotations

from nbguard.alerting import ChannelState
from tests.alert.town import ADA, BOB, EVE, HOUR, MINUTE, Town, changed


def states(town: Town) -> dict[str, str]:
    return {report.name: str(report.state) for report in town.desk.reports()}


def test_a_daemon_that_knows_the_channels_of_yesterday_asks_nobody_again(town: Town) -> None:
    town.prove()
    daemon = town.desk
    town.restart(channels=(ADA, changed(BOB, "json://example.org/elsewhere"), EVE))
    for _ in range(60):
        town.clock.true += MINUTE
        daemon.step()
        town.desk.step()
    assert states(town) == {"mail": "live", "chat": "unproven", "push": "unproven"}
    assert [len(town.boxes.of(name)) for name in ("mail", "chat", "push")] == [0, 1, 1], "asked once, by who knows them"
    town.break_("daemon-down")
    town.look()
    daemon.step()
    assert len(town.boxes.of("mail", "incident")) == 1, "and it still tells through what has not changed"


def test_a_configuration_that_cannot_be_read_changes_nothing_about_channels(town: Town) -> None:
    town.prove()
    everything = town.channels
    town.is_current = False
    town.restart(channels=())
    town.break_("config-invalid")
    town.live(HOUR)
    assert states(town) == {"mail": "live", "chat": "live"}
    town.is_current = True
    town.restart(channels=everything)
    town.live(MINUTE)
    assert len(town.boxes.of("mail", "incident", "reminder")) == 1, "told by the next that knows the channels"
    assert states(town) == {"mail": "live", "chat": "live"}


def test_a_message_can_be_answered_without_a_configuration(town: Town) -> None:
    town.break_("home-wiped")
    town.live(MINUTE)
    code = town.boxes.of("mail", "incident")[0].code or ""
    town.is_current = False
    town.restart(channels=())
    assert town.desk.answer(code).is_accepted
    assert next(report.state for report in town.desk.reports()) is ChannelState.LIVE


def test_a_channel_that_was_taken_out_is_gone_and_what_it_owed_goes_to_the_others(town: Town) -> None:
    town.prove()
    town.boxes.failing = {"mail"}
    town.break_("daemon-down")
    town.live(MINUTE)
    town.restart(channels=(BOB,))
    town.live(MINUTE)
    assert states(town) == {"chat": "live"}
    assert len(town.boxes.of("chat", "incident")) == 1
