"""The composition root's page for mirrors: the rounds of the daemon and of commands, and what is told of them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from nbguard import __version__
from nbguard.alerting import MirrorReport
from nbguard.app import archive_of, install_id, open_store
from nbguard.archive.names import tree_path
from nbguard.archive.repository import FORMAT, MAIN, RECORDS, RECORDS_VERIFIED, VERIFIED
from nbguard.clock import Clock, SystemClock
from nbguard.errors import NbguardError, NothingMatched, UsageError, storage_trouble
from nbguard.health.heartbeat import read_heartbeat
from nbguard.mirror.addresses import Address, parse_address
from nbguard.mirror.backoff import HEARTBEAT_SECONDS
from nbguard.mirror.folder import is_vacant, make_mirror, refuse_within, shares_file_system
from nbguard.mirror.layout import MirrorHeartbeat, Namespace, ToldProblem, heartbeat_text, namespace_of, plain_name
from nbguard.mirror.push import Ours
from nbguard.mirror.remote import remove_leftovers
from nbguard.mirror.state import Known, StateFile
from nbguard.mirror.verify import Sample
from nbguard.mirror.worker import Around, Rounds, Sources, report_of
from nbguard.processes import boot_id
from nbguard.settings import Mirror, Settings

if TYPE_CHECKING:
    from nbguard.archive.repository import Archive
    from nbguard.cli.context import Context
    from nbguard.health.memory import CheckMemory, Still
    from nbguard.model import Heartbeat, Problem

__all__ = ["shares_file_system"]

# Tips, routes and disks are looked at so often; a pack wakes the worker at once.
_LOOK_SECONDS = 30.0
_LEFTOVER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A disk on which a mirror could be: where, and how many bytes are free there."""

    path: str
    free_bytes: int


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


class MirrorRounds:
    """The daemon's worker: tries mirrors that are due, and waits; woken once something was packed."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._stop, self._soon = threading.Event(), threading.Event()
        self._rounds = rounds_of(context, clock=clock, stop=self._stop)
        remove_leftovers(context.places.state, clock.now().timestamp() - _LEFTOVER_SECONDS)

    def step(self) -> None:
        """One round, then wait a little. Raises StorageTrouble of our own disk."""
        self._soon.clear()
        try:
            wait = self._rounds.step()
        except OSError as error:
            raise storage_trouble(error, "cannot remember how mirrors stand") from error
        if not self._stop.is_set():
            self._soon.wait(min(wait, _LOOK_SECONDS))

    def soon(self) -> None:
        """Something new is in the archive."""
        self._soon.set()

    def stop(self) -> None:
        """End whatever goes on, for good."""
        self._stop.set()
        self._soon.set()


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


def new_mirror(context: Context, text: str, name: str | None) -> tuple[Mirror, Address]:
    """A mirror that may be added: its address is sound, and not in the way of anything of ours.

    Raises UsageError, Refused.
    """
    address = parse_address(text, home=os.path.expanduser("~"), folder=os.getcwd())
    settings, places = context.settings or Settings(), context.places
    if address.path is not None:
        ours = [("the archive", places.archive), ("the spool", places.spool), ("the state folder", places.state)]
        ours += [("nbguard's folder", places.home)] if places.home else []
        ours += [("the emergency place", places.emergency)] if places.emergency else []
        refuse_within(address.path, [*ours, *(("a watched folder", root) for root in settings.roots)])
    url = address.path or text
    taken = {mirror.name for mirror in settings.mirrors}
    if url in {mirror.url for mirror in settings.mirrors}:
        raise UsageError(f"{address.shown} is a mirror already", hint="see `nbguard mirror list`")
    if name is not None and name in taken:
        raise UsageError(f"there is a mirror {name!r} already", hint="give another --name")
    return Mirror(name=name or _free_name(address, taken), url=url), address


def lies_vacant(address: Address) -> bool:
    """Whether a mirror is to be made there first. Raises UsageError, when not even the folder above it is there."""
    path = address.path
    if path is None or not is_vacant(path):
        return False
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(
            f"{os.path.dirname(path)} is not there", hint="mount the disk, or make the folder, and ask again"
        )
    return True


def make_there(address: Address) -> None:
    """Make a bare, private repository at the path. Raises StorageTrouble, ArchiveTrouble."""
    assert address.path is not None
    make_mirror(address.path)


def change_configuration(context: Context, change: Callable[[bytes, str], bytes]) -> None:
    """Put other bytes in the configuration's place, durably. Raises BadConfiguration, StorageTrouble."""
    from nbguard.places import find_places
    from nbguard.service.setup import write_configuration
    from nbguard.settings_writing import minimal_configuration

    path = find_places(home=context.home, config=context.config).config
    if context.settings is None:
        before = minimal_configuration(())
    else:
        with open(path, "rb") as file:
            before = file.read()
    write_configuration(path, change(before, path))
    context.__dict__.pop("settings", None)
    context.look_again()


