"""launchctl's protocol, and the agent's property list against the keys that launchd.plist(5) knows. Not a Mac."""

from __future__ import annotations

import plistlib
import sys
from pathlib import Path

import pytest

from nbguard.errors import Refused
from nbguard.service.launchd import LABEL, TEMPLATE, LaunchdAgent, agent
from nbguard.service.templates import template
from tests.service.fake_launchctl import FakeLaunchctl

KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LowPriorityIO": bool,
    "Umask": int,
    "LimitLoadToSessionType": list,
}
COMMAND = [sys.executable, "-P", "-m", "nbguard"]


class Desk:
    """An agent in a folder, and the launchctl that it asks."""

    def __init__(self, folder: Path, launchctl: FakeLaunchctl) -> None:
        self.launchctl = launchctl
        self.path = folder / "LaunchAgents" / TEMPLATE
        self.waited: list[float] = []

    def agent(self, *more: str) -> LaunchdAgent:
        return LaunchdAgent(
            self.launchctl,
            folder=str(self.path.parent),
            uid=501,
            template=template("launchd", TEMPLATE),
            command=[*COMMAND, *more],
            environment={"NBGUARD_HOME": "/Users/ada & bob/<kept>"},
            wait=self.waited.append,
        )

    def verbs(self) -> list[str]:
        return [call[1] for call in self.launchctl.calls if call[1] != "print"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FakeLaunchctl())


def test_the_property_list_holds_known_keys_of_the_right_types_and_absolute_words(desk: Desk) -> None:
    desk.agent().install()
    found = plistlib.loads(desk.path.read_bytes())
    for key, value in found.items():
        assert type(value) is KEYS[key], f"{key} is {value!r}"  # type(): for launchd true is no number
    assert found["Label"] == LABEL == desk.path.name.removesuffix(".plist")
    assert found["ProgramArguments"] == [*COMMAND, "run"]
    assert found["EnvironmentVariables"] == {"NBGUARD_HOME": "/Users/ada & bob/<kept>"}
    assert not any("~" in word or "$" in word for word in found["ProgramArguments"]), "launchd expands nothing"
    assert desk.path.stat().st_mode & 0o022 == 0


def test_a_word_that_no_property_list_can_hold_is_refused() -> None:
    with pytest.raises(Refused):
        agent(template("launchd", TEMPLATE), command=["/a\x01b"], environment={})


def test_installed_twice_nothing_happens_the_second_time(desk: Desk) -> None:
    assert desk.agent().install() == []
    assert desk.agent().report().active
    desk.launchctl.calls.clear()
    assert desk.agent().install() == []
    assert desk.verbs() == []


def test_a_changed_agent_is_loaded_again_only_after_the_old_one_has_left(desk: Desk) -> None:
    desk.agent().install()
    assert desk.agent("--config", "/c.toml").install() == []
    assert desk.verbs() == ["bootstrap", "enable", "bootout", "bootstrap", "enable"]
    assert desk.waited, "bootout ends before the job has left: a bootstrap then fails with 5"
    assert desk.agent().report().active


def test_over_ssh_the_user_domain_stands_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FakeLaunchctl(has_gui=False))
    assert desk.agent().install() == []
    assert list(desk.launchctl.jobs) == [f"user/501/{LABEL}"]
    assert desk.agent().uninstall() == []
    assert not desk.launchctl.jobs


def test_uninstalled_it_is_gone_and_a_second_time_there_is_nothing_to_do(desk: Desk) -> None:
    desk.agent().install()
    assert desk.agent().uninstall() == []
    assert not desk.path.exists()
    assert not desk.launchctl.jobs
    assert not desk.agent().report().enabled
    assert desk.agent().uninstall() == []


def test_what_does_not_work_is_named(tmp_path: Path) -> None:
    stuck = Desk(tmp_path / "a", FakeLaunchctl(dying=10_000))
    stuck.agent().install()
    (missing,) = stuck.agent().uninstall()
    assert "does not end" in missing
    assert sum(stuck.waited) < 100
    idle = Desk(tmp_path / "b", FakeLaunchctl(starts=False))
    (missing,) = idle.agent().install()
    assert "spawn scheduled, not running" in missing
