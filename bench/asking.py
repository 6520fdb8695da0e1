"""`log` and `show` as whole processes, in a small archive and in a very large one, and what others take to list."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.facts import has
from bench.installation import Installation, write
from bench.measure import median, rotated, timed
from bench.peers import Borg, Restic
from bench.processes import ask
from bench.results import Result
from bench.sources import Sources
from nbguard.archive.committing import Committing
from nbguard.archive.folding import Reading
from nbguard.archive.readback import verify
from nbguard.durable import FileLock
from nbguard.model import Draft, DraftKind, Trigger, Version
from nbguard.notebook import measure

_HOT = "hot.ipynb"
_HOT_VERSIONS = 620
_ASKED = "~500"
_BATCH = 1000
_REPEATS = 9
_PEER_SAVES = 60


@dataclass(frozen=True, slots=True)
class _Size:
    versions: int
    notebooks: int


def asking(work: str, sources: Sources, rounds: int) -> Result:
    """In archives of 1,000 and of 100,000 versions; restic and borg with 60 saves."""
    result = Result("asking", "Asking", "python -m bench asking")
    hot = sources.count(_HOT_VERSIONS, 505)
    sizes = {
        "small": _Size(sources.count(1000, 600), sources.count(100, 4)),
        "large": _Size(sources.count(100_000, 700), sources.count(10_000, 10)),
    }
    homes = {name: _make(f"{work}/{name}", size, hot) for name, size in sizes.items()}
    questions = {"log": ["log"], f"show {_ASKED}": ["show"]}
    times: dict[tuple[str, str], list[float]] = {(q, name): [] for q in questions for name in sizes}
    for number in range(rounds * _REPEATS):
        for question, name in rotated(list(times), number):
            home = homes[name]
            arguments = [*questions[question], f"{home.desk}/{_HOT}", *([_ASKED] if question != "log" else [])]
            times[question, name].append(timed(ask, home.home, *arguments))
    for question in questions:
        small, large = median(times[question, "small"]), median(times[question, "large"])
        what = f"{sizes['large'].versions:,} versions of {sizes['large'].notebooks:,} notebooks"
        result.row(f"{question}, {what}", large * 1e3, "ms", at_most=100, detail=f"median of {rounds * _REPEATS}")
        result.row(
            f"{question}, of its time at {sizes['small'].versions:,} versions",
            large / small,
            "×",
            at_most=1.3,
            detail=f"{large * 1e3:.1f} of {small * 1e3:.1f} ms",
        )
    result.row("python -c pass", median([timed(_nothing) for _ in range(_REPEATS)]) * 1e3, "ms", detail="to compare")
    _peers(result, work, sources, rounds, {question: median(times[question, "small"]) for question in questions})
    return result


def _peers(result: Result, work: str, sources: Sources, rounds: int, ours: dict[str, float]) -> None:
    count = sources.count(_PEER_SAVES)
    for command, kind, what in (("restic", Restic, "restic snapshots"), ("borg", Borg, "borg list")):
        if not has(command):
            result.note(f"{command} is not installed: not compared.")
            continue
        desk = f"{work}/{command}-desk"
        os.makedirs(desk)
        peer = kind(desk, f"{work}/{command}")
        for name, content in itertools.islice(sources.one(), count):
            write(desk, name, content)
            peer.keep(name)
        theirs = median([timed(peer.list) for _ in range(rounds)])
        for question, seconds in ours.items():
            detail = f"{seconds * 1e3:.0f} of {theirs * 1e3:.0f} ms; it has {count} saves, we have more"
            result.row(f"{question}, of {what}", seconds / theirs, "×", at_most=1, detail=detail)


def _nothing() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


# --- an archive of any size ----------------------------------------------------------


def _make(work: str, size: _Size, hot: int) -> Installation:
    """Versions through our own archive, a commit each, packed a thousand at a time, maintained as the daemon does."""
    installation = Installation(f"{work}/home", f"{work}/desk")
    drafts = _drafts(installation, size, hot)
    while batch := list(itertools.islice(drafts, _BATCH)):
        _pack(installation, batch)
        installation.assembly.packs.maintain_soon()
        installation.assembly.pack_due()
    return installation


def _drafts(installation: Installation, size: _Size, hot: int) -> Iterator[tuple[Draft, bytes]]:
    """The hot notebook's versions evenly between those of all others."""
    rng = random.Random("asking")
    others = size.versions - hot
    began = datetime.now(UTC) - timedelta(days=90)
    hot_done = 0
    for number in range(others):
        notebook = number % max(1, size.notebooks - 1)
        path = f"{installation.desk}/{notebook % 37:02d}/{notebook // 37 % 30:02d}/nb_{notebook:05d}.ipynb"
        yield _draft(installation, path, began + timedelta(minutes=number), _content(rng, number))
        while hot_done * others < hot * (number + 1):
            hot_done += 1
            yield _draft(
                installation, f"{installation.desk}/{_HOT}", began + timedelta(minutes=number), _content(rng, number)
            )


def _content(rng: random.Random, number: int) -> bytes:
    lines = ",\n".join(f'    "x_{line} = {rng.random()} + {number}\\n"' for line in range(12))
    cell = f'{{\n   "cell_type": "code",\n   "metadata": {{}},\n   "outputs": [],\n   "source": [\n{lines}\n   ]\n  }}'
    return f'{{\n "cells": [\n  {cell}\n ],\n "metadata": {{}},\n "nbformat": 4,\n "nbformat_minor": 4\n}}\n'.encode()


def _draft(installation: Installation, path: str, at: datetime, data: bytes) -> tuple[Draft, bytes]:
    import hashlib

    spool = installation.assembly.packing.spool
    draft = spool.draft(
        kind=DraftKind.VERSION,
        path=path,
        moment=spool.moment(),
        trigger=Trigger.WATCH,
        root=installation.desk,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        observed_at=at,
    )
    return draft, data


def _pack(installation: Installation, batch: list[tuple[Draft, bytes]]) -> None:
    store = installation.assembly.packing
    archive, catalog = store.archive, store.catalog
    with FileLock(archive.lock_path) as lock:
        catalog.begin()
        versions = [(store.folder.add(draft, Reading(measure(data))), data) for draft, data in batch]
        done = [(version, data) for version, data in versions if isinstance(version, Version)]
        with Committing(archive, archive.tip()) as committing:
            for version, data in sorted(done, key=lambda pair: pair[0].notebook):
                committing.blob(version, data)
            commits = [(version, committing.commit([version], version.saved_at)) for version, _ in done]
            tip = committing.finish(lock_fd=lock.fd)
        verify(archive, commits)
        catalog.packed([(version.id, commit) for version, commit in commits], tip)
        catalog.commit()
