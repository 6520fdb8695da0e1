"""A further page of the composition root: the service manager of this machine, and what it is to run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError
from nbguard.settings import Settings

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.service.manager import Manager
    from nbguard.service.memory import Memory


_STALE_SECONDS = 180.0


class NoManager(NbguardError):
    """There is no service manager here that nbguard knows."""

    code = "no-service-manager"


def manager_of(context: Context) -> Manager:
    """systemd's user manager, or launchd on macOS. Raises NoManager with what to do instead."""
    return _launchd(context) if sys.platform == "darwin" else _systemd(context)


def _systemd(context: Context) -> Manager:
    import pwd
    import shutil

    from nbguard.service import systemd, units
    from nbguard.service.manager import asking, carried_environment
    from nbguard.service.templates import template

    user = pwd.getpwuid(os.getuid()).pw_name
    ask = asking(systemd.bus_environment(os.environ, os.getuid()))
    if not systemd.is_here(ask):
        raise NoManager("no systemd user manager answers here", hint=_instead(context))
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    checks = (context.settings or Settings()).checks

    def texts() -> dict[str, str]:
        filling = units.Filling(
            command=daemon_command(context),
            environment=carried_environment(os.environ, shutil.which("git")),
            places=(context.places.emergency, last_resort()),
            light_seconds=checks.light_seconds,
            full_seconds=checks.full_seconds,
        )
        return units.render_all(lambda name: template("systemd", name), filling)

    folder = os.path.join(home, "systemd", "user")
    return systemd.SystemdUser(ask, folder=folder, memory=_memory(context), user=user, units=texts)


def _launchd(context: Context) -> Manager:
    import shutil
    import time

    from nbguard.service import launchd
    from nbguard.service.manager import asking, carried_environment
    from nbguard.service.templates import template

    checks = (context.settings or Settings()).checks
    return launchd.LaunchdAgents(
        asking(os.environ),
        folder=os.path.join(os.path.expanduser("~"), "Library", "LaunchAgents"),
        memory=_memory(context),
        uid=os.getuid(),
        agents=launchd.agents_of(
            lambda name: template("launchd", name),
            daemon_command(context),
            light_seconds=checks.light_seconds,
            full_seconds=checks.full_seconds,
        ),
        environment=carried_environment(os.environ, shutil.which("git")),
        wait=time.sleep,
    )


def _memory(context: Context) -> Memory:
    from nbguard.clock import SystemClock
    from nbguard.processes import boot_id
    from nbguard.service.memory import Memory

    return Memory(places=context.places, last_resort=last_resort(), clock=SystemClock(), boot=boot_id())


def last_resort() -> str:
    """Where the alert unit leaves its notes when the emergency place is gone as well."""
    from nbguard.places import open_to_all

    return os.path.join(open_to_all(), f"nbguard-{os.getuid()}-alerts")


def prompt_lines(context: Context, *, login: bool) -> str:
    """What a person may add to a start-up file of their shell."""
    from nbguard.service.units import SERVICES, note_of
    from nbguard.surfaces.shell import Signs, lines

    places, intervals = context.places, (context.settings or Settings()).intervals
    signs = Signs(
        state=places.state,
        heartbeat=places.heartbeat,
        notice=places.notice,
        stop=places.stop,
        notes=[note_of(unit, folder) for folder in (places.emergency, last_resort()) for unit in SERVICES],
        emergency=places.emergency,
        stale_seconds=max(_STALE_SECONDS, 6 * intervals.heartbeat_seconds),
    )
    return lines(signs, login=login)


def is_older(context: Context) -> bool:
    """Whether the daemon that runs is another nbguard than this one: a unit that did not change would go on with it."""
    from nbguard import __version__
    from nbguard.health.heartbeat import read_heartbeat

    beat = read_heartbeat(context.places.heartbeat)
    return beat is not None and not beat.stopped and beat.version != __version__


def daemon_command(context: Context) -> list[str]:
    """What starts nbguard, without its command: this interpreter, whatever lies in the working folder (``-P``)."""
    options = ["--config", os.path.abspath(context.config)] if context.config else []
    return [sys.executable, "-P", "-m", "nbguard", *options]


def _instead(context: Context) -> str:
    from nbguard.service.crontab import crontab

    home = os.path.abspath(context.home) if context.home else None
    lines = crontab(daemon_command(context), home=home, checks=(context.settings or Settings()).checks)
    return "\n".join(["run it yourself (in tmux, under another supervisor), or put this into `crontab -e`:", *lines])
