"""Mail that a server accepts and nobody reads: by rule, the next human is told. Real mail, simulated time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from nbguard.alert.sending import open_sender
from nbguard.alerting import ChannelState
from nbguard.settings import Channel
from tests.alert.servers import Mailbox, smtp
from tests.alert.town import DAY, HOUR, MINUTE, Town, swift_folder


class Street:
    """Two humans with a mail server each, and a town that writes to them."""

    def __init__(self, town: Town, ada: Mailbox, bob: Mailbox) -> None:
        self.town, self.ada, self.bob = town, ada, bob

    def answer(self, mailbox: Mailbox) -> None:
        found = re.findall(r"nbguard ack (\S{9})", mailbox.mails[-1].get_content())
        assert self.town.desk.answer(found[-1]).is_accepted

    def subjects(self, mailbox: Mailbox) -> list[str]:
        return [str(mail["Subject"]) for mail in mailbox.mails]


@pytest.fixture
def street() -> Iterator[Street]:
    with swift_folder() as folder, smtp(Mailbox()) as ada, smtp(Mailbox()) as bob:
        channels = tuple(
            Channel(
                name=f"mail-{human}",
                human=human,
                url=f"mailto://127.0.0.1:{box.port}/?from=nbguard@example.org&to={human}@example.org",
            )
            for human, box in (("ada", ada), ("bob", bob))
        )
        town = Town(folder, channels=channels)
        town.sender = open_sender(channels, timeout_seconds=5.0, environment={})
        town.restart()
        town.desk.step()
        street = Street(town, ada, bob)
        street.answer(ada)
        street.answer(bob)
        ada.mails.clear()
        bob.mails.clear()
        yield street


def test_mail_that_is_accepted_and_not_read_makes_the_fallback_fire_after_half_an_hour(street: Street) -> None:
    street.town.break_("daemon-down")
    street.town.live(29 * MINUTE)
    assert len(street.ada.mails) == 1, "accepted by her server, and never read"
    assert street.bob.mails == []
    street.town.live(2 * MINUTE)
    assert len(street.bob.mails) == 1
    assert "STALLED" in street.subjects(street.bob)[0]
    street.answer(street.bob)
    street.town.live(2 * DAY, every=10 * MINUTE)
    assert (len(street.ada.mails), len(street.bob.mails)) == (2, 1), "somebody knows: it is quiet"
    street.town.mend("daemon-down")
    street.town.live(HOUR)
    assert ["over" in street.subjects(box)[-1] for box in (street.ada, street.bob)] == [True, True]


def test_a_reader_who_left_is_found_by_roll_call_before_anything_happens(street: Street) -> None:
    street.town.live(90 * DAY + HOUR, every=12 * HOUR)
    street.answer(street.bob)
    street.town.live(7 * DAY + HOUR, every=HOUR)
    states = {report.name: report.state for report in street.town.desk.reports()}
    assert states == {"mail-ada": ChannelState.OVERDUE, "mail-bob": ChannelState.LIVE}
    assert len(street.ada.mails) >= 2, "her server took the question and the reminder"
    assert "recipient-overdue" in street.subjects(street.bob)[-1]
    street.bob.mails.clear()
    street.town.break_("daemon-down")
    street.town.live(MINUTE)
    assert len(street.bob.mails) == 1, "who does not answer is not relied on: bob hears at once"


def test_a_refused_recipient_counts_at_once(street: Street) -> None:
    street.ada.rcpt = "550 5.1.1 no such user"
    street.town.break_("daemon-down")
    street.town.live(MINUTE)
    assert street.ada.mails == []
    assert street.ada.recipients[-1] == "ada@example.org", "it was tried"
    assert len(street.bob.mails) == 1
    report = street.town.desk.reports()[0]
    assert report.state is ChannelState.DEAD
    assert "550" in report.trouble
