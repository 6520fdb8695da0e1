"""The service under a real systemd: an unprivileged user, a real boot, kill -9, SIGSTOP, a broken configuration, a
check that hangs, a virtual environment and a whole home that are gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.service.inside import (
    HOME,
    UNITS,
    alerts,
    configure,
    environment_in_home,
    have_run,
    is_active,
    is_kept,
    nbguard,
    override,
    pid,
    report,
    save,
)
from tests.service.lab import UID, USER, Lab, needed

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
OFTEN = "\n[checks]\nlight_seconds = 2\nfull_seconds = 3\n"


@pytest.fixture
def lab(tmp_path: Path) -> Generator[Lab]:
    needed()
    lab = Lab(tmp_path)
    try:
        lab.boot()
        lab.login()
        yield lab
    finally:
        lab.off()


def test_installed_it_survives_kill_hang_logout_and_reboot_and_is_gone_after_uninstall(lab: Lab) -> None:
    path = save(lab, "eda.ipynb", notebook_bytes("x = 1"))
    override(lab, "nbguard.service", "RestartSec=1")
    answer = nbguard(lab, "setup", "--yes", "--watch", f"{HOME}/work")
    assert answer.code == 0, answer
    assert "the service runs" in answer.err
    assert "nbguard service prompt" in answer.err
    said = report(lab)
    assert said["active"]
    assert said["enabled"]
    assert said["lingers"], "and nobody had to ask for it"
    assert [check["enabled"] and check["active"] for check in said["checkers"]] == [True, True]
    assert is_kept(lab, path, 1)

    before = pid(lab)
    configure(lab, OFTEN)
    assert not report(lab)["up_to_date"]
    again = nbguard(lab, "service", "install")
    assert again.code == 0, again
    first = pid(lab)
    assert first != before, "it reads the configuration when it starts"
    again = nbguard(lab, "service", "install")
    assert again.code == 0, again
    assert pid(lab) == first, "nothing changed: nothing is restarted"
    assert report(lab)["up_to_date"]
    poll(lambda: have_run(lab), 30, every=0.2)

    save(lab, "eda.ipynb", notebook_bytes("x = 2"))
    poll(lambda: is_kept(lab, path, 2), 20, every=0.2)
    assert lab.root("kill", "-KILL", str(first)).code == 0
    poll(lambda: pid(lab) not in (0, first) and is_active(lab), 30, every=0.2)
    save(lab, "eda.ipynb", notebook_bytes("x = 3"))
    poll(lambda: is_kept(lab, path, 3), 20, every=0.2)

    lab.logout()
    assert lab.root("systemctl", "start", f"user@{UID}.service").code == 0
    lab.off()
    lab.boot()
    poll(lambda: is_active(lab), 30, every=0.2)
    assert lab.root("loginctl", "list-sessions", "--no-legend").out == "", "nobody has logged in since"
    save(lab, "eda.ipynb", notebook_bytes("x = 4"))
    poll(lambda: is_kept(lab, path, 4), 20, every=0.2)
    poll(lambda: have_run(lab), 30, every=0.2)
    assert alerts(lab) == {}

    assert lab.root("loginctl", "disable-linger", USER).code == 0
    lab.login()  # lingering was all that kept the manager
    assert nbguard(lab, "service", "status").code == 1, "the next logout would end it"
    answer = nbguard(lab, "service", "install")
    assert answer.code == 0, answer
    assert report(lab)["lingers"]

    shutil.rmtree(lab.home / UNITS / "nbguard.service.d")  # the user's own, that is: of this test
    answer = nbguard(lab, "service", "uninstall")
    assert answer.code == 0, answer
    assert pid(lab) == 0
    assert not list((lab.home / UNITS).rglob("*nbguard*"))
    assert not list((lab.home / ".local/share/systemd").rglob("*nbguard*")), "timers leave no stamps"
    assert not (lab.linger / USER).exists(), "we turned lingering on, and off again"
    assert is_kept(lab, path, 4), "the archive is not touched"
    lab.login()
    known = lab.user("systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "nbguard*")
    assert known.out == "", "nor does the manager remember anything"
    said = report(lab)
    assert not said["wanted"]
    assert not said["active"]
    assert nbguard(lab, "service", "uninstall").code == 0, "a second time there is nothing to do"


def test_what_hangs_is_ended_and_what_fails_for_good_is_told_once(lab: Lab) -> None:
    path = save(lab, "eda.ipynb", notebook_bytes("x = 1"))
    override(lab, "nbguard.service", "WatchdogSec=4\nRestartSec=1")
    assert nbguard(lab, "setup", "--yes", "--watch", f"{HOME}/work").code == 0
    first = pid(lab)
    assert lab.root("kill", "-STOP", str(first)).code == 0
    assert lab.root("grep", "-q", "^State:.T", f"/proc/{first}/status").code == 0, "it hangs"
    override(lab, "nbguard-check-light.service", "ExecStart=\nExecStart=/bin/sleep 100\nTimeoutStartSec=1")
    assert lab.user("systemctl", "--user", "start", "nbguard-check-light.service").code == 1
    assert "it did not end in time" in poll(lambda: alerts(lab)["nbguard-check-light.service"], 20, every=0.1)
    assert not report(lab)["checkers"][1]["result"].startswith("success")
    poll(lambda: pid(lab) not in (0, first) and is_active(lab), 40, every=0.2)
    log = lab.user("journalctl", "--user", "--unit", "nbguard").out
    assert "atchdog" in log, log
    assert is_kept(lab, path, 1)

    configuration = lab.home / ".config/nbguard/config.toml"
    configure(lab, "\nnonsense = 1\n")
    lab.user("systemctl", "--user", "restart", "nbguard")
    poll(lambda: lab.user("systemctl", "--user", "is-failed", "nbguard").out == "failed", 20, every=0.2)
    shown = lab.user("systemctl", "--user", "show", "nbguard", "--property=ExecMainStatus,NRestarts").out
    assert "ExecMainStatus=78" in shown
    assert "the configuration cannot be used" in poll(lambda: alerts(lab)["nbguard.service"], 20, every=0.1)
    assert nbguard(lab, "service", "status").code == 1, "and not 78: it says how the service is, whatever else is wrong"
    told = lab.user("journalctl", "--user", "--priority=alert", "--output=cat").out.splitlines()
    assert len([line for line in told if "Notebooks may not be protected" in line]) == 1, "both within ten minutes"
    before = shown
    configuration.write_text(configuration.read_text().replace("nonsense = 1\n", ""))
    assert lab.user("systemctl", "--user", "show", "nbguard", "--property=ExecMainStatus,NRestarts").out == before
    answer = nbguard(lab, "service", "install")
    assert answer.code == 0, answer
    assert is_active(lab), "mended, and installed again, it runs"
    assert "nbguard.service" not in alerts(lab), "and its note is gone"


def test_without_its_environment_and_without_a_home_it_is_still_told_outside_of_it(lab: Lab) -> None:
    save(lab, "eda.ipynb", notebook_bytes("x = 1"))
    python = environment_in_home(lab)
    assert lab.user("mkdir", "-p", "-m", "700", f"{HOME}/.config/nbguard").code == 0
    told = "/var/tmp/told"
    channel = f'[[channels]]\nname = "note"\nhuman = "ada"\ncommand = ["tee", "-a", "{told}"]\n'
    configure(lab, f"schema = 1\n{OFTEN}\n[alerts]\nnext_channel_seconds = 30\n{channel}")
    for path in (lab.home / ".config/nbguard", lab.home / ".config/nbguard/config.toml"):
        os.chown(path, UID, UID)
    (lab.home / ".config/nbguard/config.toml").chmod(0o600)
    answer = nbguard(lab, "setup", "--yes", "--watch", f"{HOME}/work", python=python)
    assert answer.code == 0, answer
    poll(lambda: have_run(lab), 30, every=0.2)

    once = "test -e /var/tmp/once || { touch /var/tmp/once; exit 1; }"
    override(lab, "nbguard-check-light.service", f"ExecStart=\nExecStart=/bin/sh -c '{once}'")
    failed = "nbguard-check-light.service: Failed with result 'exit-code'"
    poll(lambda: failed in lab.user("journalctl", "--user").out, 20, every=0.2)
    poll(lambda: have_run(lab), 20, every=0.2)
    assert "service failed" not in lab.user("cat", told).out, "it met an upgrade half done: that disturbs nobody"
    assert alerts(lab) == {}
    shutil.rmtree(lab.home / UNITS / "nbguard-check-light.service.d")
    lab.user("systemctl", "--user", "daemon-reload")

    shutil.rmtree(lab.home / "venv")
    gone = "the program that it starts is gone"
    assert gone in poll(lambda: alerts(lab)["nbguard-check-light.service"], 20, every=0.1)
    # By the alert unit itself, whichever check was the first, and by the daemon that lives on in memory.
    poll(lambda: f".service failed: {gone}. Notebooks" in lab.user("cat", told).out, 20, every=0.2)
    poll(lambda: "unit-failed: nbguard-check" in lab.user("cat", told).out, 40, every=0.2)
    said = report(lab)
    assert said["active"], "the daemon still runs, from memory"
    assert not said["command_exists"]
    assert "exit-code 203" in poll(lambda: report(lab)["checkers"][1]["result"], 20, every=0.1)

    for place in lab.root("sh", "-c", f"ls -d /var/tmp/nbguard-{UID}-*").out.split():
        lab.root("sh", "-c", f"rm -f {place}/ALERT-* {place}/.told* {place}/.failed-*")
    assert lab.root("sh", "-c", f"find {HOME} -mindepth 1 -delete").code == 0
    assert not list(lab.home.iterdir()), "nothing is left of HOME"
    assert gone in poll(lambda: alerts(lab)["nbguard-check-light.service"], 20, every=0.1)
    assert lab.root("sh", "-c", "journalctl | grep -c 'Notebooks may not be protected'").out != "0"

    assert lab.root("loginctl", "disable-linger", USER).code == 0
    lab.logout()
    running = lab.root("ps", "-u", USER, "-o", "args=")
    assert "nbguard" not in running.out, "without lingering nothing local is left to tell: that takes another machine"
