"""Running a program that tells a human something: bounded, alone, and never with a shell of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_TYPED_BYTES = 60_000  # a pipe takes that at once, whether it is read or not
_MOST_SAID_BYTES = 4_096
_LAST_WORDS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (negative: the signal), or None when it was stopped after its time."""

    code: int | None
    said: str


def run_program(words: Sequence[str], *, typed: bytes, environment: Mapping[str, str], timeout_seconds: float) -> Ended:
    """Run it with ``typed`` on stdin, in a session of its own; all of that is ended after its time. Raises OSError."""
    child = subprocess.Popen(
        list(words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    assert child.stdin is not None and child.stdout is not None
    said = bytearray()
    listener = threading.Thread(target=_listen, args=(child.stdout.fileno(), said), daemon=True)
    listener.start()
    try:
        _tell(child.stdin.fileno(), typed[:_MOST_TYPED_BYTES])
        child.stdin.close()
        code = child.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        _end_all(child.pid)
        child.wait()
        return Ended(None, "")
    finally:
        listener.join(_LAST_WORDS_SECONDS)
        if not listener.is_alive():  # else it left somebody running who has the other end; the thread ends with them
            child.stdout.close()
    return Ended(code, bytes(said).decode("utf-8", "replace"))


def _tell(fd: int, typed: bytes) -> None:
    try:
        os.write(fd, typed)
    except BrokenPipeError:
        pass  # it does not read: its exit code says whether that is well


def _listen(fd: int, said: bytearray) -> None:
    while True:
        try:
            data = os.read(fd, 65_536)
        except OSError:
            return
        if not data:
            return
        said += data
        del said[:-_MOST_SAID_BYTES]


def _end_all(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
