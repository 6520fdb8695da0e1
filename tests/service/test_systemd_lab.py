"""The service under a real systemd: an unprivileged user, a real boot, kill -9, SIGSTOP, a broken configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.service.lab import UID, USER, Lab, Said, needed

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
HOME = f"/home/{USER}"
UNIT = ".config/systemd/user/nbguard.service"


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


def nbguard(lab: Lab, *words: str) -> Said:
    return lab.user(sys.executable, "-P", "-m", "nbguard", *words)


def save(lab: Lab, name: str, data: bytes) -> str:
    folder = lab.home / "work"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    for path in (folder, folder / name):
        os.chown(path, UID, UID)
    return f"{HOME}/work/{name}"


def pid(lab: Lab) -> int:
    """The daemon's process as its systemd knows it; 0 when it does not run."""
    return int(lab.user("systemctl", "--user", "show", "nbguard", "--property=MainPID", "--value").out or 0)


def is_active(lab: Lab) -> bool:
    return lab.user("systemctl", "--user", "is-active", "nbguard").out == "active"


def is_kept(lab: Lab, path: str, versions: int) -> bool:
    answer = nbguard(lab, "log", path, "--json")
    return answer.code == 0 and len(json.loads(answer.out)) == versions


def test_installed_it_survives_kill_hang_logout_and_reboot_and_is_gone_after_uninstall(lab: Lab) -> None:
    path = save(lab, "eda.ipynb", notebook_bytes("x = 1"))
    answer = nbguard(lab, "setup", "--yes", "--watch", f"{HOME}/work")
    assert answer.code == 0, answer
    assert "the service runs" in answer.err
    report = json.loads(nbguard(lab, "service", "status", "--json").out)
    assert report["active"]
    assert report["enabled"]
    assert report["lingers"], "and nobody had to ask for it"
    assert is_kept(lab, path, 1)

    first = pid(lab)
    again = nbguard(lab, "service", "install")
    assert again.code == 0, again
    assert pid(lab) == first, "nothing changed: nothing is restarted"

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

    answer = nbguard(lab, "service", "uninstall")
    assert answer.code == 0, answer
    assert pid(lab) == 0
    assert not (lab.home / UNIT).exists()
    assert not list((lab.home / ".config/systemd/user").rglob("*nbguard*"))
    assert not (lab.linger / USER).exists(), "we turned lingering on, and off again"
    assert is_kept(lab, path, 4), "the archive is not touched"
    lab.login()  # lingering was all that kept the manager
    assert nbguard(lab, "service", "status").code == 1
    assert nbguard(lab, "service", "uninstall").code == 0, "a second time there is nothing to do"


def test_a_hung_daemon_is_killed_and_started_again_and_a_broken_configuration_is_not_tried_for_ever(lab: Lab) -> None:
    path = save(lab, "eda.ipynb", notebook_bytes("x = 1"))
    override = lab.home / ".config/systemd/user/nbguard.service.d"
    assert lab.user("mkdir", "-p", f"{HOME}/.config/systemd/user/nbguard.service.d").code == 0
    (override / "sooner.conf").write_text("[Service]\nWatchdogSec=4\nRestartSec=1\n")
    assert nbguard(lab, "setup", "--yes", "--watch", f"{HOME}/work").code == 0
    first = pid(lab)
    assert lab.root("kill", "-STOP", str(first)).code == 0
    assert lab.root("grep", "-q", "^State:.T", f"/proc/{first}/status").code == 0, "it hangs"
    poll(lambda: pid(lab) not in (0, first) and is_active(lab), 40, every=0.2)
    log = lab.user("journalctl", "--user", "--unit", "nbguard").out
    assert "atchdog" in log, log
    assert is_kept(lab, path, 1)

    configuration = lab.home / ".config/nbguard/config.toml"
    configuration.write_text(configuration.read_text() + "\nnonsense = 1\n")
    lab.user("systemctl", "--user", "restart", "nbguard")
    poll(lambda: lab.user("systemctl", "--user", "is-failed", "nbguard").out == "failed", 20, every=0.2)
    shown = lab.user("systemctl", "--user", "show", "nbguard", "--property=ExecMainStatus,NRestarts").out
    assert "ExecMainStatus=78" in shown
    before = shown
    configuration.write_text(configuration.read_text().replace("nonsense = 1\n", ""))
    assert lab.user("systemctl", "--user", "show", "nbguard", "--property=ExecMainStatus,NRestarts").out == before
    answer = nbguard(lab, "service", "install")
    assert answer.code == 0, answer
    assert is_active(lab), "mended, and installed again, it runs"
