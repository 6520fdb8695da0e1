"""launchd: an agent of this user. By the documented and reported protocol of launchctl only; no Mac was at hand.

Sources: launchd.plist(5), launchctl(1). Reported exit codes: 3 bootout of nothing, 5 bootstrap of a job that is still
loaded, 113 no such job, 125 (or 112) the domain cannot be had (over SSH: then user/UID stands in for gui/UID).
"""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Callable, Mapping, Sequence

from nbguard.durable import unlink_quietly
from nbguard.errors import Refused
from nbguard.service.manager import Answer, Ask, ServiceReport, put_in_place, said

LABEL = "org.nbguard.daemon"
TEMPLATE = f"{LABEL}.plist"
_LEAVING_SECONDS = 70.0  # ExitTimeOut, and a little
_LOOK_SECONDS = 0.5


def agent(template: str, *, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """The agent's property list. Raises Refused for words that XML cannot hold."""
    values = plistlib.loads(template.encode("utf-8"))
    words = [*command, *environment.values()]
    if any(not word.isprintable() for word in words):
        raise Refused("a path with control characters cannot stand in a property list", hint="use another path")
    values["ProgramArguments"] = [*command, "run"]
    if environment:
        values["EnvironmentVariables"] = dict(environment)
    return plistlib.dumps(values)


class LaunchdAgent:
    """``folder`` is the user's LaunchAgents; ``wait`` sleeps seconds (bootout ends before the job has left)."""

    def __init__(
        self,
        ask: Ask,
        *,
        folder: str,
        uid: int,
        template: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        wait: Callable[[float], None],
    ) -> None:
        self._ask = ask
        self._path = os.path.join(folder, TEMPLATE)
        self._uid = uid
        self._template = template
        self._command = tuple(command)
        self._environment = dict(environment)
        self._wait = wait

    def install(self) -> list[str]:
        """As in Manager. Raises StorageTrouble when the agent cannot be written."""
        data = agent(self._template, command=self._command, environment=self._environment)
        changed = put_in_place(self._path, data)
        domain = self._domain()
        if self._is_loaded(domain):
            if not changed and self.report().active:
                return []
            missing = self._leave(domain)
            if missing:
                return missing
        answer = self._ask(["launchctl", "bootstrap", domain, self._path])
        if answer.code != 0:
            return [f"launchctl bootstrap {domain}: {said(answer)}"]
        self._ask(["launchctl", "enable", f"{domain}/{LABEL}"])
        report = self.report()
        return [] if report.active else [f"{LABEL} is {report.state}, not running: see `nbguard service logs`"]

    def uninstall(self) -> list[str]:
        """As in Manager."""
        missing = []
        for domain in self._domains():
            if self._is_loaded(domain):
                missing += self._leave(domain)
        try:
            unlink_quietly(self._path)
        except OSError as error:
            missing.append(f"{self._path}: {error.strerror}")
        return missing

    def report(self) -> ServiceReport:
        """As in Manager."""
        said = next((answer for domain in self._domains() if (answer := self._print(domain)).code == 0), None)
        state = re.search(r"(?m)^\s*state = (.+?)\s*$", said.out) if said else None
        pid = re.search(r"(?m)^\s*pid = (\d+)\s*$", said.out) if said else None
        runs = re.search(r"(?m)^\s*runs = (\d+)\s*$", said.out) if said else None
        return ServiceReport(
            manager="launchd",
            installed=os.path.isfile(self._path),
            enabled=said is not None,
            active=state is not None and state[1] == "running",
            state=state[1] if state else "not loaded",
            pid=int(pid[1]) if pid else None,
            restarts=max(0, int(runs[1]) - 1) if runs else 0,
            unit_path=self._path,
            command_exists=os.access(self._command[0], os.X_OK),
            lingers=None,
        )

    def logs_command(self, lines: int, *, follow: bool) -> Sequence[str] | None:
        """As in Manager: nbguard's own log file."""
        del lines, follow
        return None

    def _leave(self, domain: str) -> list[str]:
        """Take the job out, and wait until it is: a bootstrap before that fails with 5."""
        answer = self._ask(["launchctl", "bootout", f"{domain}/{LABEL}"])
        waited = 0.0
        while self._is_loaded(domain):
            if waited >= _LEAVING_SECONDS:
                return [f"launchctl bootout {domain}/{LABEL}: it does not end ({said(answer)})"]
            self._wait(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        return []

    def _domains(self) -> tuple[str, str]:
        return f"gui/{self._uid}", f"user/{self._uid}"

    def _domain(self) -> str:
        gui, user = self._domains()
        return gui if self._ask(["launchctl", "print", gui]).code == 0 else user

    def _is_loaded(self, domain: str) -> bool:
        return self._print(domain).code == 0

    def _print(self, domain: str) -> Answer:
        return self._ask(["launchctl", "print", f"{domain}/{LABEL}"])
