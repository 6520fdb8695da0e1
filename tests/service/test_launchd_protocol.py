"""launchctl's protocol, and the agent's property list against the keys that launchd.plist(5) knows. Not a Mac."""

from __future__ import annotations

import os
import plistlib
import sys
from pathlib import Path
from typing import Any

import pytest

from nbguard.app_service import hangs
from nbguard.clock import SystemClock
from nbguard.errors import Refused
from nbguard.model import Heartbeat
from nbguard.places import find_places
from nbguard.service.launchd import CHECK_LABEL, LABEL, LIGHT_LABEL, LaunchdAgents, agents_of
from nbguard.service.memory import Memory
from nbguard.service.templates import template
from nbguard.service.units import CHECK
from nbguard.stops import Why, read_stop
from tests.service.fake_launchctl import FakeLaunchctl

KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "StartInterval": int,
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
    """Agents in a folder, and the launchctl that they ask."""

    def __init__(self, folder: Path, launchctl: FakeLaunchctl) -> None:
        self.launchctl = launchctl
        self.folder = folder / "LaunchAgents"
        self.places = find_places(home=str(folder / "nbguard"))
        self.waited: list[float] = []

    def agents(self, *more: str, environment: str = "/Users/ada & bob/<kept>") -> LaunchdAgents:
        return LaunchdAgents(
            self.launchctl,
            folder=str(self.folder),
            memory=Memory(
                places=self.places, last_resort=str(self.folder.parent / "last"), clock=SystemClock(), boot="b"
            ),
            uid=501,
            agents=agents_of(
                lambda name: template("launchd", name), [*COMMAND, *more], light_seconds=120, full_seconds=900
            ),
            environment={"NBGUARD_HOME": environment},
            wait=self.waited.append,
        )

    def path(self, label: str) -> Path:
        return self.folder / f"{label}.plist"

    def verbs(self) -> list[str]:
        return [call[1] for call in self.launchctl.calls if call[1] != "print"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FakeLaunchctl())


@pytest.mark.parametrize(
    ("label", "words", "every"),
    [
        (LABEL, ["run"], None),
        (CHECK_LABEL, ["check"], 900),
        (LIGHT_LABEL, ["check", "--light"], 120),
    ],
)
def test_the_property_lists_hold_known_keys_of_the_right_types_and_absolute_words(
    desk: Desk, label: str, words: list[str], every: int | None
) -> None:
    desk.agents().install()
    path = desk.path(label)
    found = plistlib.loads(path.read_bytes())
    for key, value in found.items():
        assert type(value) is KEYS[key], f"{key} is {value!r}"  # type(): for launchd true is no number
    assert found["Label"] == label
    assert found["ProgramArguments"] == [*COMMAND, *words]
    assert found.get("StartInterval") == every
    assert found.get("KeepAlive", False) is (every is None)
    assert found["EnvironmentVariables"] == {"NBGUARD_HOME": "/Users/ada & bob/<kept>"}
    assert not any("~" in word or "$" in word for word in found["ProgramArguments"]), "launchd expands nothing"
    assert path.stat().st_mode & 0o022 == 0


def test_a_word_that_no_property_list_can_hold_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused):
        desk.agents("/a\x01b").install()


def test_installed_twice_nothing_happens_the_second_time(desk: Desk) -> None:
    assert desk.agents().install() == []
    report = desk.agents().report()
    assert report.is_well()
    assert report.wanted
    assert report.up_to_date
    desk.launchctl.calls.clear()
    assert desk.agents().install() == []
    assert desk.verbs() == []


def test_changed_agents_are_loaded_again_only_after_the_old_ones_have_left(desk: Desk) -> None:
    desk.agents().install()
    changed = desk.agents("--config", "/c.toml")
    assert not changed.report().up_to_date
    assert changed.install() == []
    assert desk.verbs() == ["bootstrap", "enable"] * 3 + ["bootout", "bootstrap", "enable"] * 3
    assert desk.waited, "bootout ends before the job has left: a bootstrap then fails with 5"
    assert changed.report().is_well()
    assert read_stop(desk.places.stop) is None, "the stop was recorded while it lasted"


