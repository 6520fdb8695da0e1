"""systemd's user manager: a unit of our own, enabled, started, and asked whether that is so."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from nbguard.durable import make_private_folder, replace_durably, unlink_quietly
from nbguard.errors import storage_trouble
from nbguard.service.manager import Answer, Ask, ServiceReport, put_in_place, said
from nbguard.service.units import UNIT, render

_WE_LINGER = "linger-by-nbguard"


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
    """``folder`` is where the user's units lie; ``state`` is ours: there we remember that lingering is our doing."""

    def __init__(
        self,
        ask: Ask,
        *,
        folder: str,
        state: str,
        user: str,
        template: str,
        command: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self._ask = ask
        self._path = os.path.join(folder, UNIT)
        self._note = os.path.join(state, _WE_LINGER)
        self._user = user
        self._template = template
        self._command = tuple(command)
        self._environment = dict(environment)

    def install(self) -> list[str]:
        """As in Manager. Raises StorageTrouble when the unit cannot be written."""
        unit = render(self._template, command=self._command, environment=self._environment).encode("utf-8")
        changed = put_in_place(self._path, unit)
        missing = self._each(["daemon-reload"], ["enable", UNIT])
        if not missing:
            verb = "restart" if changed else "start"
            missing += self._each([verb, UNIT])
        missing += self._linger()
        report = self.report()
        if not report.enabled:
            missing.append(f"{UNIT} is not enabled")
        if not report.active:
            missing.append(f"{UNIT} is {report.state}, not active: see `nbguard service logs`")
        return missing

    def uninstall(self) -> list[str]:
        """As in Manager."""
        missing = []
        if os.path.lexists(self._path) or self.report().enabled:
            missing += self._each(["disable", "--now", UNIT])
        try:
            unlink_quietly(self._path)
        except OSError as error:
            missing.append(f"{self._path}: {error.strerror}")
        missing += self._each(["daemon-reload"])
        self._systemctl("reset-failed", UNIT)  # an error when there is nothing to reset
        if os.path.exists(self._note):
            answer = self._ask(["loginctl", "disable-linger", self._user])
            if answer.code != 0:
                missing.append(f"lingering is still on: {said(answer)}")
            else:
                unlink_quietly(self._note)
        if self.report().active:
            missing.append(f"{UNIT} still runs")
        return missing

    def report(self) -> ServiceReport:
        """As in Manager."""
        shown = _properties(
            self._systemctl(
                "show", UNIT, "--property=ActiveState,SubState,UnitFileState,MainPID,NRestarts,LoadState,FragmentPath"
            ).out
        )
        pid, restarts = shown.get("MainPID", "0"), shown.get("NRestarts", "0")
        active = shown.get("ActiveState", "unknown")
        return ServiceReport(
            manager="systemd",
            installed=os.path.isfile(self._path),
            enabled=shown.get("UnitFileState") == "enabled",
            active=active == "active",
            state=f"{active} ({shown.get('SubState', '?')})",
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
            restarts=int(restarts) if restarts.isdigit() else 0,
            unit_path=self._path,
            command_exists=os.access(self._command[0], os.X_OK),
            lingers=self._lingers(),
        )

    def logs_command(self, lines: int, *, follow: bool) -> Sequence[str] | None:
        """As in Manager."""
        following = ["--follow"] if follow else ["--no-pager"]
        return ["journalctl", "--user", "--unit", UNIT, "--lines", str(lines), *following]

    def _linger(self) -> list[str]:
        """Without lingering, the last logout ends the daemon, and no boot starts it."""
        if self._lingers():
            return []
        try:
            make_private_folder(os.path.dirname(self._note))
            replace_durably(self._note, b"turned on by nbguard service install\n")
        except OSError as error:
            raise storage_trouble(error, f"writing {self._note}") from error
        answer = self._ask(["loginctl", "enable-linger", self._user])
        if self._lingers():
            return []
        unlink_quietly(self._note)
        why = said(answer) if answer.code else "it is still off"
        return [
            f"nbguard ends when you log out, and no boot starts it: lingering could not be turned on ({why}); "
            f"ask an administrator for `loginctl enable-linger {self._user}`"
        ]

    def _lingers(self) -> bool:
        return self._ask(["loginctl", "show-user", self._user, "--property=Linger"]).out == "Linger=yes" or (
            os.path.exists(os.path.join("/var/lib/systemd/linger", self._user))
        )

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
