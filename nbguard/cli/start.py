"""Where a process called nbguard begins and ends: both quickly, because people wait for `log`."""

from __future__ import annotations

import gc
import os
import sys


def run() -> None:
    """Run the command line and leave with its exit code."""
    gc.disable()  # all that is imported stays: to look for garbage among it takes a tenth of `log`
    from nbguard.cli import main

    gc.freeze()
    gc.enable()
    try:
        main.run()
    except SystemExit as end:
        _leave(end.code)


def _leave(code: str | int | None) -> None:
    """Leave without taking the interpreter apart, which takes a sixth of `log`."""
    gc.collect()  # a connection to SQLite lies in a cycle: now it is closed, and its log folded into the file
    status = code if isinstance(code, int) else 0 if code is None else 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120  # as the interpreter does: what was to be said did not arrive
    os._exit(status)
