"""launchd: agents of this user. By the documented and reported protocol of launchctl only; no Mac was at hand.

Sources: launchd.plist(5), launchctl(1). Reported exit codes: 3 bootout of nothing, 5 bootstrap of a job that is still
loaded, 113 no such job, 125 (or 112) the domain cannot be had (over SSH: then user/UID stands in for gui/UID).
"""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.parsers.expat import ExpatError

from nbguard.durable import unlink_quietly
from nbguard.errors import Refused
from nbguard.service.manager import Answer, Ask, CheckerReport, ServiceReport, put_in_place, said
from nbguard.service.memory import Memory

LABEL = "org.nbguard.daemon"
CHECK_LABEL = "org.nbguard.check"
LIGHT_LABEL = "org.nbguard.check-light"
TEMPLATE = f"{LABEL}.plist"
CHECK_TEMPLATE = f"{CHECK_LABEL}.plist"
_LEAVING_SECONDS = 70.0  # ExitTimeOut, and a little
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent: its label, its template's text, the words of its command, and every how many seconds it is started
    (None: it runs all the time)."""

    label: str
    template: str
    command: Sequence[str]
    every_seconds: float | None = None


def agents_of(
    template: Callable[[str], str], command: Sequence[str], *, light_seconds: float, full_seconds: float
) -> tuple[Agent, ...]:
    """The daemon and both checks; ``template`` gives the text of one of ours by name."""
    check = template(CHECK_TEMPLATE)
    return (
        Agent(label=LABEL, template=template(TEMPLATE), command=[*command, "run"]),
        Agent(label=CHECK_LABEL, template=check, command=[*command, "check"], every_seconds=full_seconds),
        Agent(label=LIGHT_LABEL, template=check, command=[*command, "check", "--light"], every_seconds=light_seconds),
    )


def property_list(agent: Agent, environment: Mapping[str, str]) -> bytes:
    """The agent's property list. Raises Refused for words that XML cannot hold."""
    values = plistlib.loads(agent.template.encode("utf-8"))
    words = [*agent.command, *environment.values()]
    if any(not word.isprintable() for word in words):
        raise Refused("a path with control characters cannot stand in a property list", hint="use another path")
    values["Label"] = agent.label
    values["ProgramArguments"] = list(agent.command)
    if environment:
        values["EnvironmentVariables"] = dict(environment)
    if agent.every_seconds is not None:
        values["StartInterval"] = max(1, round(agent.every_seconds))
    return plistlib.dumps(values)


