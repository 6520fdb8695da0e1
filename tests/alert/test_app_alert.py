"""The desk of an installation: the daemon follows its configuration, and answers find their way after a wiped home."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard import places
from nbguard.alerting import ChannelState
from nbguard.app_alert import DaemonAlerts, alert_problems, channel_reports, open_desk, send_test
from nbguard.cli.context import Context
from nbguard.clock import SystemClock
from nbguard.model import Problem
from nbguard.refuge.notes import WipedNote, write_note


class Installation:
    """A configuration with channels that are files, and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home / ".nbguard"
        (self.home / "state").mkdir(parents=True, mode=0o700)
        (self.home / "emergency").mkdir(mode=0o700)
        self.home.chmod(0o700)

    def configure(self, *names: str) -> None:
        channels = "".join(
            f'[[channels]]\nname = "{name}"\nhuman = "ada"\ncommand = ["/bin/sh", "-c", "cat >> {self.box(name)}"]\n'
            for name in names
        )
        (self.home / "config.toml").write_text(f"schema = 1\nroots = []\n{channels}")
        (self.home / "config.toml").chmod(0o600)

    def box(self, name: str) -> Path:
        return self.home / f"box-{name}"

    def code(self, name: str) -> str:
        codes: list[str] = re.findall(r"nbguard ack (\S{9})", self.box(name).read_text())
        return codes[-1]

    @property
    def context(self) -> Context:
        return Context(home=str(self.home), config=None)


@pytest.fixture
def here(home: Path) -> Installation:
    return Installation(home)


def test_the_daemon_follows_its_channels_and_forgets_no_answer(here: Installation) -> None:
    here.configure("bell")
    alerts = DaemonAlerts(here.context, clock=SystemClock(), problems=lambda: ())
    alerts.begin()
    alerts.step()
    assert open_desk(here.context).answer(here.code("bell")).is_accepted
    here.configure("bell", "gong")
    alerts.step()
    assert here.box("gong").exists(), "the new one is asked, without a restart"
    states = {report.name: report.state for report in channel_reports(here.context)}
    assert states == {"bell": ChannelState.LIVE, "gong": ChannelState.UNPROVEN}
    (here.home / "config.toml").write_text("no = configuration [")
    alerts.step()
    here.configure("bell", "gong")
    alerts.step()
    states = {report.name: report.state for report in channel_reports(here.context)}
    assert states == {"bell": ChannelState.LIVE, "gong": ChannelState.UNPROVEN}
    assert here.box("gong").read_text().count("nbguard ack") == 1


def test_a_test_sends_a_code_and_an_answer_proves_the_channel(here: Installation) -> None:
    here.configure("bell")
    context = here.context
    assert [each.problem.code for each in alert_problems(context)] == ["recipient-unproven", "single-channel"]
    assert context.settings is not None
    assert send_test(context, context.settings.channels[0]).is_sent
    assert open_desk(context).answer(here.code("bell")).is_accepted
    assert [each.problem.code for each in alert_problems(context)] == ["single-channel"]


def test_what_a_daemon_told_after_its_home_was_wiped_can_be_answered(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.configure("bell")
    (tmp_path / f"nbguard-{os.getuid()}-x").mkdir(mode=0o700)
    emergency = str(tmp_path / f"nbguard-{os.getuid()}-x")
    monkeypatch.setattr(places, "open_to_all", lambda: str(tmp_path))
    text = (here.home / "config.toml").read_text().replace("roots = []", f'roots = []\nemergency = "{emergency}"')
    (here.home / "config.toml").write_text(text)
    wiped = Problem(code="home-wiped", message="it was wiped", hint="", since=datetime.now(UTC), subject=emergency)
    alerts = DaemonAlerts(here.context, clock=SystemClock(), problems=lambda: (wiped,))
    alerts.begin()
    write_note(WipedNote(folder=emergency, home=str(here.home), at=datetime.now(UTC)))
    box = here.box("bell").name
    for name in os.listdir(here.home / "state"):
        (here.home / "state" / name).unlink()
    (here.home / "state").rmdir()
    (here.home / "config.toml").unlink()
    alerts.step()
    assert "home-wiped" in (here.home / box).read_text()
    answered = open_desk(here.context).answer(here.code("bell"))
    assert answered.is_accepted and answered.channel == "bell"
    before = (here.home / box).read_text()
    alerts.step()
    assert (here.home / box).read_text() == before
    assert not (here.home / "state").exists()
