"""The daemon with 10,000 notebooks in 10,000 folders: what it costs to do nothing, and whether a burst is kept."""

from __future__ import annotations

import hashlib
import json
import os
import time

from bench.installation import write
from bench.measure import processor_seconds, proportional_memory
from bench.processes import DaemonProcess, daemon, wait_for
from bench.results import Result
from bench.sources import Sources
from nbguard.archive.catalog import Catalog

_NOTEBOOKS = 10_000
_BURST = 4_000
_QUIET_SECONDS = 15.0
_ONE_SAVE_SECONDS = 0.004
_REST_SECONDS = 30.0


def idle(work: str, sources: Sources, seconds: float) -> Result:
    """Idle for so many seconds, then a burst, then (c)."""
    result = Result("idle", "The whole daemon, 10,000 notebooks in 10,000 folders", "python -m bench idle")
    home, desk = f"{work}/home", f"{work}/desk"
    paths = _notebooks(desk, sources.count(_NOTEBOOKS, 20))
    began = time.monotonic()
    with daemon(home, desk) as running:
        result.row("from the start to watching, all imported", time.monotonic() - began, "s")
        _until_quiet(running)
        used, began = processor_seconds(running.pid), time.monotonic()
        time.sleep(seconds)
        share = (processor_seconds(running.pid) - used) / (time.monotonic() - began) * 100
        result.row("idle, of one core", share, "%", at_most=0.1, detail=f"{seconds:.0f} s, sweeps included")
        _memory(result, "idle", running)
        _burst(result, running, home, desk, paths[: sources.count(_BURST, 10)])
        time.sleep(min(_REST_SECONDS, seconds))
        _memory(result, "after the burst", running)
    _after_many(result, f"{work}/many", sources, min(_REST_SECONDS, seconds))
    return result


def _notebooks(desk: str, count: int) -> list[str]:
    paths = [f"{number % 100:02d}/{number:05d}/nb.ipynb" for number in range(count)]
    for number, path in enumerate(paths):
        write(desk, path, _content(number, "at first"))
    return paths


def _content(number: int, text: str) -> bytes:
    cell = {"cell_type": "markdown", "id": f"{number:08x}", "metadata": {}, "source": [text]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode() + b"\n"


def _until_quiet(running: DaemonProcess) -> None:
    """Wait until it uses next to nothing: what the start left to do is done."""
    last = processor_seconds(running.pid)
    for _ in range(20):
        time.sleep(_QUIET_SECONDS / 5)
        now = processor_seconds(running.pid)
        if now - last < 0.02:
            return
        last = now


def _memory(result: Result, when: str, running: DaemonProcess) -> None:
    result.row(f"memory (PSS) {when}", proportional_memory(running.pid) / 1e6, "MB", at_most=90)


def _burst(result: Result, running: DaemonProcess, home: str, desk: str, paths: list[str]) -> None:
    used = processor_seconds(running.pid)
    began = time.monotonic()
    wanted = {}
    for number, path in enumerate(paths):
        content = _content(number, "in a burst")
        write(desk, path, content)
        wanted[os.path.join(desk, path)] = hashlib.sha256(content).hexdigest()
    wrote = time.monotonic() - began
    catalog = Catalog(os.path.join(home, "state", "catalog.sqlite"))

    def missing() -> int:
        known = {head.path: head.sha256 for head in catalog.heads()}
        return sum(1 for path, sha256 in wanted.items() if known.get(path) != sha256)

    try:
        wait_for(lambda: missing() == 0, 60.0, "end of the burst", every=0.5)
    except TimeoutError:
        pass  # the row says how many are missing
    took = time.monotonic() - began
    result.row(
        f"a burst of {len(paths):,} saves: not kept",
        missing(),
        "",
        at_most=0,
        detail=f"written in {wrote:.1f} s, all kept and in the catalog after {took:.1f} s",
    )
    spent = (processor_seconds(running.pid) - used) / len(paths) * 1e3
    result.row("processor time for each save of the burst, whole daemon", spent, "ms")
    catalog.close()


def _after_many(result: Result, work: str, sources: Sources, rest_seconds: float) -> None:
    """(c) through a daemon, as fast as it keeps up."""
    most = 0
    with daemon(f"{work}/home", _made(f"{work}/desk")) as running:
        used = processor_seconds(running.pid)
        for number, (name, content) in enumerate(sources.many()):
            write(f"{work}/desk", name, content)
            time.sleep(_ONE_SAVE_SECONDS)
            if number % 20 == 0:
                most = max(most, proportional_memory(running.pid))
        _until_quiet(running)
        most = max(most, proportional_memory(running.pid))
        spent = processor_seconds(running.pid) - used
        time.sleep(rest_seconds)
        _memory(result, "after (c)", running)
        result.row("memory (PSS) during (c), at most", most / 1e6, "MB")
        kept = running.heartbeat().get("kept")
        if isinstance(kept, int) and kept:
            result.row(
                "(c) processor time for each kept save, whole daemon", spent / kept * 1e3, "ms", detail=f"{kept} kept"
            )


def _made(folder: str) -> str:
    os.makedirs(folder)
    return folder