def spot_for_mirror(context: Context) -> Spot | None:
    """Another mounted disk, writable and with room for a mirror, that holds neither archive nor notebooks."""
    from nbguard.durable import free_space
    from nbguard.watch.mounts import is_remote, read_mounts

    settings, places = context.settings or Settings(), context.places
    taken = {_device(path) for path in (places.archive, places.state, os.path.expanduser("~"), "/", *settings.roots)}
    best: Spot | None = None
    for mount in read_mounts():
        if mount.kind not in _DISKS or is_remote(mount.kind) or mount.point.startswith(_SYSTEM):
            continue
        try:
            if os.stat(mount.point).st_dev in taken or not os.access(mount.point, os.W_OK | os.X_OK):
                continue
            free = free_space(mount.point)[0]
        except OSError:
            continue
        if free >= _LEAST_FREE_BYTES and (best is None or free > best.free_bytes):
            best = Spot(os.path.join(mount.point, f"nbguard-{plain_name(socket.gethostname())}.git"), free)
    return best


_DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "vfat", "exfat", "ntfs", "ntfs3"})
_SYSTEM = ("/boot", "/efi", "/snap", "/etc", "/usr", "/proc", "/sys", "/dev", "/run/lock", "/var/lib")
_LEAST_FREE_BYTES = 4_000_000_000


def _device(path: str) -> int | None:
    while path and path != "/":
        try:
            return os.stat(path).st_dev
        except OSError:
            path = os.path.dirname(path)
    try:
        return os.stat("/").st_dev
    except OSError:
        return None


def _free_name(address: Address, taken: set[str]) -> str:
    if address.path is not None:
        folder, last = os.path.split(address.path)
        wanted = plain_name(last.removesuffix(".git")) if last not in ("nbguard.git", "mirror.git") else ""
        wanted = wanted or plain_name(os.path.basename(folder))
    else:
        after = address.url.partition("://")[2] or address.url
        wanted = plain_name(after.partition("/")[0].rpartition("@")[2].partition(":")[0])
    wanted = wanted or "mirror"
    return next(name for name in (wanted, *(f"{wanted}-{n}" for n in range(2, 10_000))) if name not in taken)


def _tips(archive: Archive) -> tuple[str | None, str | None]:
    """What was read back after packing; where nothing says so yet, the branches."""
    git = archive.git
    return git.tip(VERIFIED) or git.tip(MAIN), git.tip(RECORDS_VERIFIED) or git.tip(RECORDS)


def _ours(context: Context, archive: Archive, clock: Clock) -> Ours:
    archive.require()
    install = install_id(context)
    state = StateFile(context.places.state)
    known = state.change(lambda known: replace(known, namespace=_namespace(known.namespace, install)))
    main, records = _tips(archive)
    return Ours(
        namespace=Namespace(known.namespace),
        install=install,
        boot=boot_id(),
        boot_at=clock.now() - timedelta(seconds=clock.boottime_ns() / 1e9),
        main=main,
        records=records,
        beat=lambda main, records: _beat(context, state, clock, install, (main, records)),
    )


def _namespace(known: str, install: str) -> str:
    """Chosen once: a laptop is called otherwise in every network, and is the same installation."""
    if known.endswith(f"-{install.lower()}"):
        return known
    return namespace_of(socket.gethostname(), _user(), install)


def _beat(context: Context, state: StateFile, clock: Clock, install: str, tips: tuple[str | None, str | None]) -> bytes:
    from nbguard.health.memory import read_memory

    now = clock.now()
    sequence = state.change(lambda known: replace(known, sequence=known.sequence + 1)).sequence
    daemon = read_heartbeat(context.places.heartbeat)
    checks = read_memory(os.path.join(context.places.state, "checks.json"))
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
            problems=_told(daemon, checks, install),
            main=tips[0],
            records=tips[1],
            checked_at=checks.full.at if checks.full else None,
            full_seconds=settings.checks.full_seconds,
        )
    )


def _told(daemon: Heartbeat | None, checks: CheckMemory, install: str) -> tuple[ToldProblem, ...]:
    """Codes alone; paths become hashes that only tell two of them apart."""
    found: list[Problem | Still] = [*(daemon.problems if daemon else ()), *checks.still.values()]
    return tuple(
        ToldProblem(
            code=problem.code,
            since=problem.since,
            subject=sha256(f"{install}\0{problem.subject}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
            if problem.subject
            else None,
        )
        for problem in found
    )


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


def behind_seconds(report: MirrorReport, now: datetime) -> float:
    """For how long it has lacked something; 0.0 when it does not."""
    return 0.0 if report.behind_since is None else max(0.0, (now - report.behind_since).total_seconds())
