"""What we must know about processes and this machine's run: the boot, who is alive, who we are."""

from __future__ import annotations

import os
import sys
from typing import Final

_ARENA_MAX: Final = -8  # M_ARENA_MAX of malloc.h


def boot_id() -> str:
    """The kernel's id of this boot (32 hex digits). On systems without one, the boot's second."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip().replace("-", "")
    except OSError:
        import psutil

        return f"boot{int(psutil.boot_time()):d}"


def is_alive(pid: int) -> bool:
    """Whether a process of that number exists (also another user's)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def use_few_heaps() -> None:
    """Let all threads share two of glibc's heaps; by default each has one of its own (eight for each processor), and
    what a burst of work leaves in one is of no use to the others. To be called before there are threads."""
    import ctypes

    try:
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
    except (OSError, AttributeError):
        pass  # no glibc: nothing to be done, nothing lost


def give_back_memory() -> None:
    """Return to the system what was freed: glibc keeps it, in a heap for each thread. Harmless where it does not."""
    import ctypes
    import gc

    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass  # no glibc: nothing to be done, nothing lost


def refuse_windows() -> None:
    """Windows has neither the file semantics nor the tests; say so instead of half working."""
    if sys.platform == "win32":
        sys.stderr.write("error: nbguard runs on Linux and macOS; on Windows use it inside WSL\n")
        raise SystemExit(1)
