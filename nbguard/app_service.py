"""A further page of the composition root: the service manager of this machine, and what it is to run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError
from nbguard.places import last_resort
from nbguard.settings import Settings

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.model import Heartbeat
    from nbguard.service.last_words import Way
    from nbguard.service.manager import Manager
    from nbguard.service.memory import Memory
    from nbguard.settings import Channel


_STALE_SECONDS = 180.0
_HUNG_SECONDS = 120.0


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


def look_after(context: Context, *, light: bool) -> list[str]:
    """What a check does for the service besides looking: the light one ends a daemon that hangs where nobody else does,
    the whole one keeps the alert unit's script as the configuration has it. Returns what could not be done."""
    try:
        if light:
            return end_hung_daemon(context)
        prepare_last_words(context)
    except NbguardError as error:
        return [error.message]
    return []


def end_hung_daemon(context: Context, platform: str = sys.platform) -> list[str]:
    """Where the service manager has no watchdog (launchd): kill a daemon that lives and does not beat any more, and
    start it again. Returns what could not be done; elsewhere nothing is."""
    from nbguard.clock import SystemClock
    from nbguard.health.heartbeat import read_heartbeat
    from nbguard.processes import boot_id, is_alive

    beat = read_heartbeat(context.places.heartbeat)
    if platform != "darwin" or beat is None or not os.path.lexists(context.places.service_marker):
        return []
    if not hangs(beat, boot=boot_id(), monotonic=SystemClock().monotonic(), alive=is_alive(beat.pid)):
        return []
    return manager_of(context).restart()


def hangs(beat: Heartbeat, *, boot: str, monotonic: float, alive: bool) -> bool:
    """Whether a daemon of this boot is there and has not beaten for two minutes in which the machine was awake (on a
    Mac the monotonic clock stands still in sleep): what systemd's watchdog would end."""
    if beat.stopped or not alive or beat.boot != boot or beat.beat_monotonic is None:
        return False
    return monotonic - beat.beat_monotonic > _HUNG_SECONDS


def prepare_last_words(context: Context) -> None:
    """Write down, in the emergency place, how the alert unit reaches people without nbguard: what the configured
    channels hold, readable by this user alone. Channels whose secret stands elsewhere (``env:``, ``file:``) are not in
    it. Nothing is written while no service is wanted, nor while there is no configuration.

    Raises StorageTrouble, Refused.
    """
    from nbguard.durable import make_private_folder, replace_durably, unlink_quietly
    from nbguard.errors import storage_trouble
    from nbguard.places import check_private
    from nbguard.service.last_words import script
    from nbguard.service.memory import CHANNELS_SCRIPT

    places, settings = context.places, context.settings
    if settings is None or not os.path.lexists(places.service_marker):
        return
    path = os.path.join(places.emergency, CHANNELS_SCRIPT)
    data = script([way for channel in settings.channels if (way := _way(channel)) is not None])
    try:
        if not data:
            unlink_quietly(path)
            return
        make_private_folder(places.emergency)
        check_private(places.emergency)
        if _read(path) != os.fsencode(data):
            replace_durably(path, os.fsencode(data))
    except OSError as error:
        raise storage_trouble(error, f"writing {path}") from error


def _way(channel: Channel) -> Way | None:
    """How a channel is used without nbguard; None where only nbguard can."""
    from nbguard.alert.mail_address import read_mail_address
    from nbguard.alert.route import BadChannel
    from nbguard.service.last_words import Mail, Run, post_of

    if channel.command:
        return Run(words=channel.command)
    if channel.url.lower().rstrip("/") == "wall:":
        return Run(words=("wall",))
    if not channel.url.lower().startswith(("mailto:", "mailtos:")):
        return post_of(channel.url)
    try:
        address = read_mail_address(channel.url)
    except BadChannel:
        return None
    return Mail(
        server=address.server,
        port=address.port,
        encryption=str(address.encryption),
        sender=address.sender,
        recipient=address.recipient,
        user=address.user,
        password=address.password,
        verify=address.verify,
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


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
    """Whether the daemon that runs is another nbguard than this one, or has not read the configuration as it is now: a
    unit that did not change would go on with it."""
    from nbguard import __version__
    from nbguard.health.heartbeat import read_heartbeat

    beat = read_heartbeat(context.places.heartbeat)
    if beat is None or beat.stopped:
        return False
    try:
        is_changed = os.stat(context.places.config).st_mtime > beat.since.timestamp()
    except OSError:
        is_changed = False
    return is_changed or beat.version != __version__


def daemon_command(context: Context) -> list[str]:
    """What starts nbguard, without its command: this interpreter, whatever lies in the working folder (``-P``)."""
    options = ["--config", os.path.abspath(context.config)] if context.config else []
    return [sys.executable, "-P", "-m", "nbguard", *options]


def _instead(context: Context) -> str:
    from nbguard.service.crontab import crontab

    home = os.path.abspath(context.home) if context.home else None
    lines = crontab(daemon_command(context), home=home, checks=(context.settings or Settings()).checks)
    return "\n".join(["run it yourself (in tmux, under another supervisor), or put this into `crontab -e`:", *lines])
