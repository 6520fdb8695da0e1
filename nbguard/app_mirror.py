"""The composition root's page for mirrors: the rounds of the daemon and of commands, and what is told of them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from nbguard import __version__
from nbguard.alerting import MirrorReport, Weight
from nbguard.app import archive_of, install_id, open_store
from nbguard.app_alert import open_desk, roll_call_of
from nbguard.archive.names import tree_path
from nbguard.archive.repository import FORMAT, MAIN, RECORDS, RECORDS_VERIFIED, VERIFIED
from nbguard.clock import Clock, SystemClock
from nbguard.errors import NbguardError, NoArchive, NothingMatched
from nbguard.health.heartbeat import read_heartbeat
from nbguard.mirror.backoff import HEARTBEAT_SECONDS
from nbguard.mirror.layout import MirrorHeartbeat, Namespace, ToldProblem, heartbeat_text, namespace_of
from nbguard.mirror.push import Ours
from nbguard.mirror.state import Known, StateFile
from nbguard.mirror.verify import Sample
from nbguard.mirror.worker import Around, Rounds, Sources, report_of
from nbguard.processes import boot_id
from nbguard.settings import Mirror, Settings

if TYPE_CHECKING:
    from nbguard.alert.state import Incident
    from nbguard.archive.repository import Archive
    from nbguard.cli.context import Context


def rounds_of(context: Context, *, clock: Clock | None = None, stop: threading.Event | None = None) -> Rounds:
    """The rounds over every configured mirror; use them from one thread."""
    clock = clock or SystemClock()
    settings = context.settings or Settings()
    archive = archive_of(context)
    around = Around(
        archive=archive.folder, state=context.places.state, environment=os.environ, home=os.path.expanduser("~")
    )
    sources = Sources(
        tips=lambda: _tips(archive),
        ours=lambda: _ours(context, archive, clock),
        samples=lambda count: _samples(context, count),
        network=network_now,
    )
    return Rounds(settings.mirrors, sources=sources, around=around, clock=clock, stop=stop or threading.Event())


def mirror_reports(context: Context) -> tuple[MirrorReport, ...]:
    """Every configured mirror as it stood when it was last tried; cheap, and no mirror is asked."""
    mirrors = (context.settings or Settings()).mirrors
    if not mirrors:
        return ()
    try:
        known = StateFile(context.places.state).read()
    except OSError:
        known = Known(mirrors={})
    home = os.path.expanduser("~")
    return tuple(report_of(mirror, known, home=home) for mirror in mirrors)


def mirror_named(context: Context, name: str) -> Mirror:
    """The configured mirror of that name. Raises NothingMatched."""
    mirrors = (context.settings or Settings()).mirrors
    for mirror in mirrors:
        if mirror.name == name:
            return mirror
    known = ", ".join(mirror.name for mirror in mirrors) or "none"
    raise NothingMatched(f"there is no mirror {name!r}", hint=f"there are: {known}")


def _tips(archive: Archive) -> tuple[str | None, str | None]:
    """What was read back after packing; where nothing says so yet, the branches."""
    git = archive.git
    return git.tip(VERIFIED) or git.tip(MAIN), git.tip(RECORDS_VERIFIED) or git.tip(RECORDS)


def _ours(context: Context, archive: Archive, clock: Clock) -> Ours:
    try:
        archive.require()
        has_archive = True
    except NoArchive:  # which others are to hear of
        has_archive = False
    install = install_id(context)
    state = StateFile(context.places.state)
    known = state.change(lambda known: replace(known, namespace=_namespace(known.namespace, install)))
    main, records = _tips(archive) if has_archive else (None, None)
    return Ours(
        namespace=Namespace(known.namespace),
        install=install,
        boot=boot_id(),
        boot_at=clock.now() - timedelta(seconds=clock.boottime_ns() / 1e9),
        main=main,
        records=records,
        beat=lambda main, records: _beat(context, state, clock, install, (main, records)),
        roll_call=roll_call_of(context),
        has_archive=has_archive,
    )


def _namespace(known: str, install: str) -> str:
    """Chosen once: a laptop is called otherwise in every network, and is the same installation."""
    if known.endswith(f"-{install.lower()}"):
        return known
    return namespace_of(socket.gethostname(), _user(), install)


def _beat(context: Context, file: StateFile, clock: Clock, install: str, tips: tuple[str | None, str | None]) -> bytes:
    from nbguard.health.memory import read_memory

    now = clock.now()
    sequence = file.change(lambda known: replace(known, sequence=known.sequence + 1)).sequence
    daemon = read_heartbeat(context.places.heartbeat)
    incidents = open_desk(context).open_incidents()
    checks = read_memory(os.path.join(context.places.state, "checks.json"))
    state, exit_code = _standing(incidents) if incidents or checks.full else (None, None)
    settings = context.settings or Settings()
    return heartbeat_text(
        MirrorHeartbeat(
            install=install,
            host=_line(socket.gethostname()),
            user=_line(_user()),
            sequence=sequence,
            boot=boot_id(),
            at=now,
            version=__version__,
            every_seconds=HEARTBEAT_SECONDS,
            archive_format=FORMAT,
            beat_at=daemon.beat_at if daemon else None,
            state=state,
            exit_code=exit_code,
            problems=_told(incidents, install),
            main=tips[0],
            records=tips[1],
            checked_at=checks.full.at if checks.full else None,
            full_seconds=settings.checks.full_seconds,
        )
    )


def _standing(incidents: Sequence[Incident]) -> tuple[str, int]:
    """State and exit code as `status` has them, from what is open now."""
    weights = {incident.weight for incident in incidents}
    if Weight.STALL in weights:
        return "stalled", 20
    if any(incident.code == "recipient-unproven" for incident in incidents):
        return "degraded", 21
    return ("degraded", 22 if Weight.GAP in weights else 0) if weights else ("ok", 0)


def _told(incidents: Sequence[Incident], install: str) -> tuple[ToldProblem, ...]:
    """Codes alone; paths become hashes that only tell two of them apart."""
    return tuple(
        ToldProblem(
            code=incident.code,
            since=incident.began_at,
            subject=_hashed(install, incident.subject) if incident.subject else None,
        )
        for incident in incidents
    )


def _hashed(install: str, subject: str) -> str:
    return sha256(f"{install}\0{subject}".encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _samples(context: Context, count: int) -> Sequence[Sample]:
    """Versions at random; none where the catalog cannot be asked: then the tips must do."""
    found: dict[str, Sample] = {}
    try:
        catalog = open_store(context).catalog
        try:
            for _ in range(count):
                version = catalog.sample()
                if version is None:
                    break
                if version.commit is not None and version.sha256 is not None:
                    name = f"{version.commit}:{tree_path(version.path)}"
                    found[name] = Sample(name, version.sha256, version.size)
        finally:
            catalog.close()
    except NbguardError:
        return tuple(found.values())
    return tuple(found.values())


def network_now() -> str:
    """What the machine is connected to, as far as its routes say it; "" where there is no telling."""
    said = b""
    for path in ("/proc/net/route", "/proc/net/ipv6_route"):
        try:
            with open(path, "rb") as file:
                said += file.read(1 << 16)
        except OSError:
            continue
    return sha256(b"\n".join(_stable(line) for line in said.splitlines())).hexdigest()[:16] if said else ""


def _stable(line: bytes) -> bytes:
    """Interface, destination and gateway alone: the counters beside them change all the time."""
    words = line.split()
    return b" ".join([*words[:3], words[-1]]) if len(words) > 4 else line


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _line(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
