"""A git child that talks to a mirror: in a session of its own, niced, within a time, ended when the daemon stops."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nbguard.clock import SystemClock
from nbguard.errors import ArchiveTrouble
from nbguard.ports import Progress

_NICE = ("/usr/bin/nice", "-n", "19") if os.path.exists("/usr/bin/nice") else ()
_LOOK_SECONDS = 0.5
_MOST_OUTPUT = 8_000_000
_Answer = TypeVar("_Answer")
_COUNTED = re.compile(rb"(?:Counting|Compressing|Writing) objects: +\d+% \((\d+)/(\d+)\)")


class MirrorTrouble(ArchiveTrouble):
    """A mirror does not take what it should, or does not answer. Tried again by itself."""

    code = "mirror-late"


class Stopped(ArchiveTrouble):
    """It was ended because the daemon stops; what had arrived stays, and the rest follows."""

    code = "stopped"


@dataclass(frozen=True, slots=True)
class Said:
    """How a child ended, and what it said."""

    status: int
    out: str
    talk: str


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    seconds: float,
    stop: threading.Event,
    progress: Progress | None = None,
) -> Said:
    """Run it to its end. Raises MirrorTrouble when it takes longer than ``seconds``, Stopped; then it was killed."""
    try:
        child = subprocess.Popen(
            [*_NICE, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd="/",
            start_new_session=True,  # ssh and receive-pack end with it
            umask=0o077,
        )
    except OSError as error:
        raise MirrorTrouble(f"git does not start: {error.strerror}", hint="see `nbguard doctor`") from error
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    try:
        out, talk = _listen(child, lambda: stop.is_set() or clock.monotonic() > deadline, progress)
        status = child.wait(timeout=max(1.0, deadline - clock.monotonic()))
    except (_Overdue, subprocess.TimeoutExpired):
        _kill(child)
        if stop.is_set():
            raise Stopped("ended with the daemon", hint="it goes on at the next start") from None
        raise MirrorTrouble(
            f"no end after {seconds:.0f} s", hint="see whether the mirror's disk or server still answers"
        ) from None
    except BaseException:
        _kill(child)
        raise
    return Said(status, out.decode("utf-8", "replace"), talk.decode("utf-8", "replace"))


class _Overdue(Exception):
    pass


def _listen(
    child: subprocess.Popen[bytes], is_over: Callable[[], bool], progress: Progress | None
) -> tuple[bytes, bytes]:
    assert child.stdout is not None and child.stderr is not None
    heard = {child.stdout: bytearray(), child.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            if is_over():
                raise _Overdue
            for key, _ in selector.select(_LOOK_SECONDS):
                stream = child.stdout if key.fileobj is child.stdout else child.stderr
                chunk = os.read(stream.fileno(), 1 << 16)
                if not chunk:
                    selector.unregister(stream)
                    continue
                heard[stream] += chunk[: max(0, _MOST_OUTPUT - len(heard[stream]))]
                if stream is child.stderr and progress is not None and (counts := _COUNTED.findall(chunk)):
                    progress(int(counts[-1][0]), int(counts[-1][1]))
    child.stdout.close()
    child.stderr.close()
    return bytes(heard[child.stdout]), bytes(heard[child.stderr])


def _kill(child: subprocess.Popen[bytes]) -> None:
    """It and all it started. One that hangs in the disk is left: nobody waits for it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            child.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            continue  # its children may still be there
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


class Patience:
    """Asks a file system that may never answer (a network disk that went away), without waiting for ever.

    A question that hangs is left to its thread; until it comes back nothing more is asked of that place.
    """

    def __init__(self, seconds: float = 20.0) -> None:
        self._seconds = seconds
        self._hanging: dict[str, threading.Thread] = {}

    def ask(self, place: str, question: Callable[[], _Answer]) -> _Answer:
        """The answer, or what it raises. Raises MirrorTrouble when there is none in time."""
        before = self._hanging.get(place)
        if before is not None and before.is_alive():
            raise _no_answer(place)
        answers: list[_Answer] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(question())
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked
                errors.append(error)

        thread = threading.Thread(target=ask, name="mirror-disk", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            self._hanging[place] = thread
            raise _no_answer(place)
        self._hanging.pop(place, None)
        if errors:
            raise errors[0]
        return answers[0]


def _no_answer(place: str) -> MirrorTrouble:
    return MirrorTrouble(f"{place} does not answer", hint="see whether its disk is there (mount, dmesg)")
