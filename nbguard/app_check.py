"""A further page of the composition root: the independent check, wired from the rooms."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.app_health import health_sources
from nbguard.app_proving import provers_of
from nbguard.errors import Busy, NbguardError
from nbguard.health.facts import ServiceFacts
from nbguard.health.memory import CHECKS_FILE
from nbguard.health.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbguard.alert.ping import Ping
    from nbguard.alerting import ChannelReport, MirrorReport, Weighed
    from nbguard.cli.context import Context
    from nbguard.durable import FileLock
    from nbguard.health.check import Checked
    from nbguard.service.manager import ServiceReport

LAST_SETTINGS = "config-last-good.toml"
_PATIENCE_SECONDS = 10.0
_MOST_BYTES = 4_000_000


def check_sources(context: Context, bad: NbguardError | None = None, *, light: bool = False) -> Sources:
    """Where `check` and `status` get their facts from; the light check asks no manager."""
    context = context if bad is None else with_last_settings(context)
    sources = health_sources(context, bad)
    marker = context.places.service_marker
    return replace(
        sources,
        service=lambda: _wanted(marker) if light else _service(context, marker),
        mirrors=lambda: _mirrors(context),
        channels=lambda: _channels(context),
        about_channels=lambda: _about_channels(context),
    )


def run_check(
    context: Context, bad: NbguardError | None, *, light: bool, sends: bool, say: Callable[[str], None]
) -> Checked:
    """One check: looked, judged, remembered, and (unless told otherwise) handed to the alert desk, which sends.

    Raises Busy when another check of the same kind does not end.
    """
    from nbguard.health.check import check_full, check_light

    context = context if bad is None else with_last_settings(context)
    lock = _lock(os.path.join(context.places.state, "check-light.lock" if light else "check.lock"))
    try:
        pinging = _begin_ping(context) if sends and not light else None
        sources = check_sources(context, bad, light=light)
        checked = check_light(sources) if light else check_full(sources, provers_of(context))
        if trouble := _remember(context, checked, light=light):
            say(f"what this check found could not be remembered: {trouble}")
    finally:
        if lock is not None:
            lock.release()
    if bad is None:
        _keep_settings(context)
    if sends and _is_set_up(context):
        _tell(context, checked)
    if pinging is not None:
        _end_ping(*pinging, checked, say)
    if sends and not light:
        _ask_mirrors(context)
    return checked


def _lock(path: str) -> FileLock | None:
    """Held while checking; None where no lock can be made (a full or read-only disk, or nothing set up): then we look
    without. Raises Busy."""
    from time import monotonic, sleep

    from nbguard.durable import FileLock

    lock, until = FileLock(path), monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            lock.acquire()
        except Busy:
            if monotonic() >= until:
                raise Busy("another check is at work", hint="wait for it, or see `nbguard status`") from None
            sleep(0.2)
        except OSError:
            return None
        else:
            return lock


def _remember(context: Context, checked: Checked, *, light: bool) -> str:
    """Write down what the next check needs to know; why it could not be. Two kinds of check share the file: each puts
    in what is its own."""
    from nbguard.durable import FileLock
    from nbguard.health.memory import read_memory, write_memory

    path, memory = os.path.join(context.places.state, CHECKS_FILE), checked.memory
    if not os.path.isdir(context.places.state):
        return ""
    try:
        with FileLock(os.path.join(context.places.state, "checks.lock")):
            other = read_memory(path)
            if light:
                memory = replace(
                    other,
                    light=memory.light,
                    light_in_row=memory.light_in_row,
                    looked=memory.looked,
                    woke_at=memory.woke_at,
                    jump=memory.jump,
                    told=tuple(dict.fromkeys((*other.told, *memory.told))),
                )
            else:
                memory = replace(memory, light=other.light, light_in_row=other.light_in_row)
            write_memory(path, memory)
    except (OSError, Busy) as error:
        return f"{path}: {error.strerror if isinstance(error, OSError) else error.message}"
    return ""


def _is_set_up(context: Context) -> bool:
    """Nothing is recorded, and nobody told, where nbguard was never set up."""
    places = context.places
    return any(os.path.exists(path) for path in (places.config, places.archive_marker, places.heartbeat))


def _keep_settings(context: Context) -> None:
    """A copy of the configuration while it can be used: with a broken one, people must be reached all the same."""
    from nbguard.durable import read_plain, replace_durably

    path = os.path.join(context.places.state, LAST_SETTINGS)
    try:
        data = read_plain(context.places.config, _MOST_BYTES)
        if not _holds(path, data):
            replace_durably(path, data)
    except OSError:
        return  # none is configured, or the disk refuses: the check says so itself


def _holds(path: str, data: bytes) -> bool:
    from nbguard.durable import read_plain

    try:
        return read_plain(path, _MOST_BYTES) == data
    except OSError:
        return False


def with_last_settings(context: Context) -> Context:
    """As it was with the last configuration that could be used: its folders, its channels. None may be known."""
    from nbguard.settings_reading import load_settings

    try:
        settings = load_settings(os.path.join(context.places.state, LAST_SETTINGS))
    except NbguardError:
        settings = None
    before = replace(context)
    before.__dict__["settings"] = settings
    return before


def _tell(context: Context, checked: Checked) -> None:
    """Record incidents and send what is due. Without settings nobody can be told, and the desk must not forget whom it
    would tell: then the daemon, which read the configuration when it was whole, sends."""
    from nbguard.app_alert import tell

    if context.settings is None and checked.report.facts.bad_configuration is not None:
        return
    tell(context, checked.observation)


def _ask_mirrors(context: Context) -> None:
    """What people answered on other machines, and how they stand there."""
    if context.settings is not None and context.settings.mirrors and context.settings.channels:
        from nbguard.app_elsewhere import exchange

        exchange(context)


def _begin_ping(context: Context) -> tuple[Ping, str] | None:
    """Tell a dead man's switch that a check begins; None where there is none."""
    url = context.settings.alerts.ping_url if context.settings is not None else ""
    if not url:
        return None
    import uuid

    from nbguard.alert.ping import Ping

    ping, rid = Ping(url, os.environ), str(uuid.uuid4())
    ping.start(rid)
    return ping, rid


