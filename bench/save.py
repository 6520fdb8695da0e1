"""From the call of the keeper to durable, in one process, against the floor and libgit2."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.facts import has_pygit2
from bench.installation import Installation, write
from bench.measure import ProcessCounter, median, percentile, rotated, timed
from bench.peers import Floor, Peer, Pygit2
from bench.results import Result
from bench.sources import Sources
from nbguard.capture.keep import Keeper, Kept
from nbguard.model import Draft, Trigger

_SAVES = 500
_PACKED_EVERY = 64
_FOLDER_SAVES = 300
_NEIGHBOURS = 10_000

Saves = Callable[[], Iterator[tuple[str, bytes]]]
Times = dict[str, list[float]]


class _Ours:
    """nbguard's keeper as a peer."""

    def __init__(self, keeper: Keeper, desk: str) -> None:
        self._keeper = keeper
        self._desk = desk
        self.is_new = False

    def keep(self, name: str) -> None:
        self.is_new = isinstance(self._keeper.keep(os.path.join(self._desk, name), Trigger.WATCH), Kept)


def save(work: str, sources: Sources, rounds: int) -> Result:
    """(a) and (c), alone and with recorder and packer behind; then in a folder of 10,000 notebooks."""
    result = Result("save", "From the save to durable, in process", "python -m bench save")
    counter = ProcessCounter()
    modes: dict[str, Saves] = {
        "a": lambda: itertools.islice(sources.one(), 0, None, max(1, sources.count(1000) // _SAVES)),
        "c": lambda: itertools.islice(sources.many(), 0, None, max(1, sources.count(5000) // _SAVES)),
    }
    for mode, saves in modes.items():
        alone = [_round(f"{work}/{mode}{number}", saves, number, counter) for number in range(rounds)]
        behind = [_round(f"{work}/{mode}{number}b", saves, number, None) for number in range(rounds)]
        _report(result, mode, alone, behind)
    result.row("processes started by all these saves", counter.started, "", at_most=0)
    _full_folder(result, work, sources, rounds)
    result.note(
        f"Nobody else is at work; packed every {_PACKED_EVERY} saves, between two of them. "
        "behind: recorder and packer run as in the daemon, saves back to back."
    )
    result.note(
        f"About {_SAVES} saves of each mode in each round, evenly spread. Unchanged saves are not counted. "
        "Ratios are medians over rounds."
    )
    return result


def _round(work: str, saves: Saves, number: int, counter: ProcessCounter | None) -> Times:
    """One pass; each save is kept by everyone, in another order each time. Without ``counter``: the rest behind."""
    installation = Installation(f"{work}/home", f"{work}/desk")
    desk = installation.desk
    floor, ours = Floor(desk, f"{work}/floor"), _Ours(_keeper(installation, behind=counter is None), desk)
    peers: dict[str, Peer] = {"floor": floor, "ours": ours}
    if counter is not None and has_pygit2():
        peers["pygit2"] = Pygit2(desk)
    times: Times = {name: [] for name in peers}
    with _at_work(installation, counter is None):
        for place, (name, content) in enumerate(saves()):
            write(desk, name, content)
            took: dict[str, float] = {}
            for peer, one in rotated(list(peers.items()), place + number):
                if one is ours and counter is not None:
                    with counter:
                        took[peer] = timed(one.keep, name)
                else:
                    took[peer] = timed(one.keep, name)
            if counter is not None and place % _PACKED_EVERY == _PACKED_EVERY - 1:
                installation.assembly.packer.pack()
            if ours.is_new:
                for peer, seconds in took.items():
                    times[peer].append(seconds)
    return times


def _keeper(installation: Installation, *, behind: bool) -> Keeper:
    def nobody(draft: Draft, data: bytes | None) -> None:
        """Nobody is told."""

    return installation.keeper() if behind else installation.keeper(nobody)


@contextmanager
def _at_work(installation: Installation, wanted: bool) -> Iterator[None]:
    """Recorder and packer in their threads, as the daemon has them."""
    ending = threading.Event()

    def work(step: Callable[[], None]) -> None:
        while not ending.is_set():
            step()

    parts = installation.assembly
    threads = [threading.Thread(target=work, args=(step,)) for step in (parts.record, parts.pack)] if wanted else []
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        parts.wake()
        for thread in threads:
            thread.join()


def _report(result: Result, mode: str, alone: list[Times], behind: list[Times]) -> None:
    def p99(values: list[float]) -> float:
        return percentile(values, 99)

    for what, rounds, of, figure, at_most in (
        ("median, of the floor", alone, "floor", median, 1.5),
        ("p99, of the floor's", alone, "floor", p99, 4.0),
        ("median, of pygit2 with fsync", alone, "pygit2", median, 0.15),
        ("behind: median, of the floor", behind, "floor", median, None),
        ("behind: p99, of the floor's", behind, "floor", p99, None),
    ):
        if of not in rounds[0]:
            result.note(f"{of} is not installed: not compared.")
            continue
        ratios = [figure(times["ours"]) / figure(times[of]) for times in rounds]
        ours, theirs = (median([figure(times[name]) for times in rounds]) * 1e3 for name in ("ours", of))
        detail = f"{ours:.2f} of {theirs:.2f} ms; rounds {min(ratios):.2f} to {max(ratios):.2f}"
        result.row(f"({mode}) {what}", median(ratios), "×", at_most=at_most, detail=detail)


def _full_folder(result: Result, work: str, sources: Sources, rounds: int) -> None:
    """The same saves in a folder of 10,000 notebooks and in one of their own, in turn."""
    count, neighbours = sources.count(_FOLDER_SAVES, 20), sources.count(_NEIGHBOURS, 50)
    small, large = (Installation(f"{work}/{name}/home", f"{work}/{name}/desk") for name in ("small", "large"))
    for number in range(neighbours):
        write(large.desk, f"neighbour_{number:05d}.ipynb", _little(number))
    large.assembly.import_first()
    ours = {"small": _Ours(small.keeper(), small.desk), "large": _Ours(large.keeper(), large.desk)}
    ratios = []
    times: Times = {}
    for number in range(rounds):
        times = {name: [] for name in ours}
        for place, (name, content) in enumerate(itertools.islice(sources.one(), count)):
            for where, desk in rotated([("small", small.desk), ("large", large.desk)], place):
                path = f"r{number}_{name}"
                write(desk, path, content)
                times[where].append(timed(ours[where].keep, path))
        ratios.append(median(times["large"]) / median(times["small"]))
    result.row(
        f"(a) in a folder of {neighbours:,} notebooks, of a small folder's",
        median(ratios),
        "×",
        at_most=1.2,
        detail=f"{median(times['large']) * 1e3:.2f} of {median(times['small']) * 1e3:.2f} ms",
    )


def _little(number: int) -> bytes:
    return b'{\n "cells": [],\n "metadata": {"number": %d},\n "nbformat": 4,\n "nbformat_minor": 5\n}\n' % number
