"""nbguard as a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_START_SECONDS = 120.0


def command(*arguments: str) -> list[str]:
    """argv of nbguard: the script beside this Python, as pip put it there."""
    script = os.path.join(os.path.dirname(sys.executable), "nbguard")
    return [script, *arguments] if os.path.exists(script) else [sys.executable, "-m", "nbguard", *arguments]


def environment(home: str) -> dict[str, str]:
    """For nbguard under ``home``. Bytecode is kept, as it is where pip has installed it."""
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    return {key: value for key, value in os.environ.items() if key not in dropped} | {"NBGUARD_HOME": home}


def ask(home: str, *arguments: str) -> bytes:
    """Run a command to its end; its stdout. Raises CalledProcessError."""
    done = subprocess.run(
        command(*arguments),
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return done.stdout


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A running `nbguard run`."""

    pid: int
    home: str

    def heartbeat(self) -> dict[str, object]:
        """What it last said of itself; {} before the first."""
        try:
            with open(os.path.join(self.home, "state", "heartbeat.json"), encoding="ascii") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def spooled(self) -> list[str]:
        """The names of drafts that wait to be packed."""
        return os.listdir(os.path.join(self.home, "spool", "new"))


@contextmanager
def daemon(home: str, desk: str) -> Iterator[DaemonProcess]:
    """`nbguard run` until the block ends; entered once it has swept its root."""
    with subprocess.Popen(
        command("run", "--watch", desk),
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            running = DaemonProcess(process.pid, home)
            wait_for(lambda: _has_swept(running.heartbeat()), _START_SECONDS, "the first sweep")
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(is_true: Callable[[], bool], seconds: float, what: str, every: float = 0.05) -> float:
    """Look again and again; how long it took. Raises TimeoutError."""
    began = time.monotonic()
    while not is_true():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"no {what} within {seconds:.0f} s")
        time.sleep(every)
    return time.monotonic() - began


def _has_swept(heartbeat: dict[str, object]) -> bool:
    roots = heartbeat.get("roots")
    return isinstance(roots, list) and bool(roots) and all(root["last_sweep_at"] is not None for root in roots)
