"""Status and a real daemon: seen running, and each way of not running told apart, at a tenth of the usual times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nbguard.health.weighing import STANDING
from tests.helpers import REPOSITORY, nbguard, notebook_bytes, poll

QUICK = "[intervals]\nheartbeat_seconds = 1\nsweep_seconds = 24\nguard_seconds = 1\n"


@dataclass
class Guarded:
    """A folder and its daemon."""

    folder: Path
    daemon: subprocess.Popen[bytes]

    def state(self) -> tuple[int, str, list[str]]:
        answer = nbguard("status", "--json")
        codes = [problem["code"] for problem in answer.json["problems"]]
        return answer.code, answer.json["state"], [code for code in codes if code not in STANDING]

    def status(self) -> Any:
        return nbguard("status", "--json").json


@pytest.fixture
def guarded(home: Path) -> Generator[Guarded]:
    folder = home / "work"
    folder.mkdir()
    (folder / "a.ipynb").write_bytes(notebook_bytes("a = 1"))
    ours = Path(os.environ["NBGUARD_HOME"])
    ours.mkdir(mode=0o700)
    (ours / "config.toml").write_text(f'schema = 1\nroots = ["{folder}"]\n{QUICK}')
    daemon = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "run"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
    )
    guarded = Guarded(folder, daemon)
    poll(lambda: guarded.status()["protected"] == 1 and guarded.status()["daemon"]["running"], 30, every=0.2)
    yield guarded
    daemon.send_signal(signal.SIGCONT)
    daemon.kill()
    daemon.wait()


def test_a_save_is_protected_at_once_and_status_follows(guarded: Guarded) -> None:
    assert guarded.state() == (0, "ok", [])
    (guarded.folder / "b.ipynb").write_bytes(notebook_bytes("b = 1"))
    poll(lambda: guarded.status()["protected"] == 2, 10, every=0.2)
    poll(lambda: guarded.status()["watching"][0]["mode"] == "events", 10, every=0.2)


def test_stopped_on_purpose_is_degraded(guarded: Guarded) -> None:
    guarded.daemon.terminate()
    assert guarded.daemon.wait(20) == 0
    assert guarded.state() == (0, "degraded", ["daemon-down"])
    assert "was stopped" in guarded.status()["problems"][0]["message"]


def test_killed_is_a_stall_after_its_grace(guarded: Guarded) -> None:
    guarded.daemon.kill()
    guarded.daemon.wait()
    assert not guarded.status()["daemon"]["running"]
    poll(lambda: guarded.state() == (20, "stalled", ["daemon-down"]), 15, every=0.3)
    assert "without saying so" in guarded.status()["problems"][0]["message"]


def test_hung_is_a_stall_after_its_grace(guarded: Guarded) -> None:
    guarded.daemon.send_signal(signal.SIGSTOP)
    poll(lambda: guarded.state() == (20, "stalled", ["daemon-down"]), 15, every=0.3)
    assert "has not answered" in guarded.status()["problems"][0]["message"]
    guarded.daemon.send_signal(signal.SIGCONT)
    poll(lambda: guarded.state() == (0, "ok", []), 15, every=0.3)


def test_a_save_while_it_hangs_is_a_gap_or_worse_never_fine(guarded: Guarded) -> None:
    guarded.daemon.send_signal(signal.SIGSTOP)
    (guarded.folder / "a.ipynb").write_bytes(notebook_bytes("a = 2"))
    poll(lambda: guarded.state()[0] == 20, 15, every=0.3)
    status = guarded.status()
    assert status["protected"] == 0
    assert status["oldest_unprotected_seconds"] > 0
    assert {"daemon-down", "not-kept"} <= {problem["code"] for problem in status["problems"]}


def test_a_second_daemon_is_refused_and_the_first_goes_on(guarded: Guarded) -> None:
    assert nbguard("run").code == 11
    assert guarded.state() == (0, "ok", [])


def test_a_root_that_goes_is_named_and_comes_back_by_itself(guarded: Guarded) -> None:
    away = guarded.folder.with_name("away")
    guarded.folder.rename(away)
    poll(lambda: "root-gone" in guarded.state()[2], 15, every=0.3)
    assert nbguard("list", "--deleted", "--json").json == []
    away.rename(guarded.folder)
    poll(lambda: "root-gone" not in guarded.state()[2], 30, every=0.3)


def test_first_versions_are_versions_too(guarded: Guarded) -> None:
    poll(lambda: "; 1 version kept since then" in nbguard("status").out, 10, every=0.2)
