"""A power cut: what was acknowledged is there after the journal is replayed, and packing goes on from what is left."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.archive.mounts import loop_disk, needs_mounts, unmount
from tests.archive.rig import Rig
from tests.archive.test_kills import check_all, lines, pack_when_free, worker
from tests.helpers import poll

pytestmark = [pytest.mark.root, needs_mounts("mkfs.ext4", "mkfs.xfs")]


def cut_many(base: Path, kind: str, count: int, seed: int) -> int:
    """Cut the power under one worker after the other; how often it met drafts that were not packed yet."""
    chance = random.Random(seed)
    acknowledged = base / "acknowledged"  # on a disk that keeps its power
    met = 0
    with loop_disk(base / "disk", kind) as disk, closing(Rig(disk.folder / "home")) as rig:
        home = disk.folder / "home"
        for number in range(count):
            before = len(lines(acknowledged))
            with worker(home, seed + number, acknowledged, share=0.0) as child:
                poll(lambda was=before: len(lines(acknowledged)) > was + 3, 60, every=0.005)  # type: ignore[misc]
                end = time.monotonic() + chance.random() * 0.6
                while time.monotonic() < end:
                    assert child.poll() is None, child.stderr and child.stderr.read()
                durable = lines(acknowledged)  # before the cut: see test_record_power_cut.py
                disk.cut_power()
                child.wait(60)
                assert child.returncode != 0, "it met the fault"
            rig.close()
            unmount(disk.folder)
            disk.mount()
            rig.crash()
            met += bool(rig.spool.drafts())
            rig.spool.sweep_leftovers()
            check_all(rig, durable)
            pack_when_free(rig)
            assert rig.spool.drafts() == []
            check_all(rig, durable)
    return met


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, kind: str) -> None:
    cut_many(tmp_path, kind, 2, seed=10)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_twenty_power_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path, kind: str) -> None:
    assert cut_many(tmp_path, kind, 20, seed=20) > 0
