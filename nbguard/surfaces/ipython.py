"""A notice in IPython and in kernels: one line when the daemon gives no sign of life, or has something to say.

Opt-in, in ipython_config.py: ``c.InteractiveShellApp.extensions = ["nbguard.surfaces.ipython"]``. Looks at the times of
two small files, imports nothing that IPython has not, and never raises.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

STALE_SECONDS = 180.0
GRACE_SECONDS = 15.0
LOOK_SECONDS = 60.0
AGAIN_SECONDS = 1_800.0


class _Events(Protocol):
    def register(self, event: str, function: Callable[..., None]) -> None: ...
    def unregister(self, event: str, function: Callable[..., None]) -> None: ...


class _Shell(Protocol):
    @property
    def events(self) -> _Events: ...


class Surface:
    """Looks at ``state`` now and then, and says what is new, or still so after half an hour. Times are seconds."""

    def __init__(
        self,
        state: str,
        say: Callable[[str], None],
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._say = say
        self._wall = wall
        self._monotonic = monotonic
        self._looked_at = self._said_at = self._stale_since = float("-inf")
        self._said = ""

    def look(self, *_: object) -> None:
        """Before a cell runs; whatever goes wrong here is not the cell's trouble."""
        try:
            now = self._monotonic()
            if now - self._looked_at < LOOK_SECONDS:
                return
            line = self._line(now)
            self._looked_at = now if self._stale_since == float("-inf") or line else now - LOOK_SECONDS + GRACE_SECONDS
            if line and (line != self._said or now - self._said_at >= AGAIN_SECONDS):
                self._said_at = now
                self._say(line)
            self._said = line
        except Exception:  # noqa: BLE001, S110 - a notice must never stand in the way of a cell
            pass

    def _line(self, now: float) -> str:
        if not os.path.isdir(self._state):
            return f"nbguard: {self._state} is not there: notebooks may not be kept"
        if _is_fresh(self._path("heartbeat.json"), self._wall()):
            self._stale_since = float("-inf")
        elif '"uninstalled"' not in _first_bytes(self._path("stop.json")):
            if self._stale_since == float("-inf"):
                self._stale_since = now
            # A laptop that has just woken: the daemon is there, and beats in a moment.
            if not self._is_daemon_there() or now - self._stale_since >= GRACE_SECONDS:
                return "nbguard: no sign of life for minutes: notebooks may not be kept. Run: nbguard status"
            return ""
        notice = _first_bytes(self._path("notice")).split("\n", 1)[0]
        return f"nbguard: {''.join(c if c.isprintable() else '?' for c in notice)}" if notice else ""

    def _is_daemon_there(self) -> bool:
        found = _first_bytes(self._path("heartbeat.json")).partition('"pid": ')[2].partition(",")[0]
        if not found.isdigit():
            return False
        try:
            os.kill(int(found), 0)
        except (OSError, OverflowError):
            return False
        return True

    def _path(self, name: str) -> str:
        return os.path.join(self._state, name)


def state_folder(environment: Mapping[str, str], home: str, platform: str) -> str:
    """Where nbguard's state is, by its own rules (NBGUARD_HOME) and the platform's, without asking platformdirs."""
    if ours := environment.get("NBGUARD_HOME"):
        return os.path.join(os.path.abspath(os.path.expanduser(ours)), "state")
    if state := environment.get("XDG_STATE_HOME", "").strip():
        return os.path.join(os.path.expanduser(state), "nbguard")
    if platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "nbguard")
    return os.path.join(home, ".local", "state", "nbguard")


_loaded: list[Surface] = []


def load_ipython_extension(shell: _Shell) -> None:
    """IPython calls this; in a terminal it speaks at once, in a kernel with the first cell (nobody sees what a kernel
    says before)."""
    try:
        state = state_folder(os.environ, os.path.expanduser("~"), sys.platform)
        surface = Surface(state, lambda line: print(line, file=sys.stderr))
        if not hasattr(shell, "kernel"):
            surface.look()
        shell.events.register("pre_run_cell", surface.look)
        _loaded.append(surface)
    except Exception:  # noqa: BLE001, S110 - a notice must never stand in the way of a start
        pass


def unload_ipython_extension(shell: _Shell) -> None:
    """IPython calls this when the extension is to go."""
    while _loaded:
        shell.events.unregister("pre_run_cell", _loaded.pop().look)


def _is_fresh(path: str, now: float) -> bool:
    try:
        return now - os.stat(path).st_mtime < STALE_SECONDS
    except OSError:
        return False


def _first_bytes(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            return file.read(400).decode("utf-8", "replace")
    except OSError:
        return ""
