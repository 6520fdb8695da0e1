"""State on a network home belongs to one machine at a time.

A flock cannot be trusted there: some servers grant it to every machine. The lease is a small file with its holder and
a count that the holder moves on every minute; whether it does is judged on our own clock, by looking twice. Of two
machines that take an abandoned lease at the same moment the later one has it; the other one finds out at its next look.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from nbguard.clock import Clock
from nbguard.durable import replace_durably, unlink_quietly
from nbguard.errors import Busy
from nbguard.mirror.look import Look

TAKE_OVER_SECONDS = 600.0
REFRESH_SECONDS = 60.0
_SURE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Who could hold a lease: a user in one run of one machine. ``host`` is its name, for people."""

    machine: str
    boot: str
    user: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease as it is written: the holder, the count that it moves on, and whether it was given back."""

    holder: Machine
    count: int
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class SeenLease:
    """A lease of somebody else's as it was seen first, and when."""

    held: Held
    since: Look


class Whose(Enum):
    """Whose the lease is: ``FREE`` may be taken at once, ``ABANDONED`` with a second look."""

    OURS = "ours"
    FREE = "free"
    ABANDONED = "abandoned"
    HELD = "held"


def judge(
    held: Held | None,
    us: Machine,
    seen: SeenLease | None,
    now: Look,
    take_over_seconds: float,
    *,
    is_network: bool = True,
) -> Whose:
    """Whose a lease is. What an earlier run of this very machine held is free: that run is over. On a network home a
    machine of the same id and another name is a clone; on a disk of our own it is this one, by its new name."""
    if held is None or held.is_released:
        return Whose.FREE
    there = held.holder
    if (there.machine, there.user) == (us.machine, us.user):
        if there.boot == us.boot:
            return Whose.OURS
        if there.host == us.host or not is_network:
            return Whose.FREE
    if seen is not None and seen.held == held and now.seconds_since(seen.since) >= take_over_seconds:
        return Whose.ABANDONED
    return Whose.HELD


class LeaseLost(Busy):
    """Another machine has taken the lease while we were still."""


