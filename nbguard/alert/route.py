"""What every kind of channel is turned into, once: something that sends, and the words it must never let slip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nbguard.alerting import Message, Sent
from nbguard.errors import NbguardError


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``send`` may raise or hang: its caller sees to both. ``secrets`` are hidden in whatever is said of it."""

    send: Callable[[Message], Sent]
    secrets: tuple[str, ...] = ()


class BadChannel(NbguardError):
    """A channel that cannot be used as it is written. ``for_good``: another try will not do better."""

    code = "channel-bad"

    def __init__(self, message: str, *, hint: str = "", for_good: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.for_good = for_good
