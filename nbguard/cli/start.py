"""Where a process called nbguard begins and ends: both quickly, because people wait for `log`."""

from __future__ import annotations

import gc
import os
import sys


def run() -> None:
    """Run the command line and leave with its exit code."""
    try:
        _fill_closed_streams()
        gc.disable()  # all that is imported stays: to look for garbage among it takes a tenth of `log`
        from nbguard.cli import main

        gc.freeze()
        gc.enable()
        try:
            main.run()
        except SystemExit as end:
            _leave(end.code)
    except KeyboardInterrupt:  # while we import, or once more while we leave
        os.write(2, b"interrupted\n")
        os._exit(130)


def _fill_closed_streams() -> None:
    """Without this, the next file that is opened becomes the stdout of ours and of git (`nbguard run >&-`)."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - stays open


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
