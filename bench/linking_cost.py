"""What linking costs while kernels idle: processor time and memory of the worker alone, with real kernels.

`python -m bench.linking_cost [--kernels 20] [--seconds 120]`; a scratch HOME, and JupyterLab is not needed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.measure import proportional_memory
from nbguard.clock import SystemClock
from nbguard.executed import Link, Record
from nbguard.history.kernels import KernelFinder
from nbguard.history.linking import TICK_SECONDS, Linking
from nbguard.history.population import Population

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager


class _Log:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, records: Sequence[Record]) -> None:
        self.records += records


def main() -> int:
    """Start kernels in groups of four, link them, then only watch."""
    parser = argparse.ArgumentParser(prog="python -m bench.linking_cost", description=__doc__)
    parser.add_argument("--kernels", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, IPYTHONDIR=f"{home}/.ipython", JUPYTER_RUNTIME_DIR=f"{home}/runtime")
        os.mkdir(f"{home}/runtime")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            code = _watch(home, reading, options.seconds)
            os._exit(code)
        os.close(reading)
        kernels = _start(options.kernels, f"{home}/runtime")
        try:
            os.write(writing, b"%d" % options.kernels)
            _, status = os.waitpid(child, 0)
        finally:
            for kernel in kernels:
                kernel.shutdown_kernel(now=True)
        return os.waitstatus_to_exitcode(status)


def _start(count: int, runtime: str) -> list[KernelManager]:
    from jupyter_client.manager import KernelManager

    kernels: list[KernelManager] = []
    while len(kernels) < count:
        size = min(4, count - len(kernels))
        group = [
            KernelManager(connection_file=f"{runtime}/kernel-{len(kernels) + number}.json") for number in range(size)
        ]
        for kernel in group:
            kernel.start_kernel()
        for kernel in group:
            client = kernel.client()
            client.start_channels(hb=False)
            client.wait_for_ready(timeout=120)
            client.execute("x = 1", reply=True, timeout=60)
            client.stop_channels()
        kernels += group
    return kernels


def _watch(home: str, ready: int, seconds: float) -> int:
    before = proportional_memory(os.getpid())
    log, clock = _Log(), SystemClock()
    worker = Linking(
        population=Population(KernelFinder(only_home=home), clock),
        log=log,
        clock=clock,
        generation_of=lambda device, inode, session: f"{device}-{inode}",
        chain=lambda path, at: (),
        known_links=list,
    )
    count = int(os.read(ready, 20))
    until = time.monotonic() + 60.0
    while time.monotonic() < until and len({link.pid for link in log.records if isinstance(link, Link)}) < count:
        worker.step()
        time.sleep(TICK_SECONDS)
    linked = len({link.pid for link in log.records if isinstance(link, Link)})
    used, began, steps = time.process_time(), time.monotonic(), 0
    while time.monotonic() < began + seconds:
        worker.step()
        steps += 1
        time.sleep(TICK_SECONDS)
    share = (time.process_time() - used) / (time.monotonic() - began)
    grown = (proportional_memory(os.getpid()) - before) / 1e6
    print(
        f"{linked} of {count} kernels linked; idle: {share:.4%} of a core over {seconds:g} s ({steps} steps); "
        f"{grown:.1f} MB more than before (PSS)"
    )
    return 0 if linked == count else 1


if __name__ == "__main__":
    sys.exit(main())
