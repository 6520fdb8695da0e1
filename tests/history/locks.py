"""How long a process holds locks on a file, as the kernel tells it; a process of its own, so that it misses little."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import REPOSITORY

_DENSE_SECONDS = 0.02


@dataclass
class Seen:
    """The longest hold in seconds, and in how many looks of how many there was one."""

    longest_seconds: float = 0.0
    held: int = 0
    looks: int = 0


@contextmanager
def watching_locks(path: Path, pid: int) -> Generator[Seen]:
    """Look at /proc/locks some hundred times a second; the answer is there after the block."""
    words = [sys.executable, "-m", "tests.history.locks", str(path.stat().st_ino), str(pid)]
    seen = Seen()
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as looking:
        assert looking.stdout is not None
        looking.stdout.readline()
        try:
            yield seen
        finally:
            said, _ = looking.communicate("\n")
            longest, held, looks = said.split()
            seen.longest_seconds, seen.held, seen.looks = float(longest), int(held), int(looks)


def _main(inode: str, pid: str) -> None:
    os.set_blocking(0, False)
    longest, held, looks, since, before = 0.0, 0, 0, None, 0.0
    print("ready", flush=True)
    file = os.open("/proc/locks", os.O_RDONLY)
    while True:
        now = time.monotonic()
        looks += 1
        is_held = any(
            line.split()[4] == pid and line.split()[5].endswith(f":{inode}")
            for line in os.pread(file, 1 << 20, 0).decode().splitlines()
            if inode in line and "->" not in line
        )
        if is_held:
            # Between looks that lie far apart (a busy machine) one lock may have gone and another come.
            since = since if since is not None and now - before < _DENSE_SECONDS else now
            held += 1
            longest = max(longest, now - since)
        else:
            since = None
        before = now
        try:
            if os.read(0, 1) is not None:
                break
        except BlockingIOError:
            time.sleep(0.001)
    print(longest, held, looks)


if __name__ == "__main__":
    _main(*sys.argv[1:])
