"""The receiver's process: subscribes to kernels' IOPub channels, drains them, and drops what nobody takes.

It listens only (SUB sockets): nothing is ever sent to a kernel. Commands come on stdin, packets leave on stdout; keys
come with the commands and stay in memory. It ends when stdin ends, and with the thread that started it. Only what it
needs is imported: pyzmq by itself, because jupyter_client would more than double its memory.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time

import zmq

from nbguard.flight.outbox import Allowance, Outbox
from nbguard.flight.signature import is_signed
from nbguard.flight.wire import Cut, Kind, Packet, Splitter, number, pack

BEAT_SECONDS = 2.0
_DELIMITER = b"<IDS|MSG>"
_QUEUE_MESSAGES = 500
_LONGEST_MESSAGE_BYTES = 512_000_000
_ADDRESS_SPACE_BYTES = 2_000_000_000
_BURST_BYTES = 32_000_000
_BYTES_PER_SECOND = 4_000_000
_LONGEST_HEADER_BYTES = 64_000
_MESSAGES_IN_A_ROW = 500
# A cell says several things in some milliseconds: waking for each of them would disturb it.
_GATHER_SECONDS = 0.005
_BEGINNING_BYTES = 300
_READ_BYTES = 1 << 16
# Messages without which a run has no beginning or no end; they pass whatever outputs do.
_VITAL = (b'"execute_input"', b'"status"', b'"error"')
# Widgets talk a lot, and nothing of it is an output.
_IGNORED = (b'"comm_open"', b'"comm_msg"', b'"comm_close"')
_EVENT = struct.Struct("=HI")


class Tap:
    """One kernel's channel."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], number_of_tap: int, parts: tuple[bytes, ...]) -> None:
        """Connect. Raises zmq.ZMQError when the address cannot be one."""
        address, self._key, scheme, public, secret, longest = parts
        self.number = number_of_tap
        self._scheme = scheme.decode("ascii", "replace")
        self._longest = int(longest)
        self._allowance = Allowance(_BURST_BYTES, _BYTES_PER_SECOND, time.monotonic())
        self.socket = context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = _QUEUE_MESSAGES
        self.socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_MESSAGE_BYTES)
        try:
            if public:
                self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
                self.socket.curve_serverkey = public
            # bytes: what is in the other parts of the tuple never reaches a message of an error.
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
            self.events = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
            self.socket.connect(address.decode("utf-8", "surrogateescape"))
        except (zmq.ZMQError, ValueError, UnicodeError):
            self.close()
            raise

    def close(self) -> None:
        """Leave; the kernel's side forgets us."""
        self.socket.disable_monitor()
        self.socket.close(linger=0)

    def drain(self, outbox: Outbox) -> None:
        """Take what has come, some messages at most."""
        for _ in range(_MESSAGES_IN_A_ROW):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._pass_on([frame.buffer for frame in frames], outbox)

    def tell_events(self, outbox: Outbox) -> None:
        """Pass on that the connection came or went."""
        while True:
            try:
                event, _ = _EVENT.unpack(self.events.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return
            kind = Kind.UP if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else Kind.DOWN
            outbox.say(pack(kind, number(self.number)))

    def _pass_on(self, frames: list[memoryview], outbox: Outbox) -> None:
        start = next((at for at, frame in enumerate(frames[:4]) if frame == _DELIMITER), None)
        if start is None or len(frames) < start + 6:
            return
        signature, header, parent, _, content = signed = frames[start + 1 : start + 6]
        if len(header) > _LONGEST_HEADER_BYTES or len(parent) > _LONGEST_HEADER_BYTES:
            return
        head = bytes(header)
        if any(kind in head for kind in _IGNORED):
            return
        if not is_signed(self._key, self._scheme, bytes(signature), signed[1:]):
            outbox.say(pack(Kind.FORGED, number(self.number), number(1)))
            return
        is_vital = any(kind in head for kind in _VITAL)
        size, cut = len(content), Cut.WHOLE
        if size > self._longest:
            content, cut = content[: self._longest], Cut.TOO_LONG
        if not is_vital and not self._allowance.take(len(content), time.monotonic()):
            content, cut = content[:_BEGINNING_BYTES], Cut.TOO_MUCH
        parts = (number(self.number), number(cut), number(size), head, bytes(parent), bytes(content))
        outbox.put(self.number, pack(Kind.MESSAGE, *parts), is_vital=is_vital)


class Receiver:
    """All taps, and the two pipes."""

    def __init__(self, commands: int, packets: int) -> None:
        self._commands, self._packets = commands, packets
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._poller.register(commands, zmq.POLLIN)
        self._taps: dict[int, Tap] = {}
        self._splitter = Splitter()
        self._outbox = Outbox()

    def run(self) -> None:
        """Until the commands end."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self._outbox.say(pack(Kind.BEAT))
                due = now + BEAT_SECONDS
            self._write()
            ready = dict(self._poller.poll(max(0, int((due - time.monotonic()) * 1000) + 1)))
            if self._commands in ready and not self._obey():
                return
            if any(tap.socket in ready for tap in self._taps.values()):
                time.sleep(_GATHER_SECONDS)
            for tap in list(self._taps.values()):
                if tap.socket in ready:
                    tap.drain(self._outbox)
                if tap.events in ready:
                    tap.tell_events(self._outbox)

    def _write(self) -> None:
        """Write what the pipe takes; the rest waits for room in it."""
        try:
            while (view := self._outbox.next()) is not None:
                self._outbox.wrote(os.write(self._packets, view))
        except BlockingIOError:
            self._poller.register(self._packets, zmq.POLLOUT)
        else:
            if self._packets in self._poller:
                self._poller.unregister(self._packets)

    def _obey(self) -> bool:
        """Do what is asked; False when nobody is there to ask any more."""
        data = os.read(self._commands, _READ_BYTES)
        if not data:
            return False
        for packet in self._splitter.feed(data):
            self._leave(int(packet.parts[0]))
            if packet.kind is Kind.FOLLOW:
                self._follow(packet)
        return True

    def _follow(self, packet: Packet) -> None:
        tap_number = int(packet.parts[0])
        try:
            tap = Tap(self._context, tap_number, packet.parts[1:])
        except (zmq.ZMQError, ValueError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, zmq.ZMQError) else type(error).__name__
            self._outbox.say(pack(Kind.REFUSED, number(tap_number), str(reason).encode("utf-8", "replace")))
            return
        self._taps[tap_number] = tap
        self._poller.register(tap.socket, zmq.POLLIN)
        self._poller.register(tap.events, zmq.POLLIN)

    def _leave(self, tap_number: int) -> None:
        tap = self._taps.pop(tap_number, None)
        if tap is not None:
            self._poller.unregister(tap.socket)
            self._poller.unregister(tap.events)
            tap.close()


def _end_with_the_daemon() -> None:
    """Be killed when the thread that started us ends, also while stopped (elsewhere than on Linux: stdin ends)."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig, sigkill = 1, 9
    try:
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill, 0, 0, 0)
    except (OSError, AttributeError):
        pass  # no such call: stdin's end is left


def _limit(what: int, most: int) -> None:
    """Lower a limit, where the system lets us."""
    _soft, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(hard, most)
    try:
        resource.setrlimit(what, (most, hard))
    except (ValueError, OSError):
        pass  # macOS knows the limit and does not take it


def main() -> int:
    """Receive until stdin ends; returns the exit code."""
    _end_with_the_daemon()
    _limit(resource.RLIMIT_CORE, 0)  # a core file would hold keys
    _limit(resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES)
    os.set_blocking(1, False)
    try:
        Receiver(0, 1).run()
    except BrokenPipeError:
        pass  # the daemon is gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
