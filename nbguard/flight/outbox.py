"""What the receiver holds for the daemon: bounded, and what does not fit is counted, never waited for."""

from __future__ import annotations

from collections import deque

from nbguard.flight.wire import Kind, number, pack

ROOM_BYTES = 16_000_000
# Code, errors and the ends of runs still fit when outputs no longer do.
LAST_ROOM_BYTES = 20_000_000


class Outbox:
    """A queue of bytes that are to be written. Never blocks, never grows beyond its rooms."""

    def __init__(self, room_bytes: int = ROOM_BYTES, last_room_bytes: int = LAST_ROOM_BYTES) -> None:
        self._room, self._last_room = room_bytes, last_room_bytes
        self._queue: deque[memoryview] = deque()
        self._lost: dict[int, tuple[int, int]] = {}
        self.waiting_bytes = 0

    def put(self, tap: int, packet: bytes, *, is_vital: bool) -> bool:
        """Queue a packet of one tap; False when there was no room.

        That is told before the tap's next packet, so that it is known before a run's end is.
        """
        if self.waiting_bytes + len(packet) > (self._last_room if is_vital else self._room):
            messages, size = self._lost.get(tap, (0, 0))
            self._lost[tap] = (messages + 1, size + len(packet))
            return False
        self._tell_lost(tap)
        self._add(packet)
        return True

    def say(self, packet: bytes) -> None:
        """Queue a few bytes about ourselves, unless even the last room is full."""
        if self.waiting_bytes + len(packet) <= self._last_room:
            self._add(packet)

    def next(self) -> memoryview | None:
        """What is to be written now; None when there is nothing."""
        if self._lost and self.waiting_bytes < self._room // 2:
            for tap in list(self._lost):
                self._tell_lost(tap)
        return self._queue[0] if self._queue else None

    def wrote(self, count: int) -> None:
        """So many bytes of :meth:`next` are gone."""
        self.waiting_bytes -= count
        rest = self._queue.popleft()[count:]
        if rest:
            self._queue.appendleft(rest)

    def _tell_lost(self, tap: int) -> None:
        if (lost := self._lost.pop(tap, None)) is not None:
            self._add(pack(Kind.LOST, number(tap), number(lost[0]), number(lost[1])))

    def _add(self, packet: bytes) -> None:
        self._queue.append(memoryview(packet))
        self.waiting_bytes += len(packet)


class Allowance:
    """How many bytes of outputs one kernel may send on: a burst at once, then so many a second."""

    def __init__(self, burst_bytes: float, bytes_per_second: float, now: float) -> None:
        self._burst, self._rate = burst_bytes, bytes_per_second
        self._left, self._at = burst_bytes, now

    def take(self, size: int, now: float) -> bool:
        """Whether ``size`` bytes may pass at ``now`` (monotonic seconds)."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True
