"""What a live kernel remembers, asked on its control channel with ``history_request``: nothing is executed in it.

A question makes the kernel publish ``busy`` and ``idle``. A Jupyter server takes that for activity, and for the state
of a cell that runs meanwhile: so a kernel is asked once, and never while its server calls it busy. Messages are made
by hand (Jupyter messaging protocol 5.x), because jupyter_client would cost the daemon 14 MB.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from nbguard.errors import NbguardError
from nbguard.executed import CellOrigin, ExecutedCell
from nbguard.history.connection import Connection
from nbguard.history.kernels import LiveKernel

if TYPE_CHECKING:
    import zmq

TIMEOUT_SECONDS: Final = 3.0
_DELIMITER: Final = b"<IDS|MSG>"
_MOST_STEPS: Final = 200
_ANY_THREAD_SINCE: Final = (8, 18)
_LONGEST_MESSAGE_BYTES: Final = 512_000_000

JsonObject = dict[str, object]


class KernelSilent(NbguardError):
    """A kernel did not answer in time, or answered what makes no sense; it may later."""

    code = "kernel-silent"


@dataclass(frozen=True, slots=True)
class Remembered:
    """One cell as a kernel remembers it: its number in the list, its source, the text of its result."""

    line: int
    source: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Now:
    """Which session a kernel is in, proven by itself, and its last cell. ``session`` is None when it cannot tell."""

    session: int | None
    last: Remembered


class Channel:
    """One connection to one kernel's control channel, for a few questions; a context manager. Use it from one thread.

    With ``shell`` to the channel on which cells are run, where a question waits for a running cell.

    Its identity is ours alone, so no frontend's answers are taken away. Raises KernelSilent.
    """

    def __init__(
        self, connection: Connection, timeout_seconds: float = TIMEOUT_SECONDS, *, shell: bool = False
    ) -> None:
        import zmq

        self._connection = connection
        self._address = connection.shell_address if shell else connection.control_address
        self._timeout_seconds = timeout_seconds
        self._session = uuid.uuid4().hex
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket = self._open()
        except (zmq.ZMQError, ValueError, UnicodeError) as error:
            self._context.destroy(linger=0)
            raise KernelSilent(f"no kernel can be reached so: {type(error).__name__}", hint=_HINT) from None

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def history(self, **content: object) -> list[tuple[int, int, object]]:
        """The rows of one ``history_request``: (session, line, source or [source, output])."""
        asked = {"raw": True, "output": False, "session": 0, "start": 0, "stop": None, "n": None, **content}
        answer = self.ask("history_request", {"pattern": None, "unique": False, **asked})
        rows = answer.get("history")
        if answer.get("status") != "ok" or not isinstance(rows, list):
            raise KernelSilent("a kernel did not tell its history", hint=_HINT)
        return [
            (row[0], row[1], row[2])
            for row in rows
            if isinstance(row, list) and len(row) == 3 and isinstance(row[0], int) and isinstance(row[1], int)
        ]

    def _open(self) -> zmq.Socket[bytes]:
        import zmq

        known = self._connection
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_MESSAGE_BYTES)
        if known.curve_public:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = known.curve_public
        socket.connect(self._address)
        return socket

    def ask(self, kind: str, content: JsonObject) -> JsonObject:
        """The content of the answer to one question."""
        import zmq

        message = uuid.uuid4().hex
        header = {
            "msg_id": message,
            "msg_type": kind,
            "username": "nbguard",
            "session": self._session,
            "date": "1970-01-01T00:00:00Z",
            "version": "5.3",
        }
        frames = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        try:
            self._socket.send_multipart([_DELIMITER, self._sign(frames), *frames], zmq.NOBLOCK)
            # Answers of an earlier question that came too late are passed over.
            while poller.poll(int(self._timeout_seconds * 1000)):
                answer = self._understood(self._socket.recv_multipart(), message)
                if answer is not None:
                    return answer
        except zmq.ZMQError as error:
            raise KernelSilent(f"a kernel could not be asked: {error.strerror}", hint=_HINT) from None
        raise KernelSilent(f"a kernel did not answer within {self._timeout_seconds:g} s", hint=_HINT)

    def _understood(self, parts: Sequence[bytes], message: str) -> JsonObject | None:
        """The content of the answer to ``message``; None for anything else, and for what the key did not sign."""
        if _DELIMITER not in parts:
            return None
        at = list(parts).index(_DELIMITER)
        signature, frames = parts[at + 1 : at + 2], list(parts[at + 2 : at + 6])
        if len(frames) < 4 or not hmac.compare_digest(self._sign(frames), signature[0]):
            return None
        try:
            parent, content = json.loads(frames[1]), json.loads(frames[3])
        except (ValueError, RecursionError):
            return None
        is_ours = isinstance(parent, dict) and parent.get("msg_id") == message
        return content if is_ours and isinstance(content, dict) else None

    def _sign(self, frames: Sequence[bytes]) -> bytes:
        known = self._connection
        if not known.key:
            return b""
        name = known.scheme.removeprefix("hmac-")
        if name not in hashlib.algorithms_available:
            raise KernelSilent(f"a kernel signs with {known.scheme!r}, which this Python does not know", hint=_HINT)
        seal = hmac.new(known.key, digestmod=name)
        for frame in frames:
            seal.update(frame)
        return seal.hexdigest().encode("ascii")


_HINT: Final = "nothing is lost: its cells are also read from the history database"


def prepare() -> None:
    """Import what asking needs: later its files may be gone with the rest of HOME."""
    import zmq

    with zmq.Context() as context:
        context.socket(zmq.DEALER).close(0)


def ask_now(connection: Connection, *, has_database: bool = True, timeout_seconds: float = TIMEOUT_SECONDS) -> Now:
    """Which session this kernel is in. ``session`` is None when it has run no cell yet, or cannot tell. Raises
    KernelSilent.

    ``has_database`` must be False unless its database is in place and sound: whatever goes wrong while IPython reads
    it, IPython calls it corrupt and moves the file at that path away. For the same reason ``tail`` is never asked for,
    which writes first, and an IPython that cannot read from the control channel's thread (before 8.18) is asked on the
    shell channel, where it can.
    """
    with Channel(connection, timeout_seconds) as channel:
        last = _last(channel)
        if last.line < 1 or not has_database:
            return Now(None, last)
        if _reads_from_any_thread(channel):
            return Now(_number(channel), last)
    with Channel(connection, timeout_seconds, shell=True) as channel:
        return Now(_number(channel), last)


def ask_history(
    kernel: LiveKernel, *, generation: str, session: int, seen_at: datetime, timeout_seconds: float = TIMEOUT_SECONDS
) -> list[ExecutedCell]:
    """Every cell that a live kernel remembers of its session, as (generation, session). Raises KernelSilent.

    After ``%reset`` a kernel counts its memory anew, and lines are what it says.
    """
    return [
        ExecutedCell(
            generation=generation,
            session=session,
            line=cell.line,
            source=cell.source,
            seen_at=seen_at,
            origin=CellOrigin.KERNEL,
            output=cell.output,
        )
        for cell in ask_cells(kernel, timeout_seconds=timeout_seconds)
    ]


def ask_cells(kernel: LiveKernel, *, since: int = 1, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Remembered]:
    """The cells that a live kernel remembers, from number ``since`` on. Raises KernelSilent."""
    if kernel.connection is None:
        raise KernelSilent("an IPython in a terminal has no channel to ask on", hint=_HINT)
    with Channel(kernel.connection, timeout_seconds) as channel:
        rows = channel.history(hist_access_type="range", output=True, start=max(since, 1))
    cells = [cell for _, line, told in rows if (cell := _cell(line, told)) is not None]
    return [replace(cell, source=cell.source.rstrip("\n")) for cell in cells if cell.line >= 1 and cell.source]


def _last(channel: Channel) -> Remembered:
    """The last cell of the present session, from memory; line 0 when there is none."""
    rows = channel.history(hist_access_type="range", start=-1)
    found = _cell(rows[-1][1], rows[-1][2]) if rows else None
    return found or Remembered(0, "", None)


def _reads_from_any_thread(channel: Channel) -> bool:
    """Whether this is an IPython that opens its database for every thread."""
    told = channel.ask("kernel_info_request", {})
    parts = str(told.get("implementation_version") or "").split(".")
    if told.get("implementation") != "ipython" or not all(part.isdecimal() for part in parts[:2]):
        return False
    return tuple(int(part) for part in parts[:2]) >= _ANY_THREAD_SINCE


def _number(channel: Channel) -> int | None:
    """The number of the present session. Sessions are asked for by their distance, until one has rows.

    Where none before it has, its own number is a small one. Either is believed only when the kernel answers for it
    with its present session, which it calls 0.
    """
    for steps in range(1, _MOST_STEPS):
        rows = channel.history(hist_access_type="range", session=-steps, start=1, stop=2)
        if rows and rows[0][0] > 0:
            number = rows[0][0] + steps
            return number if _is_present(channel, number) else None
    return next((number for number in range(1, _MOST_STEPS) if _is_present(channel, number)), None)


def _is_present(channel: Channel, number: int) -> bool:
    rows = channel.history(hist_access_type="range", session=number, start=1, stop=2)
    return bool(rows) and all(row[0] == 0 for row in rows)


def _cell(line: int, told: object) -> Remembered | None:
    source, output = told if isinstance(told, list) and len(told) == 2 else (told, None)
    if not isinstance(source, str):
        return None
    return Remembered(line, source, output if isinstance(output, str) else None)