def test_another_version_of_nbguard_starts_the_daemon_anew_and_not_the_checks(desk: Desk) -> None:
    desk.agents().install()
    desk.launchctl.calls.clear()
    assert desk.agents().install(restart=True) == []
    assert desk.verbs() == ["bootout", "bootstrap", "enable"]


def test_a_daemon_that_hangs_is_killed_and_started_again(desk: Desk) -> None:
    desk.agents().install()
    desk.launchctl.calls.clear()
    assert desk.agents().restart() == []
    assert desk.launchctl.calls[-1] == ["launchctl", "kickstart", "-k", f"gui/501/{LABEL}"]
    desk.agents().uninstall()
    (missing,) = desk.agents().restart()
    assert "not loaded" in missing


def test_over_ssh_the_user_domain_stands_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FakeLaunchctl(has_gui=False))
    assert desk.agents().install() == []
    assert list(desk.launchctl.jobs) == [f"user/501/{label}" for label in (LABEL, CHECK_LABEL, LIGHT_LABEL)]
    assert desk.agents().restart() == []
    assert desk.agents().uninstall() == []
    assert not desk.launchctl.jobs


def test_uninstalled_they_are_gone_and_a_second_time_there_is_nothing_to_do(desk: Desk) -> None:
    desk.agents().install()
    last = desk.folder.parent / "last"
    for folder in (Path(desk.places.emergency), last):
        folder.mkdir(mode=0o700)
        for name in (f"ALERT-{CHECK}", f".failed-{CHECK}", ".told", f".told-{CHECK}", "alert-channels.sh"):
            (folder / name).touch()
    (Path(desk.places.emergency) / "kept").touch()
    assert desk.agents().uninstall() == []
    assert list(desk.folder.iterdir()) == []
    assert os.listdir(desk.places.emergency) == ["kept"], "nor does a script with secrets stay"
    assert not last.exists()
    assert not desk.launchctl.jobs
    report = desk.agents().report()
    assert not report.enabled
    assert not report.wanted
    stop = read_stop(desk.places.stop)
    assert stop is not None
    assert stop.why is Why.UNINSTALLED
    assert desk.agents().uninstall() == []


def test_a_program_that_is_gone_is_seen_in_what_is_installed_not_in_what_asks(desk: Desk, tmp_path: Path) -> None:
    desk.agents().install()
    for label in (LABEL, CHECK_LABEL):
        path = desk.path(label)
        path.write_bytes(path.read_bytes().replace(sys.executable.encode(), b"/gone/bin/python"))
    report = desk.agents().report()
    assert not report.command_exists
    assert [check.command_exists for check in report.checkers] == [False, True]
    desk.path(LABEL).write_bytes(b"<plist>")
    assert not desk.agents().report().command_exists


def test_what_does_not_work_is_named(tmp_path: Path) -> None:
    stuck = Desk(tmp_path / "a", FakeLaunchctl(dying=10_000))
    stuck.agents().install()
    missing = stuck.agents().uninstall()
    assert len(missing) == 3
    assert all("does not end" in each for each in missing)
    assert sum(stuck.waited) < 300
    idle = Desk(tmp_path / "b", FakeLaunchctl(starts=False))
    (missed,) = idle.agents().install()
    assert "spawn scheduled, not running" in missed


@pytest.mark.parametrize(
    ("changes", "seconds", "hung"),
    [
        ({}, 119.0, False),
        ({}, 121.0, True),
        ({"alive": False}, 999.0, False),
        ({"boot": "another"}, 999.0, False),
        ({"stopped": True}, 999.0, False),
        ({"beat_monotonic": None}, 999.0, False),
    ],
)
def test_a_daemon_hangs_that_lives_and_has_not_beaten_while_the_machine_was_awake(
    changes: dict[str, Any], seconds: float, hung: bool
) -> None:
    now = SystemClock().now()
    beat = Heartbeat(
        pid=1,
        boot="boot",
        since=now,
        beat_at=now,
        beat_boottime_ns=1,
        version="1",
        roots=(),
        problems=(),
        stopped=changes.get("stopped", False),
        beat_monotonic=changes.get("beat_monotonic", 1000.0),
    )
    boot, alive = changes.get("boot", "boot"), changes.get("alive", True)
    assert hangs(beat, boot=boot, monotonic=1000.0 + seconds, alive=alive) is hung
