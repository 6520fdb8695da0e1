"""What is done and asked inside the lab's machine, as its one user."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import defaultdict
from typing import Any

from tests.service.lab import UID, USER, Lab, Said

HOME = f"/home/{USER}"
UNITS = ".config/systemd/user"


def nbguard(lab: Lab, *words: str, python: str = sys.executable) -> Said:
    return lab.user(python, "-P", "-m", "nbguard", *words)


def configure(lab: Lab, text: str) -> None:
    with (lab.home / ".config/nbguard/config.toml").open("a") as file:
        file.write(text)


def report(lab: Lab) -> Any:
    return json.loads(nbguard(lab, "service", "status", "--json").out)


def have_run(lab: Lab) -> bool:
    """Whether both checks have run by themselves, and could give their answer."""
    asked = ("--property=Result", "--property=ExecMainExitTimestampMonotonic")
    shown = lab.user("systemctl", "--user", "show", "nbguard-check.service", "nbguard-check-light.service", *asked).out
    return shown.count("Result=success") == 2 and "Monotonic=0" not in shown


def alerts(lab: Lab) -> defaultdict[str, str]:
    """What the alert unit noted outside of HOME, by unit; empty for one that did not fail."""
    found = lab.user("sh", "-c", f"grep -H . /var/tmp/nbguard-{UID}-*/ALERT-*")
    pairs = [line.partition(":") for line in found.out.splitlines()]
    return defaultdict(str, {path.partition("ALERT-")[2]: text for path, _, text in pairs})


def override(lab: Lab, unit: str, text: str) -> None:
    folder = lab.home / UNITS / f"{unit}.d"
    assert lab.user("mkdir", "-p", f"{HOME}/{UNITS}/{unit}.d").code == 0
    (folder / "test.conf").write_text(f"[Service]\n{text}\n")
    lab.user("systemctl", "--user", "daemon-reload")


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


def environment_in_home(lab: Lab) -> str:
    """A virtual environment in the user's home that has what this one has; its interpreter."""
    folder = lab.home / "venv"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(f"{sys.prefix}/pyvenv.cfg", folder)
    (folder / "lib").symlink_to(f"{sys.prefix}/lib")
    (folder / "bin/python").symlink_to(os.path.realpath(sys.executable))
    return f"{HOME}/venv/bin/python"
