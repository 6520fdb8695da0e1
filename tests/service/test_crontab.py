"""Where no service manager answers: lines that cron reads as they are meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from nbguard.service.crontab import crontab
from nbguard.settings import Checks
from tests.helpers import nbguard

COMMAND = ["/opt/it's 100% mine/python", "-P", "-m", "nbguard"]


def test_daemon_and_both_checks_have_a_line_each_and_only_complaints_are_mailed() -> None:
    boot, light, full = crontab(COMMAND, home="/srv/a b", checks=Checks())
    assert boot.startswith("@reboot ")
    assert light.startswith("*/2 * * * * ")
    assert full.startswith("*/15 * * * * ")
    for line, words in ((boot, ["run"]), (light, ["check", "--light"]), (full, ["check"])):
        command = line.removeprefix("@reboot ").removeprefix("*/2 * * * * ").removeprefix("*/15 * * * * ")
        assert "%" not in command.replace("\\%", ""), "a percent sign ends the command"
        assert shlex.split(command.replace("\\%", "%").removesuffix(" >/dev/null")) == [
            "NBGUARD_HOME=/srv/a b",
            *COMMAND,
            *words,
        ]
        assert line.endswith(" >/dev/null") is ("check" in words)


@pytest.mark.parametrize(("seconds", "when"), [(4.0, "* * * * *"), (90.0, "*/2 * * * *"), (86_400.0, "*/30 * * * *")])
def test_cron_counts_in_whole_minutes(seconds: float, when: str) -> None:
    assert crontab(COMMAND, home=None, checks=Checks(light_seconds=seconds))[1].startswith(f"{when} '/opt")


def test_without_a_manager_install_says_what_to_run_instead(tmp_path: Path) -> None:
    answer = nbguard("run", "--watch", str(tmp_path), "--once")
    assert answer.code == 0, answer.talk
    answer = nbguard("service", "install")
    assert answer.code == 1
    assert "@reboot NBGUARD_HOME=" in answer.talk
    assert "check --light >/dev/null" in answer.talk
