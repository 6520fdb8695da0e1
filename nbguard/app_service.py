"""A further page of the composition root: the service manager of this machine, and what it is to run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.service.manager import Manager


class NoManager(NbguardError):
    """There is no service manager here that nbguard knows."""

    code = "no-service-manager"


def manager_of(context: Context) -> Manager:
    """systemd's user manager, or launchd on macOS. Raises NoManager with what to do instead."""
    return _launchd(context) if sys.platform == "darwin" else _systemd(context)


def _systemd(context: Context) -> Manager:
    import pwd
    import shutil

    from nbguard.service import systemd
    from nbguard.service.manager import asking, carried_environment
    from nbguard.service.templates import template

    user = pwd.getpwuid(os.getuid()).pw_name
    ask = asking(systemd.bus_environment(os.environ, os.getuid()))
    if not systemd.is_here(ask):
        raise NoManager("no systemd user manager answers here", hint=_instead(context))
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return systemd.SystemdUser(
        ask,
        folder=os.path.join(home, "systemd", "user"),
        state=context.places.state,
        user=user,
        template=template("systemd", "nbguard.service"),
        command=daemon_command(context),
        environment=carried_environment(os.environ, shutil.which("git")),
    )


def _launchd(context: Context) -> Manager:
    import shutil
    import time

    from nbguard.service import launchd
    from nbguard.service.manager import asking, carried_environment
    from nbguard.service.templates import template

    return launchd.LaunchdAgent(
        asking(os.environ),
        folder=os.path.join(os.path.expanduser("~"), "Library", "LaunchAgents"),
        uid=os.getuid(),
        template=template("launchd", launchd.TEMPLATE),
        command=daemon_command(context),
        environment=carried_environment(os.environ, shutil.which("git")),
        wait=time.sleep,
    )


def daemon_command(context: Context) -> list[str]:
    """What starts nbguard, without its command: this interpreter, whatever lies in the working folder (``-P``)."""
    options = ["--config", os.path.abspath(context.config)] if context.config else []
    return [sys.executable, "-P", "-m", "nbguard", *options]


def _instead(context: Context) -> str:
    import shlex

    command = shlex.join([*daemon_command(context), "run"])
    home = f"NBGUARD_HOME={shlex.quote(os.path.abspath(context.home))} " if context.home else ""
    return (
        f"run it yourself (in tmux, under another supervisor), or put this into `crontab -e`: @reboot {home}{command}"
    )
