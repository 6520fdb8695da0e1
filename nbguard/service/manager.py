"""What a service manager does for us, whichever it is, and how it is asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nbguard.durable import make_private_folder, replace_durably
from nbguard.errors import storage_trouble

_PATIENCE_SECONDS = 150.0  # `start` of a unit of Type=notify ends when the daemon is ready

# What decides where our files and Jupyter's are: the service must see it as the person at the terminal does.
_CARRIED = (
    "NBGUARD_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
)
_USUAL_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command of the manager said: exit code (127 when there is none), stdout, stderr."""

    code: int
    out: str
    err: str


Ask = Callable[[Sequence[str]], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerReport:
    """One of the two checks as the manager has it. ``last_seconds`` ago it ran last (None: never since the manager
    started, or unknown); ``result`` is what the manager says of that run, ``success`` when it could give its answer."""

    name: str
    enabled: bool
    active: bool
    result: str
    last_seconds: float | None
    command_exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """The service as its manager has it. ``lingers`` is None where nothing like it exists; ``wanted`` says that it was
    installed and never uninstalled, so that a part that is missing or does not run is a finding."""

    manager: str
    installed: bool
    enabled: bool
    active: bool
    state: str
    pid: int | None
    restarts: int
    unit_path: str
    command_exists: bool
    lingers: bool | None
    wanted: bool = False
    up_to_date: bool = True
    checkers: tuple[CheckerReport, ...] = ()

    def is_well(self) -> bool:
        """Whether every part is enabled, there, and runs when it should, also after a logout."""
        parts = all(one.enabled and one.active and one.command_exists for one in self.checkers)
        return self.active and self.enabled and self.command_exists and self.lingers is not False and parts


class Manager(Protocol):
    """systemd's user manager, or launchd."""

    def install(self, *, restart: bool = False) -> list[str]:
        """Put daemon, checks and alert there, start them, and ask whether they run; returns what could not be done.

        Idempotent: an older unit is replaced, and restarted only if it changed; ``restart`` starts the daemon anew in
        any case (another version of nbguard runs). Raises StorageTrouble when something of ours cannot be written.
        """

    def uninstall(self) -> list[str]:
        """Stop it and leave nothing of it behind; returns what could not be done. The archive is not touched."""

    def restart(self) -> list[str]:
        """Kill the daemon if it hangs, and start it again; returns what could not be done."""

    def report(self) -> ServiceReport:
        """What the manager says now."""

    def logs_command(self, lines: int, *, follow: bool) -> Sequence[str] | None:
        """The command that prints the service's log; None when it is nbguard's own log file."""


def asking(environment: Mapping[str, str]) -> Ask:
    """Run a manager's command in that environment; it never asks a question back."""

    def ask(command: Sequence[str]) -> Answer:
        try:
            done = subprocess.run(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            return Answer(127, "", f"{command[0]} is not installed")
        except (OSError, subprocess.TimeoutExpired) as error:
            return Answer(126, "", str(error))
        out, err = (said.decode("utf-8", "replace").strip() for said in (done.stdout, done.stderr))
        return Answer(done.returncode, out, err)

    return ask


def carried_environment(environment: Mapping[str, str], git: str | None) -> dict[str, str]:
    """What the service needs of this environment; PATH only when git lies off the usual one."""
    carried = {name: os.path.abspath(environment[name]) for name in _CARRIED if environment.get(name)}
    if git is not None and os.path.dirname(git) not in _USUAL_PATH:
        carried["PATH"] = ":".join((os.path.dirname(git), *_USUAL_PATH))
    return carried


def put_in_place(path: str, data: bytes) -> bool:
    """Write a unit or an agent durably, readable by all and writable by us alone; False when it is there already.

    Raises StorageTrouble.
    """
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return False
    except OSError:
        pass  # not there yet, or not to be read: it is written anew
    try:
        make_private_folder(os.path.dirname(path))
        replace_durably(path, data, mode=0o644)
    except OSError as error:
        raise storage_trouble(error, f"writing {path}") from error
    return True


def said(answer: Answer) -> str:
    """The first line of what a command answered, for a message."""
    return (answer.err or answer.out or f"exit code {answer.code}").splitlines()[0]
