"""A power cut under the record log and its packing: every executed cell that was acknowledged is there, once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.archive.mounts import loop_disk, needs_mounts, unmount
from tests.archive.rig import fsck
from tests.archive.test_record_packing import Records
from tests.helpers import REPOSITORY, poll

pytestmark = [pytest.mark.root, needs_mounts("mkfs.ext4", "mkfs.xfs")]


def acknowledged_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def cut_many(base: Path, kind: str, count: int, seed: int) -> dict[str, int]:
    """Cut the power under one worker after the other; how often it met segments, and a branch."""
    chance = random.Random(seed)
    acknowledged = base / "acknowledged"  # on a disk that keeps its power
    met = {"spooled": 0, "packed": 0}
    with loop_disk(base / "disk", kind) as disk:
        home = disk.folder / "home"
        Records(home)
        for _ in range(count):
            before = acknowledged_in(acknowledged)
            with subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.archive.record_worker",
                    str(home),
                    str(max(before, default=0) + 1),
                    str(acknowledged),
                ],
                cwd=REPOSITORY,
                stderr=subprocess.DEVNULL,
            ) as child:
                poll(lambda was=before: len(acknowledged_in(acknowledged)) > len(was) + 3, 60, every=0.005)  # type: ignore[misc]
                end = time.monotonic() + chance.random() * 0.6
                poll(lambda end=end: time.monotonic() >= end, 60, every=0.001)  # type: ignore[misc]
                # Read before the cut: an fsync that is under way during it may answer 0 (one in some 40 cuts of ext4,
                # Linux 6.18), and a machine whose power is cut acknowledges nothing.
                durable = acknowledged_in(acknowledged)
                disk.cut_power()
                assert child.wait(60) != 0, "it met the fault"
            unmount(disk.folder)
            disk.mount()
            records = Records(home)
            met["spooled"] += bool(records.log.segments())
            met["packed"] += bool(records.files())
            lines = records.lines()
            assert set(durable) <= set(lines)
            assert len(lines) == len(set(lines))
            records.packer.pack()
            assert records.log.segments() == []
            assert set(durable) <= set(records.lines())
            fsck(records.places.archive)
            records.close()
    return met


def test_a_power_cut_loses_no_executed_cell(tmp_path: Path) -> None:
    cut_many(tmp_path, "ext4", 2, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_twenty_power_cuts_lose_no_executed_cell(tmp_path: Path, kind: str) -> None:
    met = cut_many(tmp_path, kind, 20, seed=2)
    assert met["spooled"] and met["packed"], met
