"""The composition root's page for peers: a look at a mirror from a machine that need not have anything of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbguard.alerting import Observation, Observer
from nbguard.clock import SystemClock
from nbguard.durable import FileLock, make_private_folder
from nbguard.errors import storage_trouble
from nbguard.mirror import peer_memory
from nbguard.mirror.addresses import parse_address
from nbguard.mirror.look import Look
from nbguard.mirror.peer import CODES, Sighting, exit_code_of, look_at, no_answer
from nbguard.mirror.reader import Mirrored, MirrorUnreachable
from nbguard.processes import boot_id
from nbguard.settings import Checks

if TYPE_CHECKING:
    from nbguard.alerting import Weighed
    from nbguard.cli.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPage:
    """What a look at a mirror found. ``mirror`` is its address without secrets; ``answered`` is False when it did not
    answer, and then there are no hosts. ``elsewhere`` is what was found lately at other mirrors."""

    mirror: str
    answered: bool
    hosts: tuple[Sighting, ...]
    found: tuple[Weighed, ...]
    elsewhere: tuple[Weighed, ...] = ()

    @property
    def exit_code(self) -> int:
        """20 when a host stalled, or the mirror has not answered for too long; 22 when a host says that something is
        not protected; 1 when the mirror does not answer now; else 0."""
        return exit_code_of(self.found) or (0 if self.answered else 1)

    @property
    def state(self) -> str:
        """ok, degraded or stalled, as `status` has it."""
        if exit_code_of(self.found) == 20:
            return "stalled"
        return "degraded" if self.found else "ok"


def check_mirror(context: Context, url: str) -> PeerPage:
    """Look at every host in a mirror, and remember what was seen, for the next look. Raises UsageError for an address
    that is none, StorageTrouble."""
    home = os.path.expanduser("~")
    parsed = parse_address(url, home=home, folder=os.getcwd())
    mirror, address = Mirrored(parsed, environment=os.environ, home=home), parsed.url
    late_seconds = (context.settings.checks if context.settings else Checks()).mirror_late_seconds
    path = os.path.join(context.places.state, "peers.json")
    try:
        there = mirror.look()
    except MirrorUnreachable as error:
        there, said = None, error.said
    clock = SystemClock()
    now = Look(clock.now(), boot_id(), clock.boottime_ns() / 1e9)
    try:
        make_private_folder(context.places.state)
        lock = FileLock(f"{path}.lock")
        lock.acquire(wait=True)
        with lock:
            memory = peer_memory.load(path, address)
            if there is None:
                memory, silent = no_answer(memory, now, late_seconds=late_seconds, mirror=mirror.shown, said=said)
                page = PeerPage(mirror=mirror.shown, answered=False, hosts=(), found=(silent,))
            else:
                beats = {name: there.beats.get(name) for name in there.hosts}
                memory, hosts = look_at(memory, beats, now, late_seconds=late_seconds)
                found = tuple(one for host in hosts for one in host.found)
                page = PeerPage(mirror=mirror.shown, answered=True, hosts=hosts, found=found)
            elsewhere = peer_memory.found_elsewhere(path, address, now.at)
            peer_memory.save(path, address, memory, page.found, now.at)
    except OSError as error:
        raise storage_trouble(error, f"cannot remember what was seen in {path}") from error
    return replace(page, elsewhere=elsewhere)


def observation_of(page: PeerPage) -> Observation:
    """What the look found, for the alert desk: with what was found elsewhere, which this look does not know to be
    over."""
    clock = SystemClock()
    return Observation(
        observer=Observer.PEER,
        at=clock.now(),
        boot=boot_id(),
        boottime_ns=clock.boottime_ns(),
        found=(*page.found, *page.elsewhere),
        sees=CODES,
    )
