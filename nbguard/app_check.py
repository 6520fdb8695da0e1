"""A further page of the composition root: the independent check, wired from the rooms."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.app_health import health_sources
from nbguard.errors import Busy, NbguardError
from nbguard.health.facts import ServiceFacts
from nbguard.health.gather import Sources
from nbguard.health.memory import CHECKS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbguard.alerting import ChannelReport, MirrorReport, Weighed
    from nbguard.cli.context import Context
    from nbguard.durable import FileLock
    from nbguard.health.check import Checked
    from nbguard.health.proving import Provers
    from nbguard.service.manager import ServiceReport

LAST_SETTINGS = "config-last-good.toml"
_PATIENCE_SECONDS = 10.0


def check_sources(context: Context, bad: NbguardError | None = None, *, light: bool = False) -> Sources:
    """Where `check` and `status` get their facts from; the light check asks no manager."""
    context = context if bad is None else _with_last_settings(context)
    sources = health_sources(context, bad)
    marker = context.places.service_marker
    return replace(
        sources,
        service=lambda: _wanted(marker) if light else _service(context, marker),
        mirrors=tuple if light else lambda: _mirrors(context),
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

    context = context if bad is None else _with_last_settings(context)
    lock = _lock(os.path.join(context.places.state, "check-light.lock" if light else "check.lock"))
    try:
        sources = check_sources(context, bad, light=light)
        checked = check_light(sources) if light else check_full(sources, provers_of(context))
        _remember(context, checked, light=light)
    finally:
        if lock is not None:
            lock.release()
    if bad is None:
        _keep_settings(context)
    if sends and _is_set_up(context):
        _tell(context, checked, light=light, say=say)
    return checked


def provers_of(context: Context) -> Provers:
    """What a full check does on this machine; nothing is made where nbguard was never set up."""
    from nbguard.health.canary import write_and_read
    from nbguard.health.proving import Provers

    places = context.places
    has_state, has_archive = os.path.isdir(places.state), os.path.isfile(os.path.join(places.archive, "HEAD"))
    return Provers(
        canary=(lambda: _canary(context, places.spool)) if has_state else None,
        emergency=(lambda: _canary(context, places.emergency)) if has_state and places.emergency else None,
        archive_disk=(lambda: write_and_read(places.archive)) if has_archive else None,
        state_disk=(lambda: write_and_read(places.state)) if has_state else None,
        tip=(lambda: _read_tips(context)) if has_archive else None,
        drill=(lambda count, again: _drill(context, count, again)) if has_archive else None,
        connectivity=(lambda: _connect(places.archive)) if has_archive else None,
        archive=places.archive,
    )


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


def _remember(context: Context, checked: Checked, *, light: bool) -> None:
    """Write down what the next check needs to know. Two kinds of check share the file: each puts in what is its own.

    A disk that takes nothing is a finding of the full check already.
    """
    from nbguard.durable import FileLock
    from nbguard.health.memory import read_memory, write_memory

    path, memory = os.path.join(context.places.state, CHECKS_FILE), checked.memory
    if not os.path.isdir(context.places.state):
        return
    try:
        with FileLock(os.path.join(context.places.state, "checks.lock")):
            other = read_memory(path)
            if light:
                memory = replace(
                    other, light=memory.light, looked=memory.looked, woke_at=memory.woke_at, jump=memory.jump
                )
            else:
                memory = replace(memory, light=other.light)
            write_memory(path, memory)
    except (OSError, Busy):
        return


def _is_set_up(context: Context) -> bool:
    """Nothing is recorded, and nobody told, where nbguard was never set up."""
    places = context.places
    return any(os.path.exists(path) for path in (places.config, places.archive_marker, places.heartbeat))


def _keep_settings(context: Context) -> None:
    """A copy of the configuration while it can be used: with a broken one, people must be reached all the same."""
    from nbguard.durable import replace_durably

    path = os.path.join(context.places.state, LAST_SETTINGS)
    try:
        with open(context.places.config, "rb") as file:
            data = file.read()
        if not _holds(path, data):
            replace_durably(path, data)
    except OSError:
        return  # none is configured, or the disk refuses: the check says so itself


def _holds(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False


def _with_last_settings(context: Context) -> Context:
    """As it was with the last configuration that could be used: its folders, its channels. None may be known."""
    from nbguard.settings_reading import load_settings

    try:
        settings = load_settings(os.path.join(context.places.state, LAST_SETTINGS))
    except NbguardError:
        settings = None
    before = replace(context)
    before.__dict__["settings"] = settings
    return before


def _tell(context: Context, checked: Checked, *, light: bool, say: Callable[[str], None]) -> None:
    """Record incidents and send what is due. Without settings nobody can be told, and the desk must not forget whom it
    would tell: then the daemon, which read the configuration when it was whole, sends."""
    from nbguard.app_alert import tell

    if context.settings is None and checked.report.facts.bad_configuration is not None:
        return
    tell(context, checked.observation)
    if not light and context.settings is not None and context.settings.alerts.ping_url:
        _ping(context.settings.alerts.ping_url, checked, say)


def _ping(url: str, checked: Checked, say: Callable[[str], None]) -> None:
    """Heartbeat out: success only when protection was just proven; anything else is said at once."""
    import uuid

    from nbguard.alert.ping import Ping

    ping, rid = Ping(url, os.environ), str(uuid.uuid4())
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


def _canary(context: Context, folder: str) -> None:
    """Through the spool's own code, on the spool's own disk, in a folder where nobody looks for drafts."""
    from nbguard.errors import StorageTrouble
    from nbguard.health.canary import FOLDER, fly
    from nbguard.places import check_private

    if folder == context.places.emergency:
        from nbguard.durable import make_private_folder

        make_private_folder(folder)
        check_private(folder)
    elif not os.path.isdir(folder):  # whoever removed it: it is not made anew under the daemon
        raise StorageTrouble(f"{folder} is gone", hint="restart the daemon: it makes it anew", code="own-files-removed")
    fly(lambda: _Nest(context, os.path.join(folder, FOLDER)))


class _Nest:
    """The spool's code over a folder of its own."""

    def __init__(self, context: Context, folder: str) -> None:
        from nbguard.app import reserve_of
        from nbguard.archive.spool import Spool
        from nbguard.clock import SystemClock
        from nbguard.settings import Settings

        reserve = reserve_of(context.settings or Settings())
        self._spool = Spool(folder, clock=SystemClock(), install="canary", reserve=reserve)
        self._spool.make()
        self._spool.sweep_leftovers()
        for left in self._spool.drafts():
            self.forget(left.id)

    def keep(self, data: bytes) -> str:
        from nbguard.model import DraftKind, Trigger

        spool = self._spool
        draft = spool.draft(
            kind=DraftKind.VERSION,
            path="/canary.ipynb",
            moment=spool.moment(),
            trigger=Trigger.SNAPSHOT,
            root="/",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return spool.keep(draft, data).id

    def give_back(self, name: str) -> bytes | None:
        return self._spool.read(name)

    def forget(self, name: str) -> None:
        """Unlinked, and not set free to be written over: the next canary shall need room as a save does."""
        from nbguard.durable import unlink_quietly

        found = self._spool.find(name)
        if found is not None:
            unlink_quietly(found.path)


def _read_tips(context: Context) -> None:
    """Commit and tree of both branches, by one git. Raises ArchiveTrouble."""
    from nbguard.app import archive_of
    from nbguard.archive.repository import MAIN, RECORDS, RECORDS_VERIFIED, VERIFIED
    from nbguard.errors import ArchiveTrouble

    archive = archive_of(context)
    archive.require()
    objects = archive.git.cat_file()
    try:
        for branch, verified in ((MAIN, VERIFIED), (RECORDS, RECORDS_VERIFIED)):
            tip = archive.git.tip(branch)
            if tip is None:
                if archive.git.tip(verified) is not None:
                    raise ArchiveTrouble(f"{branch} is gone, or holds no commit", hint="nbguard doctor")
                continue
            commit = objects.read(tip.encode())
            if not commit.startswith(b"tree "):
                raise ArchiveTrouble(f"{branch} names something that is no commit", hint="nbguard doctor")
            objects.read(commit[5:45])
    finally:
        objects.close()


def _drill(context: Context, count: int, again: str | None) -> int:
    """Restore random old versions into a folder of ours and compare them with what was kept; how many there were.

    Raises DrillFailed, ArchiveTrouble, StorageTrouble, OSError.
    """
    from nbguard.app import open_store
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.durable import make_private_folder
    from nbguard.errors import ArchiveTrouble
    from nbguard.health.proving import DrillFailed

    store = open_store(context)
    store.archive.require()
    store.folder.catch_up()
    library = ArchiveLibrary(catalog=store.catalog, archive=store.archive, spool=store.spool)
    chosen = [store.catalog.version(again)] if again else []
    versions = {found.id: found for found in (*chosen, *(store.catalog.sample() for _ in range(count))) if found}
    folder = os.path.join(context.places.state, "drill")
    make_private_folder(folder)
    try:
        for version in versions.values():
            if version.sha256 is None:
                continue
            try:
                data = library.read(version)
            except ArchiveTrouble as error:
                raise DrillFailed(error.message, hint=error.hint, version=version.id, code=error.code) from error
            _restore_and_compare(folder, data, version.id, version.sha256)
    finally:
        library.close()
        store.catalog.close()
        _clear(folder)
    return len(versions)


def _restore_and_compare(folder: str, data: bytes, identity: str, sha256: str) -> None:
    from nbguard.durable import replace_durably
    from nbguard.health.compare import digest_file
    from nbguard.health.proving import DrillFailed

    path = os.path.join(folder, "restored.ipynb")
    replace_durably(path, data)
    if digest_file(path) != sha256:
        raise DrillFailed(
            f"version {identity[:10]} was restored as something else", hint="nbguard doctor", version=identity
        )


def _clear(folder: str) -> None:
    from nbguard.durable import unlink_quietly

    try:
        for name in os.listdir(folder):
            unlink_quietly(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        return  # the next drill begins by writing over it


def _connect(archive: str) -> None:
    from nbguard.health.doctor import check_archive

    check_archive(archive)
