"""One machine at a thirtieth of the usual pace: a real daemon, real checks as their timers would start them, a human
whose letters are files.

Every interval of the configuration is the default one divided by ``PACE``: what is measured here, times ``PACE``, is
what takes place with the defaults, and a little less, for a process takes as long to start as ever.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nbguard.settings import Alerts, Checks, Intervals, RollCall
from tests.alert.servers import Mailbox
from tests.helpers import notebook_bytes, poll
from tests.journeys.disks import BreakableDisk
from tests.journeys.guarded import Guarded
from tests.journeys.test_clock import WallClock

PACE = 30.0
_STEP_SECONDS = 0.05


def at_pace(*, more: Mapping[str, Mapping[str, object]] | None = None) -> dict[str, dict[str, object]]:
    """The default intervals, checks and alerts, divided."""
    tables: dict[str, dict[str, object]] = {}
    for name, default in (
        ("intervals", Intervals()),
        ("checks", Checks()),
        ("alerts", Alerts()),
        ("roll_call", RollCall()),
    ):
        tables[name] = {
            each.name: _divided(getattr(default, each.name))
            for each in fields(default)
            if each.name.endswith("_seconds") and each.name != "send_timeout_seconds"
        }
    for name, values in (more or {}).items():
        tables[name] = {**tables.get(name, {}), **values}
    return tables


def _divided(value: float | tuple[float, ...]) -> float | list[float]:
    return [each / PACE for each in value] if isinstance(value, tuple) else value / PACE


@dataclass(frozen=True)
class Look:
    """One check: when it began and ended (monotonic), its exit code, what it said."""

    light: bool
    began_at: float
    ended_at: float
    code: int
    said: Mapping[str, Any]
    talk: str

    def codes(self) -> set[str]:
        return {problem["code"] for problem in self.said.get("problems", ())}


@dataclass
class Machine:
    """``guard`` has the daemon. A channel without a URL is a command that leaves letters in the inbox."""

    guard: Guarded
    inbox: Path
    extra: dict[str, dict[str, object]] = field(default_factory=dict)
    channels: Sequence[str] = ("",)
    mailbox: Mailbox | None = None
    looks: list[Look] = field(default_factory=list)
    device: BreakableDisk | None = None
    clock: WallClock | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _timers: list[threading.Thread] = field(default_factory=list)

    def configure(self, roots: Sequence[Path] | None = None) -> None:
        """Write the configuration; the human is a command that puts each message into a file of its own."""
        self.guard.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.inbox.mkdir(exist_ok=True)
        lines = [
            "schema = 1",
            f"roots = {json.dumps([str(root) for root in (self.guard.roots if roots is None else roots)])}",
            *(f"{key} = {json.dumps(value)}" for key, value in self.guard.configured.items()),
        ]
        for name, values in at_pace(more=self.extra).items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        words = f"cat >'{self.inbox}/.new.'$$ && mv '{self.inbox}/.new.'$$ '{self.inbox}/'$$"
        letters = f"command = {json.dumps(['/bin/sh', '-c', words])}"
        for number, url in enumerate(self.channels):
            lines += ["", "[[channels]]", f'name = "channel-{number}"', f'human = "human-{number}"']
            lines += [f"url = {json.dumps(url)}" if url else letters]
        path = self.guard.home / "config.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(0o600)

    def check(self, *arguments: str) -> Look:
        """One check, now."""
        began_at = time.monotonic()
        done = subprocess.run(
            self.guard.words("check", "--json", *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.guard.env(),
            check=False,
        )
        try:
            said = json.loads(done.stdout)
        except ValueError:
            said = {}
        return Look(
            light="--light" in arguments,
            began_at=began_at,
            ended_at=time.monotonic(),
            code=done.returncode,
            said=said,
            talk=done.stderr,
        )

    def start_checking(self) -> None:
        """As the two timers do: a light one and a full one, each at its own pace."""
        checks = Checks()
        self._ending.clear()
        for arguments, seconds in ((("--light",), checks.light_seconds / PACE), ((), checks.full_seconds / PACE)):
            timer = threading.Thread(target=self._every, args=(arguments, seconds), daemon=True)
            timer.start()
            self._timers.append(timer)

    def stop_checking(self) -> None:
        self._ending.set()
        for timer in self._timers:
            timer.join(130)
        self._timers.clear()

    def _every(self, arguments: tuple[str, ...], seconds: float) -> None:
        due = time.monotonic() + seconds
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due = max(due + seconds, time.monotonic())
            self.looks.append(self.check(*arguments))

    def letters(self) -> list[tuple[float, str]]:
        """(seconds since 1970, text) of every message that came, the oldest first."""
        there = [path for path in self.inbox.iterdir() if not path.name.startswith(".")]
        return sorted((path.stat().st_mtime, path.read_text(errors="replace")) for path in there)

    def seen_after(self, moment: float, codes: frozenset[str]) -> float | None:
        """Seconds at the default pace from that moment (monotonic) to the first check that names one of the codes:
        what was waited for is multiplied, what the check itself took is not."""
        for look in list(self.looks):
            if look.ended_at >= moment and look.codes() & codes:
                return max(0.0, look.began_at - moment) * PACE + look.ended_at - look.began_at
        return None

    def told_after(self, moment: float, codes: frozenset[str]) -> float | None:
        """The same for the first letter that names one, whoever sent it: also here, what the check that sent it took is
        not multiplied."""
        wall = time.time() - (time.monotonic() - moment)
        for at, text in self.letters():
            if at >= wall - 0.01 and any(code in text for code in codes):
                came = moment + max(0.0, at - wall)
                began = max(
                    (look.began_at for look in self.looks if look.began_at <= came <= look.ended_at), default=came
                )
                return max(0.0, began - moment) * PACE + came - max(began, moment)
        return None

    def until(self, ask: Callable[[], float | None], seconds: float) -> float | None:
        """The first answer within so many seconds."""
        try:
            return poll(lambda: None if (answer := ask()) is None else (answer + 1e-9), seconds, every=_STEP_SECONDS)
        except AssertionError:
            return None

    def save(self, name: str, *sources: str) -> Path:
        """Save a notebook in the first root."""
        path = Path(self.guard.roots[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(notebook_bytes(*sources))
        return path


@contextmanager
def machine(
    base: Path,
    *roots: Path,
    extra: Mapping[str, Mapping[str, object]] | None = None,
    configured: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    channels: Sequence[str] = ("",),
    checking: bool = True,
) -> Generator[Machine]:
    """A machine with its daemon, a few versions packed, checks running; all ends with the block."""
    roots = roots or (base / "work",)
    guard = Guarded(base / "guard", roots, dict(environment or {}), before, configured=dict(configured or {}))
    made = Machine(guard, base / "inbox", {name: dict(table) for name, table in (extra or {}).items()}, channels)
    for root in roots:
        root.mkdir(parents=True, exist_ok=True)
    made.configure()
    for number in range(3):
        made.save(f"{number}.ipynb", f"first = {number}")
    guard.start()
    try:
        for number in range(3):
            guard.until_kept(roots[0] / f"{number}.ipynb", notebook_bytes(f"first = {number}"))
        if checking:
            made.start_checking()
        yield made
    finally:
        made.stop_checking()
        guard.close()