def _end_ping(ping: Ping, rid: str, checked: Checked, say: Callable[[str], None]) -> None:
    """Heartbeat out: success only when protection was just proven; anything else is said at once."""
    codes = "\n".join(f"{each.weight}: {each.problem.code}" for each in checked.report.verdict.weighed)
    pinged = ping.success(rid, codes) if checked.is_proven else ping.fail(rid, codes)
    if not pinged.is_heard:
        say(f"the heartbeat out was not heard: {pinged.answer}")


def _channels(context: Context) -> Sequence[ChannelReport]:
    if context.settings is None or not context.settings.channels:
        return ()
    from nbguard.app_alert import channel_reports

    return channel_reports(context)


def _about_channels(context: Context) -> Sequence[Weighed]:
    if context.settings is None or not context.settings.channels:
        return ()
    from nbguard.app_alert import alert_problems

    return alert_problems(context)


def _mirrors(context: Context) -> Sequence[MirrorReport]:
    if context.settings is None or not context.settings.mirrors:
        return ()
    from nbguard.app_mirror import mirror_reports

    return mirror_reports(context)


def _wanted(marker: str) -> ServiceFacts | None:
    """That a service was installed, without asking how it is."""
    if not os.path.exists(marker):
        return None
    return ServiceFacts(manager="", enabled=True, active=True, state="unknown", executable_exists=True, lingers=None)


def _service(context: Context, marker: str) -> ServiceFacts | None:
    if not os.path.exists(marker):
        return None
    from nbguard.app_service import manager_of

    return _as_facts(manager_of(context).report())


def _as_facts(report: ServiceReport) -> ServiceFacts:
    checks = tuple(check.name for check in report.checkers if not (check.enabled and check.active))
    return ServiceFacts(
        manager=report.manager,
        enabled=report.enabled,
        active=report.active,
        state=report.state,
        executable_exists=report.command_exists and all(check.command_exists for check in report.checkers),
        lingers=report.lingers,
        checks_off=checks,
    )