class LaunchdAgents:
    """``folder`` is the user's LaunchAgents; of ``agents`` the daemon's is the first; ``wait`` sleeps seconds (bootout
    ends before the job has left)."""

    def __init__(
        self,
        ask: Ask,
        *,
        folder: str,
        memory: Memory,
        uid: int,
        agents: Sequence[Agent],
        environment: Mapping[str, str],
        wait: Callable[[float], None],
    ) -> None:
        self._ask = ask
        self._folder = folder
        self._memory = memory
        self._uid = uid
        self._agents = tuple(agents)
        self._environment = dict(environment)
        self._wait = wait

    def install(self, *, restart: bool = False) -> list[str]:
        """As in Manager."""
        lists = {agent.label: property_list(agent, self._environment) for agent in self._agents}
        changed = {label for label, data in lists.items() if put_in_place(self._path(label), data)}
        self._memory.want("launchd")
        domain = self._domain()
        missing = []
        for agent in self._agents:
            is_daemon = agent.every_seconds is None
            anew = agent.label in changed or (is_daemon and restart)
            missing += self._load(agent, domain, anew=anew)
        report = self.report()
        if not missing and not report.active:
            missing.append(f"{LABEL} is {report.state}, not running: see `nbguard service logs`")
        return missing + [f"{check.name} is not loaded" for check in report.checkers if not check.active]

    def uninstall(self) -> list[str]:
        """As in Manager."""
        missing = []
        if self._memory.is_wanted or any(os.path.lexists(self._path(agent.label)) for agent in self._agents):
            self._memory.uninstalling()
        for agent in reversed(self._agents):  # the checks first: nobody is told of what is meant
            for domain in self._domains():
                if self._is_loaded(domain, agent.label):
                    missing += self._leave(domain, agent.label)
            try:
                unlink_quietly(self._path(agent.label))
            except OSError as error:
                missing.append(f"{self._path(agent.label)}: {error.strerror}")
        return missing + self._memory.forget()

    def restart(self) -> list[str]:
        """As in Manager: launchd has no watchdog, so that this is what ends a daemon that hangs."""
        for domain in self._domains():
            if self._is_loaded(domain, LABEL):
                answer = self._ask(["launchctl", "kickstart", "-k", f"{domain}/{LABEL}"])
                return [] if answer.code == 0 else [f"launchctl kickstart -k {domain}/{LABEL}: {said(answer)}"]
        return [f"{LABEL} is not loaded: run `nbguard service install`"]

    def report(self) -> ServiceReport:
        """As in Manager."""
        printed = self._printed(LABEL)
        state = re.search(r"(?m)^\s*state = (.+?)\s*$", printed or "")
        pid = re.search(r"(?m)^\s*pid = (\d+)\s*$", printed or "")
        runs = re.search(r"(?m)^\s*runs = (\d+)\s*$", printed or "")
        return ServiceReport(
            manager="launchd",
            installed=os.path.isfile(self._path(LABEL)),
            enabled=printed is not None,
            active=state is not None and state[1] == "running",
            state=state[1] if state else "not loaded",
            pid=int(pid[1]) if pid else None,
            restarts=max(0, int(runs[1]) - 1) if runs else 0,
            unit_path=self._path(LABEL),
            command_exists=self._command_exists(LABEL),
            lingers=None,
            wanted=self._memory.is_wanted,
            up_to_date=self._is_up_to_date(),
            checkers=tuple(self._checker(agent) for agent in self._agents if agent.every_seconds is not None),
        )

    def logs_command(self, lines: int, *, follow: bool) -> Sequence[str] | None:
        """As in Manager: nbguard's own log file."""
        del lines, follow
        return None

    def _load(self, agent: Agent, domain: str, *, anew: bool) -> list[str]:
        """Load an agent that is not loaded, or that changed; nothing happens to one that is as it should be."""
        if self._is_loaded(domain, agent.label):
            if not anew and (agent.every_seconds is not None or self.report().active):
                return []
            with self._memory.upgrading():
                missing = self._leave(domain, agent.label)
                return missing or self._bootstrap(domain, agent.label)
        return self._bootstrap(domain, agent.label)

    def _bootstrap(self, domain: str, label: str) -> list[str]:
        answer = self._ask(["launchctl", "bootstrap", domain, self._path(label)])
        if answer.code != 0:
            return [f"launchctl bootstrap {domain} ({label}): {said(answer)}"]
        self._ask(["launchctl", "enable", f"{domain}/{label}"])
        return []

    def _leave(self, domain: str, label: str) -> list[str]:
        """Take the job out, and wait until it is: a bootstrap before that fails with 5."""
        answer = self._ask(["launchctl", "bootout", f"{domain}/{label}"])
        waited = 0.0
        while self._is_loaded(domain, label):
            if waited >= _LEAVING_SECONDS:
                return [f"launchctl bootout {domain}/{label}: it does not end ({said(answer)})"]
            self._wait(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        return []

    def _checker(self, agent: Agent) -> CheckerReport:
        """launchctl says nothing of when a job ran last."""
        printed = self._printed(agent.label)
        code = re.search(r"(?m)^\s*last exit code = (.+?)\s*$", printed or "")
        answered = code is None or code[1].startswith("(") or code[1] in ("0", "11", "20", "21", "22")
        return CheckerReport(
            name=agent.label,
            enabled=printed is not None,
            active=printed is not None,
            result="success" if answered else f"exit-code {code[1] if code else ''}",
            last_seconds=None,
            command_exists=self._command_exists(agent.label),
        )

    def _command_exists(self, label: str) -> bool:
        try:
            with open(self._path(label), "rb") as file:
                words = plistlib.load(file)["ProgramArguments"]
            return os.access(words[0], os.X_OK)
        except (OSError, ValueError, KeyError, IndexError, TypeError, ExpatError):
            return False

    def _is_up_to_date(self) -> bool:
        for agent in self._agents:
            try:
                with open(self._path(agent.label), "rb") as file:
                    if file.read() != property_list(agent, self._environment):
                        return False
            except OSError:
                return False
        return True

    def _path(self, label: str) -> str:
        return os.path.join(self._folder, f"{label}.plist")

    def _domains(self) -> tuple[str, str]:
        return f"gui/{self._uid}", f"user/{self._uid}"

    def _domain(self) -> str:
        gui, user = self._domains()
        return gui if self._ask(["launchctl", "print", gui]).code == 0 else user

    def _is_loaded(self, domain: str, label: str) -> bool:
        return self._print(domain, label).code == 0

    def _printed(self, label: str) -> str | None:
        """What launchctl says of a job, in whichever domain it is; None when it is in none."""
        return next((said.out for domain in self._domains() if (said := self._print(domain, label)).code == 0), None)

    def _print(self, domain: str, label: str) -> Answer:
        return self._ask(["launchctl", "print", f"{domain}/{label}"])
