"""Problems that are there now, noted by workers and read by the heartbeat; ``since`` stays while one lasts."""

from __future__ import annotations

import threading

from nbguard.clock import Clock
from nbguard.errors import NbguardError
from nbguard.model import Problem


class ProblemBoard:
    """Thread-safe. A problem is known by its (code, subject)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._problems: dict[tuple[str, str], Problem] = {}

    def note(self, code: str, message: str, hint: str, subject: str = "") -> None:
        """It is there (still); the message is the latest."""
        with self._lock:
            known = self._problems.get((code, subject))
            since = known.since if known is not None else self._clock.now()
            self._problems[code, subject] = Problem(code=code, message=message, hint=hint, since=since, subject=subject)

    def note_error(self, error: NbguardError, subject: str = "") -> None:
        """The problem an error stands for."""
        self.note(error.code, error.message, error.hint, subject)

    def clear(self, subject: str) -> None:
        """Whatever was wrong with this subject is over."""
        with self._lock:
            for key in [key for key in self._problems if key[1] == subject]:
                del self._problems[key]

    def all(self) -> tuple[Problem, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(sorted(self._problems.values(), key=lambda problem: problem.since))
