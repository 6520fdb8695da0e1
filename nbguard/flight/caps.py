"""How much of what kernels say is recorded: each output, all of a day, and what is held while cells still run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import date, datetime

_PIECE_CHARS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """In bytes. ``held_bytes`` bounds the outputs of all cells that run at this moment."""

    output_bytes: int = 8_000_000
    day_bytes: int = 250_000_000
    held_bytes: int = 32_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What was recorded on one day (UTC)."""

    day: date
    size: int

    def at(self, now: datetime) -> Spent:
        """The same, or nothing yet when another day has begun."""
        return self if self.day == now.date() else Spent(now.date(), 0)

    def plus(self, size: int) -> Spent:
        """With so many bytes more."""
        return Spent(self.day, self.size + size)


class Ledger:
    """What is held and what was spent, against the caps. All kernels share one; a new day begins with :meth:`look`."""

    def __init__(self, caps: Caps, spent: Spent) -> None:
        self.caps = caps
        self._spent = spent
        self.held = 0

    def look(self, now: datetime) -> None:
        """Begin another day when it is one."""
        self._spent = self._spent.at(now)

    def refusal(self, size: int) -> str:
        """Why an output of ``size`` bytes is left out, or the empty string when it is not."""
        caps = self.caps
        if size > caps.output_bytes:
            return f"an output of {size} bytes was left out: over the cap of {caps.output_bytes} for one"
        if self._spent.size + self.held + size > caps.day_bytes:
            return f"outputs were left out: over the cap of {caps.day_bytes} bytes for one day"
        if self.held + size > caps.held_bytes:
            return f"outputs were left out: over {caps.held_bytes} bytes in cells that run at the same time"
        return ""

    def room_for_text(self) -> int:
        """How many bytes of text may still come, whatever one output may hold."""
        return max(0, min(self.caps.day_bytes - self._spent.size, self.caps.held_bytes) - self.held)

    def hold(self, size: int) -> None:
        """So many bytes more (or fewer) are held."""
        self.held += size

    def release(self, size: int) -> None:
        """So many bytes are not held any more."""
        self.held -= size

    def kept(self, size: int) -> None:
        """So many bytes were recorded today."""
        self._spent = self._spent.plus(size)


class Text:
    """A stream's text: its head as it came, then its newest part; ``missing`` bytes between them were left out.

    Held in pieces, for a cell may print a line a hundred thousand times. Sizes are in characters, which is close enough
    to bytes for a cap.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._half = max(1, cap // 2)
        self._head: deque[str] = deque()
        self._tail: deque[str] = deque()
        self._head_size = self._tail_size = 0
        self.missing = 0
        self._is_split = False

    @property
    def size(self) -> int:
        """What is held."""
        return self._head_size + self._tail_size

    def add(self, more: str) -> None:
        """More text at its end: half of the cap is for the head, half for the newest."""
        if not self._is_split:
            if self._head_size + len(more) <= self._cap:
                _append(self._head, more)
                self._head_size += len(more)
                return
            more = self._split() + more
        if len(more) > self._half:
            self.missing += len(more) - self._half
            more = more[-self._half :]
        _append(self._tail, more)
        self._tail_size += len(more)
        while self._tail_size > self._half:
            first = self._tail.popleft()
            over = min(len(first), self._tail_size - self._half)
            if over < len(first):
                self._tail.appendleft(first[over:])
            self._tail_size -= over
            self.missing += over

    def lose(self, size: int) -> None:
        """So many bytes at its end never came."""
        if size and not self._is_split:
            rest = self._split()
            self._tail.append(rest)
            self._tail_size = len(rest)
        self.missing += size

    def _split(self) -> str:
        """Keep a half as the head; returns what is behind it."""
        self._is_split = True
        whole = "".join(self._head)
        self._head = deque([whole[: self._half]])
        self._head_size = len(self._head[0])
        return whole[self._half :]

    def __str__(self) -> str:
        head, tail = "".join(self._head), "".join(self._tail)
        if not self.missing:
            return head + tail
        return f"{head}\n[... {self.missing} bytes were not recorded ...]\n{tail}"


def _append(pieces: deque[str], more: str) -> None:
    """Small pieces are joined: a piece for each line would weigh more than the line."""
    if pieces and len(pieces[-1]) + len(more) <= _PIECE_CHARS:
        pieces[-1] += more
    else:
        pieces.append(more)
