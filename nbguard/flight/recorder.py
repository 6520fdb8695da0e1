"""The recorder: follows the kernels it is told of, hears their receiver, and keeps runs the moment they end."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Sequence

from nbguard.clock import Clock
from nbguard.errors import StorageTrouble
from nbguard.executed import RunOutputs
from nbguard.flight.caps import Caps, Ledger, Spent
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.messages import parse
from nbguard.flight.process import ReceiverGone, ReceiverProcess
from nbguard.flight.runs import KERNEL_ENDED, NOT_RECORDED_ANY_MORE, Recorded, Tape, with_note
from nbguard.flight.wire import Cut, Kind, Packet, number, pack
from nbguard.model import Problem
from nbguard.ports import OutputStore, RecordLog
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)

_TRY_AGAIN_AFTER = 5.0
_LOOK_EVERY_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.3
_TOLD_SECONDS = 3600.0
_BACKLOG_BYTES = 64_000_000
_SHORT_LIFE_SECONDS = 60.0
_KEEPING = "recorded runs"
_CAME_BACK = "the connection to the kernel was lost for a while"
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 60.0
# JSON may write a character as six (\u0007), and text that is all of those is hardly an output anybody misses.
_JSON_ROOM_BYTES = 64_000


class FlightRecorder:
    """One thread's work. ``kernels`` says which are to be recorded now; it is asked every two seconds while there are
    any, and as often as the step is called, or soon after :meth:`look_now`, while there are none."""

    def __init__(
        self,
        *,
        kernels: Callable[[], Sequence[KernelToRecord]],
        log: RecordLog,
        outputs: OutputStore,
        clock: Clock,
        caps: Caps,
        spent_today: int = 0,
        start: Callable[[], ReceiverProcess] | None = None,
        keep_every_seconds: float = 1.0,
        restart_seconds: float = 10.0,
    ) -> None:
        self._kernels = kernels
        self._keeping, self._outputs = log, outputs
        self._clock = clock
        self._caps = caps
        self._ledger = Ledger(caps, Spent(clock.now().date(), spent_today))
        self._keep_every_seconds, self._restart_seconds = keep_every_seconds, restart_seconds
        self._start = start or (lambda: ReceiverProcess(clock))
        self._board = ProblemBoard(clock)
        self._receiver: ReceiverProcess | None = None
        self._tapes: dict[int, Tape] = {}
        self._numbers: dict[tuple[str, str, bytes], int] = {}
        self._down_at: dict[int, float] = {}
        self._next_number = 1
        self._backlog: dict[str, Recorded] = {}
        self._next_look = self._next_keep = self._next_start = clock.monotonic()
        self._started_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._told_until = 0.0
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._is_ending = False
        self.restarts = 0

    @property
    def receiver_pid(self) -> int | None:
        """The receiver's process id, while there is one."""
        return self._receiver.pid if self._receiver is not None else None

    def step(self, seconds: float) -> None:
        """Work for so long at most. What cannot be kept waits, is tried again, and is a problem meanwhile."""
        now = self._clock.monotonic()
        self._ledger.look(self._clock.now())
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_SECONDS
            self._follow(self._kernels())
            self._forget_problems(now)
        self._listen(seconds if self._has_nothing_to_do() else min(seconds, _LOOK_EVERY_SECONDS, self._until_keep()))
        if self._is_ending:
            self._listen_out()
        self._keep_when_due()

    def wake(self) -> None:
        """The daemon ends: hear what is on its way, and let the step return; from any thread."""
        self._is_ending = True
        self._end_wait()

    def _end_wait(self) -> None:
        try:
            os.write(self._wake_in, b"!")
        except BlockingIOError:
            pass  # it is awake already

    def look_now(self) -> None:
        """Ask for the kernels with the next step, and begin it now; from any thread."""
        self._next_look = 0.0
        self._end_wait()

    def stop(self) -> None:
        """Keep what there is and end the receiver."""
        if self._receiver is not None:
            self._take_last()
        self._let_receiver_go()
        for tape in self._tapes.values():
            self._take(tape.end(self._clock.now(), NOT_RECORDED_ANY_MORE))
        self._tapes.clear()
        self._numbers.clear()
        try:
            self._keep()
        except StorageTrouble as trouble:
            _log.error("%d recorded runs could not be kept: %s", len(self._backlog), trouble.message)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong now."""
        return self._board.all()

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _follow(self, kernels: Sequence[KernelToRecord]) -> None:
        wanted = {(kernel.kernel, kernel.address, kernel.key): kernel for kernel in kernels}
        for known in [known for known in self._numbers if known not in wanted]:
            if not self._may_come_back(self._numbers[known]):
                self._leave(known)
        for key, kernel in wanted.items():
            at = self._numbers.get(key)
            if at is not None:
                self._tapes[at].kernel = kernel
                continue
            at = self._numbers[key] = self._next_number
            self._next_number += 1
            self._tapes[at] = Tape(kernel, self._ledger, lambda: uuid.uuid4().hex)
            if self._receiver is not None:
                self._receiver.send(self._command(at))
        if not self._tapes:
            self._let_receiver_go()
        elif self._receiver is None and self._clock.monotonic() >= self._next_start:
            self._start_receiver()

    def _has_nothing_to_do(self) -> bool:
        return not (self._tapes or self._backlog or self._receiver is not None)

    def _may_come_back(self, at: int) -> bool:
        """A kernel that ends may be restarting, at the same address: its first cells are not to be missed."""
        down_at = self._down_at.get(at)
        return down_at is not None and self._clock.monotonic() - down_at < self._restart_seconds

    def _leave(self, known: tuple[str, str, bytes]) -> None:
        at = self._numbers.pop(known)
        self._down_at.pop(at, None)
        if self._receiver is not None:
            self._receiver.send(pack(Kind.LEAVE, number(at)))
        self._take(self._tapes.pop(at).end(self._clock.now(), KERNEL_ENDED))
        self._board.clear(known[0])

    def _command(self, at: int) -> bytes:
        kernel = self._tapes[at].kernel
        return pack(
            Kind.FOLLOW,
            number(at),
            kernel.address.encode("utf-8", "surrogateescape"),
            kernel.key,
            kernel.scheme.encode("utf-8", "replace"),
            kernel.curve_public,
            kernel.curve_secret,
            number(self._caps.output_bytes + _JSON_ROOM_BYTES),
        )

    # -- the receiver ----------------------------------------------------------------------------------------------

    def _start_receiver(self) -> None:
        try:
            self._receiver = self._start()
        except OSError as error:
            self._tell(f"the recorder's receiver could not be started: {error.strerror or error}")
            self._next_start = self._clock.monotonic() + _LONGEST_PAUSE_SECONDS
            return
        self._started_at = self._clock.monotonic()
        for at in self._tapes:
            self._receiver.send(self._command(at))

    def _listen(self, seconds: float) -> None:
        receiver = self._receiver
        if receiver is None:
            self._sleep(seconds)
            return
        try:
            packets = receiver.listen(seconds, self._wake_out)
        except ReceiverGone as gone:
            packets = gone.packets
            self._receiver = None
            self._after(gone.reason)
        self._drain_wakes()
        for packet in packets:
            self._hear(packet)

    def _listen_out(self) -> None:
        """The receiver ends with this thread: what a kernel said a moment ago is still between them."""
        until = self._clock.monotonic() + _LAST_WORDS_SECONDS
        while self._receiver is not None and (left := until - self._clock.monotonic()) > 0:
            self._listen(left)

    def _after(self, reason: str) -> None:
        """The receiver is gone: say so, and start another, sooner or later."""
        now = self._clock.monotonic()
        self.restarts += 1
        if now - self._started_at > _SHORT_LIFE_SECONDS:
            self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._next_start = now + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        self._next_look = min(self._next_look, self._next_start)
        _log.warning("the receiver is gone: %s", reason)
        note = f"some messages were missed: the receiver had to be started again ({reason})"
        for tape in self._tapes.values():
            tape.missed(note)
        self._tell(f"the recorder missed some seconds of {len(self._tapes)} kernels: of its receiver, {reason}")

    def _take_last(self) -> None:
        """What the receiver has said already."""
        assert self._receiver is not None
        try:
            for packet in self._receiver.listen(0.0, self._wake_out):
                self._hear(packet)
        except ReceiverGone as gone:
            for packet in gone.packets:
                self._hear(packet)
            self._receiver = None

    def _let_receiver_go(self) -> None:
        if self._receiver is not None:
            self._receiver.end()
            self._receiver = None

    def _hear(self, packet: Packet) -> None:
        if packet.kind is Kind.BEAT:
            return
        tape = self._tapes.get(int(packet.parts[0]))
        if tape is None:
            return  # we left it while this was on its way
        match packet:
            case Packet(Kind.MESSAGE, (_, cut, size, header, parent, content)):
                message = parse(header, parent, content, cut=Cut(int(cut)), size=int(size))
                if message is not None:
                    self._take(tape.hear(message, self._clock.now()))
            case Packet(Kind.DOWN, (at,)):
                self._down_at[int(at)] = self._clock.monotonic()
            case Packet(Kind.UP, (at,)):
                if self._down_at.pop(int(at), None) is not None:
                    tape.missed(_CAME_BACK)
            case Packet(Kind.LOST, (_, messages, size)):
                what = f"{int(messages)} messages ({int(size)} bytes) were dropped: they came too fast"
                tape.missed(what)
                self._tell(f"of {_name(tape.kernel)}, {what}")
            case Packet(Kind.FORGED, _):
                self._board.note(
                    "recorder-dropped",
                    f"messages of {_name(tape.kernel)} are not signed with its key; they are not recorded",
                    "restart the kernel; if it stays, somebody else answers at its address",
                    subject=tape.kernel.kernel,
                )
            case Packet(Kind.REFUSED, (_, reason)):
                self._board.note(
                    "recorder-dropped",
                    f"{_name(tape.kernel)} cannot be recorded: {reason.decode('utf-8', 'replace')}",
                    "see its connection file",
                    subject=tape.kernel.kernel,
                )

    # -- keeping ---------------------------------------------------------------------------------------------------

    def _take(self, recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            self._backlog.pop(one.run.id, None)
            self._backlog[one.run.id] = one

    def _until_keep(self) -> float:
        return max(0.0, self._next_keep - self._clock.monotonic()) if self._backlog else _LOOK_EVERY_SECONDS

    def _keep_when_due(self) -> None:
        now = self._clock.now()
        for tape in self._tapes.values():
            self._take(tape.so_far(now))
        if not self._backlog or self._clock.monotonic() < self._next_keep:
            return
        try:
            self._keep()
        except StorageTrouble as trouble:  # listening goes on: only memory stands between a kernel and its loss
            self._board.note_error(trouble, subject=_KEEPING)
            self._next_keep = self._clock.monotonic() + _TRY_AGAIN_AFTER * self._keep_every_seconds
        else:
            self._board.clear(_KEEPING)
            self._next_keep = self._clock.monotonic() + self._keep_every_seconds

    def _keep(self) -> None:
        """Outputs first: no run may speak of outputs that are not there."""
        waiting = list(self._backlog.values())
        if not waiting:
            return
        try:
            self._outputs.put(
                [
                    RunOutputs(run=one.run.id, recorded_at=one.run.ended_at or self._clock.now(), outputs=one.outputs)
                    for one in waiting
                    if one.outputs
                ]
            )
            self._keeping.append([one.run for one in waiting])
        except StorageTrouble:
            self._shed()
            raise
        self._backlog.clear()

    def _shed(self) -> None:
        """What cannot be kept waits in memory; outputs of the oldest runs go when that is too much, code never."""
        size = sum(len(one.outputs) for one in self._backlog.values())
        for identity, one in self._backlog.items():
            if size <= _BACKLOG_BYTES:
                return
            if one.outputs:
                size -= len(one.outputs)
                self._backlog[identity] = with_note(one, "its outputs were let go: they could not be kept on the disk")
                self._tell("recorded outputs were let go: they could not be kept on the disk for too long")

    # -- small things ----------------------------------------------------------------------------------------------

    def _tell(self, message: str) -> None:
        self._told_until = self._clock.monotonic() + _TOLD_SECONDS
        self._board.note(
            "recorder-dropped", message, "executed code is still kept from history; see docs/recorder.md", subject=""
        )

    def _forget_problems(self, now: float) -> None:
        if now >= self._told_until:
            self._board.clear("")

    def _sleep(self, seconds: float) -> None:
        import select

        select.select([self._wake_out], [], [], seconds)
        self._drain_wakes()

    def _drain_wakes(self) -> None:
        try:
            os.read(self._wake_out, 4096)
        except BlockingIOError:
            pass  # nobody woke us


def _name(kernel: KernelToRecord) -> str:
    return f"the kernel of {os.path.basename(kernel.path)!r}" if kernel.path else f"kernel {kernel.kernel}"
