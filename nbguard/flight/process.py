"""The receiver as the daemon sees it: a child process with a pipe each way, and the sound of its progress."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass

from nbguard.clock import Clock
from nbguard.flight.wire import Garbled, Packet, Splitter

STUCK_SECONDS = 5.0
# Python and pyzmq have to be loaded first, on a machine that may be busy; until then it follows nobody.
_FIRST_BEAT_SECONDS = 30.0
_READ_BYTES = 1 << 18
_READS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """When the receiver was last heard, and last given the chance to be (monotonic seconds)."""

    heard_at: float
    has_spoken: bool


def is_stuck(progress: Progress, now: float) -> bool:
    """Whether it made no progress for too long. To be asked only after a read that found nothing."""
    return now - progress.heard_at >= (STUCK_SECONDS if progress.has_spoken else _FIRST_BEAT_SECONDS)


class ReceiverProcess:
    """One life of the receiver. It inherits nothing of ours but its pipes, and stands in no folder of the user's."""

    def __init__(self, clock: Clock) -> None:
        """Start it. Raises OSError."""
        self._clock = clock
        self._splitter = Splitter()
        self._pending: deque[bytes] = deque()
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-m", "nbguard.flight.receiver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"MALLOC_ARENA_MAX": "2", "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # a Ctrl-C in the terminal is for the daemon, which ends it in order
            bufsize=0,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._commands, self._packets = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._commands, False)
        os.set_blocking(self._packets, False)
        self._progress = Progress(clock.monotonic(), has_spoken=False)
        self._poll = select.poll()
        self._poll.register(self._packets, select.POLLIN)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def send(self, command: bytes) -> None:
        """Tell it something; never blocks. One that does not listen is found stuck."""
        self._pending.append(command)
        self._push()

    def listen(self, seconds: float, also: int) -> list[Packet]:
        """Packets that came, waiting so long for the first, or until the descriptor ``also`` is readable.

        Raises ReceiverGone when it ended, was stuck and has been killed, or speaks nonsense.
        """
        self._push()
        self._poll.register(also, select.POLLIN)
        self._poll.poll(seconds * 1000)
        packets: list[Packet] = []
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._packets, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                raise ReceiverGone(self._ended(), packets)
            self._progress = Progress(self._clock.monotonic(), has_spoken=True)
            try:
                packets += self._splitter.feed(data)
            except Garbled as error:
                self.end()
                raise ReceiverGone(f"it spoke nonsense ({error})", packets) from error
            if len(data) < _READ_BYTES:
                break
        if not packets and is_stuck(self._progress, self._clock.monotonic()):
            self.end()
            raise ReceiverGone("it made no progress and was ended", packets)
        return packets

    def end(self) -> None:
        """Kill it, whatever it does, and let go of its pipes; harmless when it has ended."""
        if self._child.returncode is None:
            self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def _ended(self) -> str:
        self.end()
        code = self._child.returncode
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with {code}"

    def _push(self) -> None:
        try:
            while self._pending:
                command = self._pending.popleft()
                written = os.write(self._commands, command)
                if written < len(command):
                    self._pending.appendleft(command[written:])
        except BlockingIOError:
            self._pending.appendleft(command)
        except BrokenPipeError:
            self._pending.clear()  # it has ended, which listening will find


class ReceiverGone(Exception):
    """The receiver is no more; ``packets`` are the last that came."""

    def __init__(self, reason: str, packets: list[Packet]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.packets = packets
