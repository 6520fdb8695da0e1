"""Full, out of inodes, read-only, broken: nothing is acknowledged that is not durable, and it mends itself after."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.journeys.disks import Disk, broken_disk, disk, needs_root
from tests.journeys.guarded import Guarded, Tables, guarding, sha256

pytestmark = [pytest.mark.root, needs_root]

_TABLES: Tables = {"packing": {"drafts": 1}, "intervals": {"pack_seconds": 0.2}}


@dataclass
class Split:
    """One daemon with its spool on one small disk and its archive on another; the rest lies elsewhere."""

    guard: Guarded
    spool: Disk
    archive: Disk

    @property
    def notebook(self) -> Path:
        return Path(self.guard.roots[0]) / "a.ipynb"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Generator[Split]:
    base = tmp_path_factory.mktemp("faults")
    size = "size=24m,nr_inodes=500"
    here, there = base / "guard" / "spool", base / "elsewhere"
    at, emergency = str(there / "archive.git"), str(here / "emergency")
    with (
        disk(here, size) as spool,
        disk(there, size) as archive,
        guarding(base, base / "work", tables=_TABLES, archive=at, emergency=emergency) as guard,
    ):
        yield Split(guard, spool, archive)


@contextmanager
def _full(mounted: Disk) -> Generator[None]:
    """Somebody else fills the disk to its last byte."""
    path = mounted.at / "somebody-elses"
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(65_536))
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def _out_of_inodes(mounted: Disk) -> Generator[None]:
    folder = mounted.at / "somebody-elses"
    folder.mkdir()
    with pytest.raises(OSError, match="No space"):
        for number in range(100_000):
            (folder / str(number)).touch()
    try:
        yield
    finally:
        shutil.rmtree(folder)


@contextmanager
def _read_only(mounted: Disk) -> Generator[None]:
    mounted.remount("ro")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (mounted.at / "x").touch()
        yield
    finally:
        mounted.remount("rw")


Fault = Callable[[Disk], contextlib.AbstractContextManager[None]]
FAULTS: list[tuple[Fault, str]] = [(_full, "no-space"), (_out_of_inodes, "no-inodes"), (_read_only, "read-only")]


def each_fault(*, later: str) -> pytest.MarkDecorator:
    """All three; one that is tried on the other disk is left to the long run."""
    marks = {later: [pytest.mark.long]}
    cases = [pytest.param(fault, code, id=code, marks=marks.get(code, [])) for fault, code in FAULTS]
    return pytest.mark.parametrize(("fault", "code"), cases)


@each_fault(later="read-only")
def test_nothing_is_acknowledged_that_the_spools_disk_did_not_take(split: Split, fault: Fault, code: str) -> None:
    guard, path = split.guard, split.notebook
    before = notebook_bytes("before", code)
    path.write_bytes(before)
    guard.until_kept(path, before)
    poll(lambda: not guard.spooled(), 30)  # or packing would free what the fault took away
    shutil.rmtree(split.spool.at / "free", ignore_errors=True)  # and so would files that are held for the next version
    with fault(split.spool):
        during = notebook_bytes("during", code)
        path.write_bytes(during)
        refused = guard.nbguard("snapshot", str(path), "--json")
        assert refused.code not in (0, 70), refused
        assert json.loads(refused.talk)["code"] == code
        assert refused.json == []
        guard.until_code(code)
        if code == "no-space":  # the same for all, and it takes as long as a save may wait
            poll(lambda: guard.status()["exit_code"] in (20, 22), 30, every=0.2)
        status = guard.status()
        assert status["protected"] < status["notebooks"]
        assert guard.log(path)[0]["sha256"] == sha256(before)
        assert guard.show(path) == before, "what is kept can still be read"
    guard.until_kept(path, during, 40)
    guard.until_no_code(code)
    assert guard.process is not None
    assert guard.process.poll() is None, "without a restart"


@each_fault(later="no-inodes")
def test_while_the_archives_disk_refuses_saves_are_acknowledged_by_the_spool_alone(
    split: Split, fault: Fault, code: str
) -> None:
    guard, path = split.guard, split.notebook
    poll(lambda: not guard.spooled(), 30)
    with fault(split.archive):
        data = [notebook_bytes("archive", code, str(number)) for number in range(2)]
        for one in data:
            path.write_bytes(one)
            guard.until_kept(path, one)
        answer = guard.nbguard("snapshot", str(path), "--json")
        assert answer.code == 0, answer
        guard.until_code(code)
        assert {sha256(one) for one in data} <= {draft["actual"] for draft in guard.spooled().values()}
        assert guard.show(path) == data[-1]
    poll(lambda: not guard.spooled(), 60, every=0.2)
    guard.until_no_code(code)
    assert guard.git("show", f"main:notebooks{path}") == data[-1]
    assert guard.show(path, "~1") == data[-2]
    guard.fsck()


def test_the_users_own_disk_is_never_filled(tmp_path: Path) -> None:
    """Notebooks, spool and archive on one disk, as for most people; somebody saves far more than fits."""
    with disk(tmp_path / "disk", "size=32m") as mounted:
        base = mounted.at
        tables: Tables = {**_TABLES, "limits": {"reserve_percent": 25.0}}
        with guarding(base, base / "work", tables=tables) as guard:
            path = base / "work" / "a.ipynb"
            refused = 0
            for number in range(60):
                path.write_bytes(notebook_bytes(os.urandom(1_200_000).hex(), str(number)))
                refused += guard.nbguard("snapshot", str(path)).code != 0
                free = os.statvfs(base)
                assert free.f_bavail >= 0.2 * free.f_blocks, "what was reserved is the user's"
                if refused >= 3:
                    break
            assert refused >= 3, "the fault fired"
            guard.until_code("no-space")
            kept = [row for row in guard.log(path) if row["status"] == "ok"]
            assert len(kept) >= 3
            guard.stop()


def test_a_full_spool_spills_to_the_emergency_place_and_is_packed_from_there(tmp_path: Path) -> None:
    emergency = tmp_path / "emergency"
    with (
        disk(tmp_path / "guard" / "spool") as spool,
        guarding(tmp_path, tmp_path / "work", emergency=str(emergency)) as guard,
    ):
        path = tmp_path / "work" / "a.ipynb"
        path.write_bytes(notebook_bytes("before"))
        guard.until_kept(path, path.read_bytes())
        with _full(spool):
            path.write_bytes(notebook_bytes("during"))
            guard.until_kept(path, path.read_bytes())
            assert list((emergency / "spool" / "new").iterdir())
            assert guard.nbguard("snapshot", str(path)).code == 0
            assert guard.show(path) == path.read_bytes()
            guard.until_code("no-space")  # the alarm is raised all the same
        assert guard.stop() == 0
        assert guard.nbguard("run", "--once").code == 0
        assert not list((emergency / "spool" / "new").iterdir())
        assert guard.git("show", f"main:notebooks{path}") == notebook_bytes("during")


def test_a_broken_disk_is_said_to_be_broken_and_a_mended_one_used_again(tmp_path: Path) -> None:
    at = tmp_path / "guard" / "spool"
    with (
        broken_disk(at, tmp_path / "image") as spool,
        guarding(tmp_path, tmp_path / "work", emergency=str(at / "emergency")) as guard,
    ):
        path = tmp_path / "work" / "a.ipynb"
        before, during = notebook_bytes("before"), notebook_bytes("during")
        path.write_bytes(before)
        guard.until_kept(path, before)
        spool.fail()
        with pytest.raises(OSError) as fault:
            (spool.at / "x").write_bytes(b"x")
        assert fault.value.errno in (errno.EIO, errno.EROFS)
        path.write_bytes(during)
        refused = guard.nbguard("snapshot", str(path), "--json")
        assert refused.code not in (0, 70), refused
        poll(lambda: guard.codes() & {"io-error", "read-only"}, 60, every=0.2)
        spool.mend()
        guard.until_kept(path, during, 60)
        poll(lambda: not guard.codes() & {"io-error", "read-only"}, 60, every=0.2)
        assert guard.show(path, "~1") == before, "it was durable before the disk broke"
