"""A deadline for what has none: looking up a name, or a server that answers byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Answer = TypeVar("_Answer")


class Errand(Generic[_Answer]):
    """Something under way in a thread of its own, which a process that ends does not wait for."""

    def __init__(self, doing: Callable[[], _Answer], name: str) -> None:
        self._answers: list[_Answer] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(doing()), name=name, daemon=True)
        self._thread.start()

    def answer(self, seconds: float) -> _Answer | None:
        """What came of it, or None when it is not done after so many seconds."""
        self._thread.join(seconds)
        return self._answers[0] if self._answers else None

    def is_under_way(self) -> bool:
        return self._thread.is_alive()
