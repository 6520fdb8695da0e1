"""A town to test alerts in: a clock that can be set, letter boxes, and desks that can be restarted."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbguard.alert.desk import AlertDesk
from nbguard.alert.store import AlertStore
from nbguard.alerting import Message, Observation, Observer, Sender, Sent, Weighed, Weight
from nbguard.model import Problem
from nbguard.settings import Alerts, Channel, RollCall

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ADA = Channel(name="mail", human="ada", url="mailto://ada@example.org")
BOB = Channel(name="chat", human="bob", url="json://example.org/bob")
EVE = Channel(name="push", human="ada", url="ntfy://example.org/ada")
_CODE = re.compile(r"nbguard ack ([0-9A-Z]{4}-[0-9A-Z]{4})")


class TownClock:
    """Three clocks: true time, the wall (which can be set) and boot time (which begins anew with each boot)."""

    def __init__(self) -> None:
        self.true = 0.0
        self.wall_skew = 0.0
        self.boots = 0
        self._booted = -1_000.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.true + self.wall_skew)

    def boottime_ns(self) -> int:
        return int((self.true - self._booted) * 1e9)

    def monotonic(self) -> float:
        return self.true - self._booted

    @property
    def boot(self) -> str:
        return f"{self.boots:032x}"

    def reboot(self) -> None:
        self.boots += 1
        self._booted = self.true - 5.0


@contextmanager
def swift_folder() -> Iterator[Path]:
    """A folder in memory, where there is one: simulated months write thousands of times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder) / "state"


@dataclass
class Received:
    """One letter in a box, and the true time at which it came."""

    at: float
    message: Message

    @property
    def code(self) -> str | None:
        found = _CODE.search(self.message.body)
        return found[1] if found else None


@dataclass
class Boxes:
    """A sender in memory: a box for each channel. ``failing`` do not take anything now, ``refusing`` never will."""

    clock: TownClock
    boxes: dict[str, list[Received]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    attempts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, channel: Channel, message: Message) -> Sent:
        with self._lock:
            self.attempts += 1
            if channel.name in self.refusing:
                return Sent(is_sent=False, answer="550 no such user", refused=True)
            if channel.name in self.failing:
                return Sent(is_sent=False, answer="connection refused")
            self.boxes.setdefault(channel.name, []).append(Received(self.clock.true, message))
            return Sent(is_sent=True, answer="250 ok")

    def of(self, name: str, *kinds: str) -> list[Received]:
        """What came to one channel; only of some kinds, if any are named."""
        return [each for each in self.boxes.get(name, []) if not kinds or each.message.kind in kinds]

    def all(self, *kinds: str) -> list[Received]:
        found = [each for name in self.boxes for each in self.of(name, *kinds)]
        return sorted(found, key=lambda each: each.at)


@dataclass
class Town:
    """One installation: its clock, its boxes, its desk, and what is wrong at the moment."""

    folder: Path
    channels: tuple[Channel, ...] = (ADA, BOB)
    alerts: Alerts = field(default_factory=Alerts)
    calls: RollCall = field(default_factory=RollCall)
    sender: Sender | None = None
    copies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = TownClock()
        self.boxes = Boxes(self.clock)
        self.wrong: dict[tuple[str, str], Weighed] = {}
        self.line = ""
        self.is_current = True
        self.desk = self.new_desk()

    @property
    def path(self) -> Path:
        return self.folder / "alerts.json"

    def new_desk(self) -> AlertDesk:
        """As another process has one."""

        channels = self.channels

        def show(line: str) -> None:
            self.line = line

        return AlertDesk(
            AlertStore(str(self.path), self.copies),
            channels=channels,
            sender=self.sender or self.boxes,
            alerts=self.alerts,
            calls=self.calls,
            clock=self.clock,
            boot=self.clock.boot,
            host="castor",
            show=show,
            is_current=lambda: channels == self.channels and self.is_current,
        )

    def restart(self, **changes: tuple[Channel, ...]) -> None:
        """The process ends and another begins, perhaps with other channels."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.desk = self.new_desk()

    def reboot(self) -> None:
        self.clock.reboot()
        self.restart()

    def break_(self, code: str, subject: str = "", weight: Weight = Weight.STALL, message: str = "it is so") -> None:
        problem = Problem(code=code, message=message, hint="mend it", since=self.clock.now(), subject=subject)
        self.wrong[code, subject] = Weighed(problem=problem, weight=weight)

    def mend(self, code: str, subject: str = "") -> None:
        del self.wrong[code, subject]

    def look(self, observer: Observer = Observer.FULL, sees: frozenset[str] | None = None) -> None:
        self.desk.observe(
            Observation(
                observer=observer,
                at=self.clock.now(),
                boot=self.clock.boot,
                boottime_ns=self.clock.boottime_ns(),
                found=tuple(self.wrong.values()),
                sees=sees,
            )
        )

    def live(self, seconds: float, *, every: float = 60.0, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let time pass: a look and a step every so often."""
        end = self.clock.true + seconds
        while self.clock.true < end:
            self.clock.true = min(end, self.clock.true + every)
            meanwhile()
            self.look()
            self.desk.step()

    def prove(self, *names: str) -> None:
        """The roll call goes out, and the humans of these channels (all, if none is named) answer it."""
        self.desk.step()
        for name in names or [channel.name for channel in self.channels]:
            code = self.boxes.of(name, "roll-call")[-1].code
            assert code is not None
            assert self.desk.answer(code).is_accepted
        self.boxes.boxes.clear()

    def sees(self, letter: Received) -> str:
        return f"{letter.message.title}\n{letter.message.body}"


def changed(channel: Channel, url: str) -> Channel:
    return replace(channel, url=url)