class Lease:
    """The lease on one state folder. Use it from one thread at a time."""

    def __init__(
        self,
        folder: str,
        us: Machine,
        *,
        clock: Clock,
        wait: Callable[[float], object],
        take_over_seconds: float = TAKE_OVER_SECONDS,
        is_network: bool = True,
    ) -> None:
        self._path = os.path.join(folder, "lease.json")
        name = hashlib.sha256(f"{us.machine}/{us.boot}/{us.user}".encode()).hexdigest()[:12]
        self._seen_path = os.path.join(folder, f"lease-seen-{name}.json")
        self._us = us
        self._clock = clock
        self._wait = wait
        self._take_over_seconds = take_over_seconds
        self._is_network = is_network
        self._count = 0
        self._refresh_at = clock.monotonic()

    def check(self, *, is_waiting: bool = False) -> None:
        """Raises Busy while another machine holds it; ``is_waiting``: since when it stands still is remembered, if the
        disk takes that."""
        held = self._read()
        if held is not None and self._judge(held) is Whose.HELD:
            if is_waiting:
                try:
                    self._remember(held)
                except OSError:
                    pass  # then it is seen for the first time at the next try
            raise self._busy(held)

    def take(self) -> None:
        """Raises Busy while another machine holds it (since when it stands still is remembered), OSError."""
        held = self._read()
        whose = self._judge(held)
        if held is not None and whose is Whose.HELD:
            self._remember(held)
            raise self._busy(held)
        self._count = held.count if held is not None else 0
        self._write()
        if whose is Whose.ABANDONED:
            self._wait(_SURE_SECONDS)
            if not self.is_ours():
                raise LeaseLost(
                    "another machine took over this nbguard at the same moment", hint="see `nbguard status`"
                )
        unlink_quietly(self._seen_path)

    def is_ours(self) -> bool:
        """Whether nobody else has taken it; also where it is out of reach, or could not be written."""
        return not self._is_elsewhere(self._read())

    def refresh(self) -> None:
        """Move the count on, once a minute. Raises LeaseLost; OSError, then it is tried again the next time."""
        if self._clock.monotonic() < self._refresh_at or not os.path.isdir(os.path.dirname(self._path)):
            return  # a state folder that was removed is not made anew by us
        held = self._read()
        if held is not None and self._is_elsewhere(held):
            raise LeaseLost(
                f"{held.holder.host} has taken over: this machine did not move for {self._take_over_seconds / 60:.0f} "
                "minutes",
                hint=f"nbguard runs on {held.holder.host} now; what was kept here is in the spool, and not lost",
            )
        self._write()

    def release(self) -> None:
        """Give it back, if it is ours: the next one need not wait. Raises OSError."""
        held = self._read()
        if held is not None and held.holder == self._us:
            self._write(is_released=True)

    def _is_elsewhere(self, held: Held | None) -> bool:
        return self._judge(held) in (Whose.HELD, Whose.ABANDONED)

    def _judge(self, held: Held | None) -> Whose:
        seen, now = self._seen(), self._now()
        return judge(held, self._us, seen, now, self._take_over_seconds, is_network=self._is_network)

    def _now(self) -> Look:
        return Look(self._clock.now(), self._us.boot, self._clock.boottime_ns() / 1e9)

    def _busy(self, held: Held) -> Busy:
        minutes = self._take_over_seconds / 60
        return Busy(
            f"nbguard runs on {held.holder.host} with this very state folder",
            hint=f"a network home has one daemon at a time; end it there. If that machine is dead: this one takes over "
            f"once it has seen it stand still for {minutes:.0f} minutes, so try again then",
        )

    def _write(self, *, is_released: bool = False) -> None:
        self._count += 1
        us = self._us
        table = {
            "v": 1,
            "machine": us.machine,
            "boot": us.boot,
            "user": us.user,
            "host": us.host,
            "count": self._count,
            "released": is_released,
        }
        replace_durably(self._path, (json.dumps(table) + "\n").encode("ascii"))
        self._refresh_at = self._clock.monotonic() + REFRESH_SECONDS

    def _read(self) -> Held | None:
        return _held(_load(self._path))

    def _seen(self) -> SeenLease | None:
        table = _load(self._seen_path)
        held = _held(table.get("held"))
        try:
            return None if held is None else SeenLease(held, Look.of(table["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def _remember(self, held: Held) -> None:
        seen = self._seen()
        if seen is not None and seen.held == held:
            return
        there = held.holder
        table = {
            "held": {
                "machine": there.machine,
                "boot": there.boot,
                "user": there.user,
                "host": there.host,
                "count": held.count,
                "released": held.is_released,
            },
            "since": self._now().table(),
        }
        replace_durably(self._seen_path, (json.dumps(table) + "\n").encode("ascii"))


def this_machine(boot: str) -> Machine:
    """This user on this machine. Its id is systemd's or D-Bus's (machine-id(5)); without one, its network card's."""
    host = os.uname().nodename
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                if identity := file.read(64).strip():
                    return Machine(machine=identity, boot=boot, user=os.getuid(), host=host)
        except OSError:
            continue
    import uuid

    card = uuid.getnode()
    is_made_up = bool(card >> 40 & 1)  # then it would be another one each time
    identity = f"host-{host}" if is_made_up else f"card-{card:012x}"
    return Machine(machine=identity, boot=boot, user=os.getuid(), host=host)


def _load(path: str) -> dict[str, object]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return {}
            found = json.loads(file.read(65_536))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _held(table: object) -> Held | None:
    """None for what nobody wrote: a lease that makes no sense holds nothing."""
    if not isinstance(table, dict):
        return None
    try:
        host = str(table["host"])[:200]
        holder = Machine(machine=str(table["machine"]), boot=str(table["boot"]), user=int(table["user"]), host=host)
        return Held(holder=holder, count=int(table["count"]), is_released=table["released"] is True)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
