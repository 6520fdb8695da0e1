"""Real processes: the daemon dies, the check tells a human, who answers; the daemon comes back, and that is told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY, nbguard, notebook_bytes, poll

CONFIGURATION = """\
schema = 1
roots = ["{root}"]
[intervals]
heartbeat_seconds = 0.3
[alerts]
next_channel_seconds = 6
[[channels]]
name = "bell"
human = "ada"
command = ["/bin/sh", "-c", "cat >> '{box}'; echo ======== >> '{box}'"]
"""


@dataclass
class Machine:
    """A daemon and a letter box that a command fills."""

    box: Path
    daemon: subprocess.Popen[bytes]

    def letters(self) -> list[str]:
        """Whole ones alone: another may just be on its way."""
        return self.box.read_text().split("========\n")[:-1] if self.box.exists() else []

    def begin(self) -> None:
        self.daemon = daemon()

    def answer(self, letter: str) -> dict[str, object]:
        code = re.findall(r"nbguard ack (\S{9})", letter)[-1]
        answer: dict[str, object] = nbguard("ack", code, "--json").json
        return answer


def daemon() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nbguard", "run"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    root = home / "work"
    root.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("1"))
    places = home / ".nbguard"
    places.mkdir(mode=0o700)
    config = places / "config.toml"
    config.write_text(CONFIGURATION.format(root=root, box=home / "box"))
    config.chmod(0o600)
    machine = Machine(home / "box", daemon())
    yield machine
    machine.daemon.kill()
    machine.daemon.wait()


def test_a_killed_daemon_is_told_answered_and_told_to_be_back(machine: Machine, home: Path) -> None:
    notice = home / ".nbguard" / "state" / "notice"
    poll(machine.letters, 30)
    assert machine.answer(machine.letters()[0])["accepted"], "the daemon asked who is there, and somebody answered"
    assert nbguard("alert", "list", "--json").json[0]["state"] == "live"
    machine.daemon.send_signal(signal.SIGKILL)
    machine.daemon.wait()
    poll(lambda: nbguard("check", "--light").code == 20, 30)
    told = machine.letters()
    assert len(told) == 2 and "daemon-down" in told[1] and "STALLED" in told[1]
    assert "daemon-down" in notice.read_text() or "daemon" in notice.read_text()
    nbguard("check", "--light")
    assert len(machine.letters()) == 2, "once"
    answer = machine.answer(told[1])
    assert answer["accepted"] and "daemon-down" in json.dumps(answer)
    assert not notice.exists()
    machine.begin()
    poll(lambda: nbguard("check", "--light").code == 0, 30)
    poll(lambda: len(machine.letters()) == 3, 30)  # its own worker tells it, once it stayed away for a while
    assert "over: daemon-down" in machine.letters()[2]
