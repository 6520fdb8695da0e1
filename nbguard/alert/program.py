"""Running a program that tells a human something: bounded, alone, and never with a shell of ours."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_TYPED_BYTES = 60_000  # a pipe takes that at once, whether it is read or not
_MOST_SAID_BYTES = 4_096
_QUIET_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (negative: the signal), or None when it was stopped after its time."""

    code: int | None
    said: str


def run_program(words: Sequence[str], *, typed: bytes, environment: Mapping[str, str], timeout_seconds: float) -> Ended:
    """Run it with ``typed`` on stdin, in a session of its own, which is ended after its time. What it leaves running
    when it ends by itself goes on. Raises OSError."""
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
    try:
        _tell(child.stdin.fileno(), typed[:_MOST_TYPED_BYTES])
        child.stdin.close()
        said = _listen(child, child.stdout.fileno(), time.monotonic() + timeout_seconds)
        if child.poll() is None:
            _end_all(child.pid)
            child.wait()
            return Ended(None, "")
        return Ended(child.returncode, said.decode("utf-8", "replace"))
    finally:
        child.stdin.close()
        child.stdout.close()


def _tell(fd: int, typed: bytes) -> None:
    try:
        os.write(fd, typed)
    except BrokenPipeError:
        pass  # it does not read: its exit code says whether that is well


def _listen(child: subprocess.Popen[bytes], fd: int, deadline: float) -> bytes:
    """The end of what it says, until it has ended or its time has."""
    said, is_open = bytearray(), True
    while (left := deadline - time.monotonic()) > 0:
        if is_open and select.select([fd], [], [], min(left, _QUIET_SECONDS))[0]:
            data = os.read(fd, 65_536)
            is_open = bool(data)
            said += data
            del said[:-_MOST_SAID_BYTES]
        elif is_open and child.poll() is not None:
            break
        elif not is_open:
            try:
                child.wait(left)
            except subprocess.TimeoutExpired:
                pass
            break
    return bytes(said)


def _end_all(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
