"""Recovery packages: the memory it takes to make one, how long, and what it weighs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from bench.measure import proportional_memory
from bench.processes import environment
from bench.results import Result
from bench.runs import run_nbguard
from bench.sources import Sources
from bench.workload import many_notebooks

_NOTEBOOKS, _SAVES = 100, 10
_SMALL_SAVES = 100
_LOOK_EVERY_SECONDS = 0.02

# The command itself, and at its end what it took at most: VmHWM, which begins anew with the program.
_CHILD = """
import sys
from nbguard.cli.main import run
try:
    run(sys.argv[1:])
finally:
    with open("/proc/self/status") as file:
        sys.stderr.write(next(line for line in file if line.startswith("VmHWM")))
"""


def package(work: str, sources: Sources) -> Result:
    """A package of 1,000 versions of 100 notebooks, and one of many more small ones."""
    result = Result("package", "A recovery package of everything", "python -m bench package")
    notebooks = sources.count(_NOTEBOOKS, 3)
    _one(result, f"{work}/a", f"{notebooks * _SAVES:,} versions of {notebooks} notebooks", _real(notebooks), 150)
    small = sources.count(_SMALL_SAVES, 3)
    _one(result, f"{work}/b", f"{notebooks * small:,} small versions of {notebooks} notebooks", _tiny(notebooks, small))
    result.note("The command's own memory is VmHWM at its end; with git's it is the largest PSS seen, every 20 ms.")
    return result


def _real(notebooks: int) -> Callable[[], Iterator[tuple[str, bytes]]]:
    return lambda: many_notebooks(notebooks, _SAVES)


def _tiny(notebooks: int, saves: int) -> Callable[[], Iterator[tuple[str, bytes]]]:
    def contents() -> Iterator[tuple[str, bytes]]:
        for number in range(saves):
            for notebook in range(notebooks):
                cell = {"cell_type": "markdown", "metadata": {}, "source": [f"{notebook} {number}"]}
                data = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}, indent=1)
                yield f"{notebook:03d}.ipynb", data.encode() + b"\n"

    return contents


def _one(
    result: Result,
    work: str,
    what: str,
    saves: Callable[[], Iterator[tuple[str, bytes]]],
    at_most: float | None = None,
) -> None:
    os.makedirs(work)
    run = run_nbguard(work, saves())
    target, began, most = f"{work}/package.zip", time.monotonic(), 0
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, "package", "--all", "--json", "-o", target],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(f"{work}/home"),
    ) as child:
        while child.poll() is None:
            most = max(most, proportional_memory(child.pid))
            time.sleep(_LOOK_EVERY_SECONDS)
        took = time.monotonic() - began
        assert child.stdout is not None and child.stderr is not None
        report, talk = json.loads(child.stdout.read()), child.stderr.read().decode()
    own = int(talk.rpartition("VmHWM:")[2].split()[0]) * 1024
    result.row(f"{what}: memory of the command", own / 1e6, "MB", at_most=at_most)
    result.row(f"{what}: with git's", most / 1e6, "MB")
    detail = f"{report['versions']:,} versions, {report['members']:,} files, {run.size / 1e6:.0f} MB of notebooks"
    result.row(f"{what}: time", took, "s", detail=detail)
    result.row(f"{what}: the zip", report["bytes"] / 1e6, "MB")
