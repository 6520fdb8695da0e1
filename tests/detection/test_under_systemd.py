"""How long what only a service manager can see goes unseen: a real systemd, at a thirtieth of the usual pace.

One machine suffers one fault after the other, and is put right between them. Only letters count: somebody was told.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.detection.machine import PACE, at_pace
from tests.helpers import notebook_bytes, poll
from tests.service.inside import HOME, environment_in_home, nbguard, pid, save
from tests.service.lab import UID, USER, Lab, needed

_REPORT = os.environ.get("NBGUARD_DETECTION_REPORT")  # asked here: tests begin without variables of ours
_SLACK_SECONDS = 10.0
_LETTERS = "/var/tmp/letters"
_CONFIG = ".config/nbguard/config.toml"


@dataclass
class Town:
    """The lab, the interpreter that its user has, and the configuration as it should be."""

    lab: Lab
    python: str
    configuration: str
    check_seconds: float = 0.0  # what one check took lately, however often it is made

    def systemctl(self, *words: str) -> None:
        self.lab.user("systemctl", "--user", *words)

    def mend(self) -> None:
        """All is as it should be again, and nothing more is told of what was."""
        (self.lab.home / _CONFIG).write_text(self.configuration)
        answer = nbguard(self.lab, "service", "install", python=self.python)
        assert answer.code == 0, answer
        poll(lambda: nbguard(self.lab, "check", python=self.python).code in {0, 21, 22}, 30, every=0.5)
        poll(lambda: nbguard(self.lab, "check", "--light", python=self.python).code in {0, 21}, 30, every=0.5)
        began = time.monotonic()
        nbguard(self.lab, "check", "--light", python=self.python)
        self.check_seconds = time.monotonic() - began

    def told_after(self, moment: float, codes: str) -> float | None:
        """Seconds from that moment (since 1970) to the first letter in which one of the words stands."""
        found = self.lab.root("sh", "-c", f"cd {_LETTERS} && grep -lE '{codes}' [0-9]*").out.split()
        times = sorted(int(name.partition(".")[0]) / 1e9 for name in found)
        return next((at - moment for at in times if at >= moment), None)

    def until_told(self, moment: float, codes: str, seconds: float) -> float | None:
        """The same, once it has come; None when nothing has within so many seconds."""
        try:
            return poll(lambda: self.told_after(moment, codes), seconds, every=0.1)
        except AssertionError:
            return None


@pytest.fixture
def town(tmp_path: Path) -> Generator[Town]:
    needed()
    lab = Lab(tmp_path)
    try:
        lab.boot()
        lab.login()
        assert lab.user("mkdir", "-m", "700", "-p", _LETTERS, f"{HOME}/.config/nbguard").code == 0
        channel = f"f={_LETTERS}/$(date +%s%N).$$; cat >{_LETTERS}/.$$ && mv {_LETTERS}/.$$ $f"
        lines = ["schema = 1", f"roots = {json.dumps([f'{HOME}/work'])}"]
        for name, values in at_pace().items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        lines += ["[[channels]]", 'name = "letters"', 'human = "ada"']
        lines += [f"command = {json.dumps(['/bin/sh', '-c', channel])}", ""]
        town = Town(lab, environment_in_home(lab), "\n".join(lines))
        path = lab.home / _CONFIG
        path.write_text(town.configuration)
        path.chmod(0o600)
        os.chown(path, UID, UID)
        for number in range(3):
            save(lab, f"{number}.ipynb", notebook_bytes(f"n = {number}"))
        answer = nbguard(lab, "setup", "--yes", python=town.python)
        assert answer.code == 0, answer
        yield town
    finally:
        lab.off()


def stopped(town: Town) -> float:
    town.systemctl("stop", "nbguard.service")  # ends when all that was heard of is kept
    assert not pid(town.lab)
    return time.time()


def timers_stopped(town: Town) -> float:
    moment = time.time()
    town.systemctl("disable", "--now", "nbguard-check.timer", "nbguard-check-light.timer")
    return moment


def not_started_at_boot(town: Town) -> float:
    town.systemctl("disable", "nbguard.service")
    town.lab.root("cp", "-a", _LETTERS, f"{HOME}/letters")
    town.lab.off()
    town.lab.boot()
    town.lab.root("cp", "-a", f"{HOME}/letters", _LETTERS)
    moment = time.time()
    assert not pid(town.lab)
    return moment


def misconfigured(town: Town) -> float:
    (town.lab.home / _CONFIG).write_text(town.configuration + "\nnonsense = 1\n")
    moment = time.time()
    town.systemctl("restart", "nbguard.service")
    return moment


def linger_off(town: Town) -> float:
    assert town.lab.root("loginctl", "disable-linger", USER).code == 0
    town.lab.login()
    return time.time()


def environment_removed(town: Town) -> float:
    moment = time.time()
    shutil.rmtree(town.lab.home / "venv")
    return moment


def home_removed(town: Town) -> float:
    moment = time.time()
    assert town.lab.root("sh", "-c", f"find {HOME} -mindepth 1 -delete").code == 0
    return moment


@dataclass(frozen=True)
class Fault:
    """One row of the table. ``codes`` have bars between; ``words`` are how the alert unit says it, for it knows no
    codes. A check's own time is not multiplied."""

    name: str
    strike: Callable[[Town], float]
    codes: str
    minutes: float = 20.0
    words: str = ""
    is_told_by_check: bool = False


# What somebody did by hand is a warning, not a stall: it is told when it has lasted.
FAULTS = [
    Fault("service stopped by hand", stopped, "daemon-down|unit-inactive", is_told_by_check=True),
    Fault("timers of the checks disabled", timers_stopped, "checker-late"),
    Fault("daemon not started at boot", not_started_at_boot, "daemon-down|unit-inactive", 4.0, is_told_by_check=True),
    Fault("configuration broken", misconfigured, "config-invalid", 4.0, "configuration cannot be used"),
    Fault("lingering turned off, still logged in", linger_off, "linger-off", is_told_by_check=True),
    Fault("virtual environment removed", environment_removed, "unit-failed", words="program that it starts is gone"),
    Fault("home removed", home_removed, "home-wiped"),
]


@pytest.mark.long
@pytest.mark.root
def test_what_only_a_service_manager_can_see_is_told_in_time(town: Town) -> None:
    late = []
    for fault in FAULTS:
        if (town.lab.home / "venv").exists():
            town.mend()
        moment = fault.strike(town)
        said = f"{fault.codes}|{fault.words}" if fault.words else fault.codes
        told = town.until_told(moment, said, fault.minutes * 60 / PACE + _SLACK_SECONDS)
        if told is None:
            late.append(fault.name)
        report(fault, told, town.check_seconds if fault.is_told_by_check else 0.0)
    assert not late, town.lab.root("sh", "-c", f"tail -n +1 {_LETTERS}/*").out


def report(fault: Fault, told: float | None, check_seconds: float) -> None:
    """Keep what was measured, where NBGUARD_DETECTION_REPORT names a file; seconds at the default pace: what was waited
    for is multiplied, what the check itself took is not."""
    if not _REPORT:
        return
    taken = min(told or 0.0, check_seconds)
    seconds = None if told is None else (told - taken) * PACE + taken
    fields = {"fault": fault.name, "codes": fault.codes.split("|"), "minutes": fault.minutes}
    with open(_REPORT, "a", encoding="utf-8") as file:
        file.write(json.dumps({**fields, "seen": seconds, "told": seconds}) + "\n")
