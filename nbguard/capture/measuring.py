"""How full a notebook is; a big one is parsed in a child process that may fail without taking us along."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum

from nbguard.model import Measure
from nbguard.notebook import measure

TIMEOUT_SECONDS = 120.0
MEMORY_BYTES = 2_000_000_000


class Finding(Enum):
    """What was found out. COULD_NOT_TELL is no verdict on the notebook."""

    READABLE = "readable"
    NOT_READABLE = "not readable"
    COULD_NOT_TELL = "could not tell"


@dataclass(frozen=True, slots=True)
class Measured:
    """``measure`` is there when READABLE; ``reason`` when the child could not tell."""

    finding: Finding
    measure: Measure | None = None
    reason: str = ""


def measure_bytes(data: bytes) -> Measured:
    """Measure a notebook held in memory. Never raises."""
    found = measure(data)
    return Measured(Finding.NOT_READABLE) if found is None else Measured(Finding.READABLE, found)


def measure_file(
    path: str, offset: int, *, timeout_seconds: float = TIMEOUT_SECONDS, memory_bytes: int = MEMORY_BYTES
) -> Measured:
    """Measure the notebook whose bytes begin at ``offset`` of a file, in a child limited in memory and time.

    Never raises: a child that was killed, ran out of memory or of time is COULD_NOT_TELL.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "nbguard.capture.measure_child", path, str(offset), str(memory_bytes)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Measured(Finding.COULD_NOT_TELL, reason=f"not done after {timeout_seconds:g} s")
    except OSError as error:
        return Measured(Finding.COULD_NOT_TELL, reason=error.strerror or str(error))
    if done.returncode != 0:
        return Measured(Finding.COULD_NOT_TELL, reason=f"the child ended with {done.returncode}")
    return _answer(done.stdout)


def _answer(output: bytes) -> Measured:
    try:
        answer = json.loads(output)
        if answer is None:
            return Measured(Finding.NOT_READABLE)
        return Measured(Finding.READABLE, Measure(int(answer["cells"]), int(answer["source_chars"])))
    except (ValueError, KeyError, TypeError):
        return Measured(Finding.COULD_NOT_TELL, reason="the child's answer makes no sense")
