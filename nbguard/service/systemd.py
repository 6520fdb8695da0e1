"""systemd's user manager: our units, enabled, started, and asked whether that is so."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from nbguard.durable import unlink_quietly
from nbguard.errors import Refused
from nbguard.service.manager import Answer, Ask, CheckerReport, ServiceReport, put_in_place, said
from nbguard.service.memory import Memory
from nbguard.service.units import ALERT, CHECK, CHECK_TIMER, DAEMON, LIGHT, LIGHT_TIMER, SERVICES, TIMERS, UNITS

_SHOWN = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ExecStart",
)
_INSTANCES = "nbguard-alert@*"


def is_here(ask: Ask) -> bool:
    """Whether this user has a manager that answers."""
    return ask(["systemctl", "--user", "show-environment"]).code == 0


def bus_environment(environment: Mapping[str, str], uid: int) -> dict[str, str]:
    """The environment in which systemctl finds the user's manager, also under su, sudo and cron."""
    found = dict(environment)
    runtime = found.setdefault("XDG_RUNTIME_DIR", f"/run/user/{uid}")
    found.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
    return {**found, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


class SystemdUser:
    """``folder`` is where the user's units lie; ``units`` gives their texts by name, and may raise Refused."""

    def __init__(
        self, ask: Ask, *, folder: str, memory: Memory, user: str, units: Callable[[], Mapping[str, str]]
    ) -> None:
        self._ask = ask
        self._folder = folder
        self._memory = memory
        self._user = user
        self._units = units

    def install(self, *, restart: bool = False) -> list[str]:
        """As in Manager."""
        texts = self._units()
        changed = {unit for unit in UNITS if put_in_place(self._path(unit), texts[unit].encode("utf-8"))}
        self._memory.want("systemd")
        missing = self._each(["daemon-reload"], ["enable", DAEMON, *TIMERS])
        if not missing:
            missing += self._start(changed, restart=restart)
        missing += self._linger()
        return missing + self._not_so()

    def uninstall(self) -> list[str]:
        """As in Manager."""
        missing = []
        if self._memory.is_wanted or any(os.path.lexists(self._path(unit)) for unit in UNITS):
            self._memory.uninstalling()
            missing += self._each(["disable", "--now", *TIMERS], ["stop", CHECK, LIGHT], ["disable", "--now", DAEMON])
        for unit in UNITS:
            try:
                unlink_quietly(self._path(unit))
            except OSError as error:
                missing.append(f"{self._path(unit)}: {error.strerror}")
        missing += self._each(["daemon-reload"])
        for left in (*SERVICES, *TIMERS, _INSTANCES):
            self._systemctl("reset-failed", left)  # an error when there is nothing to reset
        missing += [
            f"{unit} still runs" for unit, shown in self._show().items() if shown.get("ActiveState") == "active"
        ]
        missing += self._memory.forget()
        return missing + self._linger_no_more()

    def restart(self) -> list[str]:
        """As in Manager."""
        with self._memory.upgrading():
            return self._each(["restart", DAEMON])

    def report(self) -> ServiceReport:
        """As in Manager."""
        shown = self._show()
        daemon = shown[DAEMON]
        pid, restarts = daemon.get("MainPID", "0"), daemon.get("NRestarts", "0")
        active = daemon.get("ActiveState", "unknown")
        return ServiceReport(
            manager="systemd",
            installed=os.path.isfile(self._path(DAEMON)),
            enabled=daemon.get("UnitFileState") == "enabled",
            active=active == "active",
            state=f"{active} ({daemon.get('SubState', '?')})",
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
            restarts=int(restarts) if restarts.isdigit() else 0,
            unit_path=self._path(DAEMON),
            command_exists=_command_exists(daemon),
            lingers=self._lingers(),
            wanted=self._memory.is_wanted,
            up_to_date=self._is_up_to_date(),
            checkers=tuple(
                self._checker(name, shown[service], shown[timer])
                for name, service, timer in (("check", CHECK, CHECK_TIMER), ("check --light", LIGHT, LIGHT_TIMER))
            ),
        )

    def logs_command(self, lines: int, *, follow: bool) -> Sequence[str] | None:
        """As in Manager."""
        following = ["--follow"] if follow else ["--no-pager"]
        units = [word for unit in (*SERVICES, _INSTANCES) for word in ("--unit", unit)]
        return ["journalctl", "--user", *units, "--lines", str(lines), *following]

    def _start(self, changed: set[str], *, restart: bool) -> list[str]:
        """Start what does not run; start anew what changed."""
        if restart or DAEMON in changed:
            with self._memory.upgrading():
                missing = self._each(["restart", DAEMON])
        else:
            missing = self._each(["start", DAEMON])
        for timer in TIMERS:
            missing += self._each(["restart" if timer in changed else "start", timer])
        return missing

    def _not_so(self) -> list[str]:
        """What was put there and asked for, and is not as it should be."""
        shown = self._show()
        missing = [
            f"{unit} is not enabled" for unit in (DAEMON, *TIMERS) if shown[unit].get("UnitFileState") != "enabled"
        ]
        for unit in (DAEMON, *TIMERS):
            if shown[unit].get("ActiveState") != "active":
                state = shown[unit].get("ActiveState", "unknown")
                missing.append(f"{unit} is {state}, not active: see `nbguard service logs`")
        loaded = [*SERVICES, ALERT.replace("@", f"@{DAEMON}")]
        for unit in loaded:
            state = self._systemctl("show", unit, "--property=LoadState", "--value").out
            if state != "loaded":
                missing.append(f"{unit} is {state or 'unknown'}, not loaded")
        return missing

    def _checker(self, name: str, service: Mapping[str, str], timer: Mapping[str, str]) -> CheckerReport:
        result, status = service.get("Result", "unknown"), service.get("ExecMainStatus", "0")
        at = max(_micro(service, "ExecMainExitTimestampMonotonic"), _micro(service, "ExecMainStartTimestampMonotonic"))
        return CheckerReport(
            name=name,
            enabled=timer.get("UnitFileState") == "enabled",
            active=timer.get("ActiveState") == "active",
            result=f"{result} {status}" if result == "exit-code" else result,
            last_seconds=self._memory.clock.monotonic() - at / 1e6 if at else None,
            command_exists=_command_exists(service),
        )

    def _is_up_to_date(self) -> bool:
        try:
            texts = self._units()
        except Refused:
            return False  # what cannot be written anew can still be asked
        return all(_text(self._path(unit)) == texts[unit] for unit in UNITS)

    def _linger(self) -> list[str]:
        """Without lingering, the last logout ends daemon, checks and every alert, and no boot starts them."""
        if self._lingers():
            return []
        self._memory.note_lingering()
        answer = self._ask(["loginctl", "enable-linger", self._user])
        if self._lingers():
            return []
        self._memory.forget_lingering()
        why = said(answer) if answer.code else "it is still off"
        return [
            f"nbguard ends when you log out, and no boot starts it: lingering could not be turned on ({why}); "
            f"ask an administrator for `loginctl enable-linger {self._user}`"
        ]

    def _linger_no_more(self) -> list[str]:
        if not self._memory.lingers_by_us:
            return []
        answer = self._ask(["loginctl", "disable-linger", self._user])
        if answer.code != 0:
            return [f"lingering is still on: {said(answer)}"]
        self._memory.forget_lingering()
        return []

    def _lingers(self) -> bool:
        return self._ask(["loginctl", "show-user", self._user, "--property=Linger"]).out == "Linger=yes" or (
            os.path.exists(os.path.join("/var/lib/systemd/linger", self._user))
        )

    def _show(self) -> dict[str, dict[str, str]]:
        """Properties of services and timers by unit, asked at once."""
        units = (*SERVICES, *TIMERS)
        answer = self._systemctl("show", *units, f"--property={','.join(_SHOWN)}")
        blocks = [_properties(block) for block in re.split(r"\n\s*\n", answer.out)]
        found = {block["Id"]: block for block in blocks if "Id" in block}
        return {unit: found.get(unit, {}) for unit in units}

    def _path(self, unit: str) -> str:
        return os.path.join(self._folder, unit)

    def _each(self, *commands: Sequence[str]) -> list[str]:
        for command in commands:
            answer = self._systemctl(*command)
            if answer.code != 0:
                return [f"systemctl --user {' '.join(command)}: {said(answer)}"]
        return []

    def _systemctl(self, *words: str) -> Answer:
        return self._ask(["systemctl", "--user", "--no-ask-password", *words])


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _micro(shown: Mapping[str, str], name: str) -> int:
    value = shown.get(name, "0")
    return int(value) if value.isdigit() else 0


def _command_exists(shown: Mapping[str, str]) -> bool:
    """Whether the program that the unit starts, as the manager has it, is there; a unit that is not loaded has none."""
    path = re.search(r"\{ path=(.*?) ; argv\[\]=", shown.get("ExecStart", ""))
    return path is not None and os.access(path[1], os.X_OK)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
