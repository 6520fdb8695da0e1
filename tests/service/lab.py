"""A real systemd as PID 1 in a throw-away overlay of this machine: boots in a second, and forgets everything.

A home and the list of who lingers survive a reboot (the same lab booted again). Needs root and systemd-nspawn.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers import poll

UID = 4711
USER = "nbada"
# What runs nbguard; the interpreter below it, where this one is a virtual environment of that.
_PROGRAM = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parent.parent.parent)


def needed() -> None:
    """Skip where it cannot be had."""
    if os.getuid() != 0:
        pytest.skip("needs root: a container with a systemd of its own")
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn (Debian: systemd-container)")


class Lab:
    """One machine that can be switched on and off; ``home`` is the home of its one unprivileged user."""

    def __init__(self, base: Path) -> None:
        self._root = base / "root"
        self.home = base / "home"
        self.linger = base / "linger"
        for folder in (self._root, self.home, self.linger):
            folder.mkdir(parents=True)
        os.chown(self.home, UID, UID)
        self.home.chmod(0o700)
        self._said = base / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Switch it on; returns when systemd answers."""
        machine = f"lab{os.getpid()}"
        command = [
            *("systemd-nspawn", "--quiet", f"--directory={self._root}", "--volatile=overlay", "--boot"),
            *("--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--resolv-conf=off"),
            *("--timezone=off", "--console=pipe", f"--machine={machine}"),
            f"--bind={self.home}:/home/{USER}",
            f"--bind={self.linger}:/var/lib/systemd/linger",
            *_hidden(),
            *("systemd.unit=basic.target", "systemd.mask=systemd-timesyncd.service"),
        ]
        # Disks that other tests mount would live on in here after they were unmounted out there.
        others = "grep -oE ' /(tmp|var/tmp)/[^ ]+' /proc/self/mounts | xargs -r umount -l;"
        script = f'{others} mount --bind / {self._root} && exec "$@"'
        with open(self._said, "ab") as said:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._leader = poll(self._find_leader, 30, every=0.05)
        poll(lambda: self.root("systemctl", "is-system-running").out in ("running", "degraded"), 60, every=0.1)
        # The interpreter may lie in the home of whoever runs the tests; this opens it in the overlay alone.
        self.root(
            "chmod", "a+x", os.path.expanduser("~root"), *(str(part) for path in _PROGRAM for part in path.parents)
        )
        if self.root("id", USER).code != 0:
            done = self.root("useradd", "--uid", str(UID), "--no-create-home", "--shell", "/bin/bash", USER)
            assert done.code == 0, done
        poll(lambda: self.root("loginctl", "list-users").code == 0, 30, every=0.1)

    def off(self) -> None:
        """Switch it off, and wait until it is."""
        if self._process is None:
            return
        os.kill(self._leader, signal.SIGRTMIN + 4)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.kill(self._leader, signal.SIGKILL)
            self._process.wait(20)
        self._process = None

    def root(self, *command: str, timeout: float = 120) -> Said:
        """Run a command as its root."""
        inside = ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        return _run([*inside, "env", "-i", "-C", "/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command], timeout)

    def user(self, *command: str, timeout: float = 120) -> Said:
        """Run a command as its user, as a login with a user manager would."""
        environment = [
            f"HOME=/home/{USER}",
            f"USER={USER}",
            "PATH=/usr/bin:/bin",
            f"XDG_RUNTIME_DIR=/run/user/{UID}",
            "LC_ALL=C.UTF-8",
        ]
        dropped = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups", "env", "-i", *environment]
        return self.root(*dropped, "sh", "-c", f'cd /home/{USER} && exec "$@"', "sh", *command, timeout=timeout)

    def login(self) -> None:
        """Start the user's manager, as a login does."""
        assert self.root("systemctl", "start", f"user@{UID}.service").code == 0
        poll(lambda: self.user("systemctl", "--user", "show-environment").code == 0, 30, every=0.1)

    def logout(self) -> None:
        """End the user's manager, as the last logout does."""
        assert self.root("systemctl", "stop", f"user@{UID}.service").code == 0

    def _find_leader(self) -> int:
        """The process that is PID 1 inside: the child of nspawn."""
        assert self._process is not None
        assert self._process.poll() is None, self._said.read_text(errors="replace")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return 0


def _hidden() -> list[str]:
    """What lies in /tmp out there, where the machine in here has an empty one."""
    return [f"--bind-ro={path}" for path in _PROGRAM if path.is_relative_to("/tmp")]


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out.strip(), err.strip()

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def _run(command: Sequence[str], timeout: float) -> Said:
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
        start_new_session=True,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
