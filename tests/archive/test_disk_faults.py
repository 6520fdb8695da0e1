"""Disks that refuse: a problem with its code, nothing acknowledged that is not durable, recovery without a restart."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nbguard.archive.spool import Reserve
from nbguard.errors import StorageTrouble
from nbguard.places import Places, find_places
from tests.archive import shim
from tests.archive.mounts import loop_disk, needs_mounts, remount, small_disk
from tests.archive.rig import NO_RESERVE, Rig, leftovers
from tests.helpers import notebook_bytes

SMALL = notebook_bytes("x = 1")


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte is free."""
    with open(disk / "ballast", "wb", buffering=0) as file:
        try:
            for size in (1 << 20, 1 << 12, 1):
                while True:
                    file.write(b"x" * size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            for size in (1 << 12, 1):
                with pytest.raises(OSError, match="No space"):
                    while True:
                        file.write(b"x" * size)
    assert os.statvfs(disk).f_bavail == 0
    yield
    (disk / "ballast").unlink()


@contextmanager
def full_of_files(disk: Path) -> Iterator[None]:
    """No inode is free."""
    made = []
    with pytest.raises(OSError, match="No space"):
        for number in range(10_000):
            made.append(disk / f"file{number}")
            made[-1].touch()
    assert os.statvfs(disk).f_ffree == 0 < os.statvfs(disk).f_bavail
    yield
    for path in made:
        path.unlink(missing_ok=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Remounted read-only."""
    remount(disk, "ro")
    with pytest.raises(OSError, match="Read-only"):
        (disk / "x").touch()
    yield
    remount(disk, "rw")


FAULTS: dict[str, Callable[[Path], object]] = {"no-space": full, "no-inodes": full_of_files, "read-only": read_only}


def places_on(base: Path, disk: Path, what: str) -> Places:
    """All on the test's own disk but ``what``; no emergency place."""
    return replace(find_places(home=str(base / "home")), emergency="", **{what: str(disk / what)})


@pytest.mark.root
@needs_mounts()
@pytest.mark.parametrize("code", FAULTS)
def test_a_spool_that_refuses_acknowledges_nothing_and_recovers(tmp_path: Path, code: str) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        closing(Rig(tmp_path, places=places_on(tmp_path, disk, "spool"))) as rig,
    ):
        first = rig.save("/n.ipynb", SMALL)
        with FAULTS[code](disk):  # type: ignore[attr-defined]
            for _ in range(3):
                with pytest.raises(StorageTrouble) as caught:
                    rig.save("/n.ipynb", notebook_bytes("refused"))
                assert caught.value.code == code and caught.value.hint
            assert [spooled.id for spooled in rig.spool.drafts()] == [first.id]
            assert rig.read(first.id) == SMALL
        later = rig.save("/n.ipynb", b"later")
        rig.packer.pack()
        assert [version.id for version in rig.log("/n.ipynb")] == [later.id, first.id]
        assert leftovers(rig.places) == []
        rig.fsck()


@pytest.mark.root
@needs_mounts()
@pytest.mark.parametrize("code", FAULTS)
def test_an_archive_that_refuses_lets_go_of_no_draft_and_recovers(tmp_path: Path, code: str) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        closing(Rig(tmp_path, places=places_on(tmp_path, disk, "archive"))) as rig,
    ):
        kept = [rig.save("/n.ipynb", SMALL).id]
        rig.packer.pack()
        kept += [rig.save("/n.ipynb", b"%d" % number).id for number in range(3)]
        with FAULTS[code](disk):  # type: ignore[attr-defined]
            for _ in range(3):
                with pytest.raises(StorageTrouble) as caught:
                    rig.packer.pack()
                assert caught.value.code == code and caught.value.hint
            assert [spooled.id for spooled in rig.spool.drafts()] == kept[1:]
            kept.append(rig.save("/n.ipynb", b"meanwhile").id)
            assert rig.read(kept[0]) == SMALL and rig.read(kept[-1]) == b"meanwhile"
        rig.packer.pack()
        assert rig.spool.drafts() == []
        assert [version.id for version in rig.log("/n.ipynb")] == kept[::-1]
        assert leftovers(rig.places) == []
        rig.fsck()


@pytest.mark.root
@needs_mounts()
def test_an_archive_that_fills_up_while_it_is_written_stays_as_it_was(tmp_path: Path) -> None:
    """The estimate was right, and then somebody else took the room."""
    with (
        small_disk(tmp_path / "disk") as disk,
        closing(Rig(tmp_path, places=places_on(tmp_path, disk, "archive"))) as rig,
    ):
        rig.save("/n.ipynb", SMALL)
        rig.packer.pack()
        rig.packer._check_room = lambda size: None  # type: ignore[method-assign]
        kept = rig.save("/n.ipynb", os.urandom(6 << 20))
        for _ in range(3):
            with pytest.raises(StorageTrouble) as caught:
                rig.packer.pack()
            assert caught.value.code == "no-space"
        assert leftovers(rig.places) == [] and len(rig.spool.drafts()) == 1
        assert os.statvfs(disk).f_bavail * 4096 > 3 << 20, "every attempt gives the room back"
        rig.fsck()
        remount(disk, "size=30m")
        rig.packer.pack()
        assert len(rig.read(kept.id)) == 6 << 20


@pytest.mark.root
@needs_mounts()
@pytest.mark.parametrize("code", ["no-space", "read-only"])
def test_a_spool_that_refuses_spills_to_the_emergency_place(tmp_path: Path, code: str) -> None:
    with small_disk(tmp_path / "disk") as disk:
        places = replace(places_on(tmp_path, disk, "spool"), emergency=str(tmp_path / "emergency"))
        rig = Rig(tmp_path, places=places)
        kept = [rig.save("/n.ipynb", SMALL).id]
        with FAULTS[code](disk):  # type: ignore[attr-defined]
            kept.append(rig.save("/n.ipynb", b"spilled").id)
            assert len(os.listdir(tmp_path / "emergency" / "spool" / "new")) == 1
            trouble = rig.spool.trouble()
            assert trouble is not None and trouble.code == code
            assert rig.read(kept[-1]) == b"spilled"
        kept.append(rig.save("/n.ipynb", b"back").id)
        assert rig.spool.trouble() is None
        assert [version.id for version in rig.log("/n.ipynb")] == kept[::-1]
        rig.packer.pack()
        assert rig.spool.drafts() == [] and [version.id for version in rig.log("/n.ipynb")] == kept[::-1]
        rig.close()


@pytest.mark.root
@needs_mounts()
def test_the_users_disk_is_never_filled(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", size="8m", inodes=2000) as disk,
        closing(Rig(tmp_path, places=places_on(tmp_path, disk, "spool"), reserve=NO_RESERVE)) as rig,
    ):
        reserve = Reserve(bytes=3 << 20, percent=100)
        rig.spool._reserve = reserve
        kept = []
        with pytest.raises(StorageTrouble) as caught:
            while True:
                kept.append(rig.save("/n.ipynb", os.urandom(100_000)))
        assert caught.value.code == "no-space" and len(kept) > 20
        free = os.statvfs(disk)
        assert free.f_bavail * free.f_frsize >= 3 << 20
        rig.packer.pack()
        assert len(rig.log("/n.ipynb")) == len(kept)
        rig.save("/n.ipynb", b"there is room again")


@pytest.mark.root
@needs_mounts("mkfs.ext4")
def test_a_disk_that_died_is_an_io_error(tmp_path: Path) -> None:
    with (
        loop_disk(tmp_path / "disk", "ext4") as disk,
        closing(Rig(tmp_path, places=places_on(tmp_path, disk.folder, "spool"))) as rig,
    ):
        kept = rig.save("/n.ipynb", SMALL)
        disk.cut_power()
        with pytest.raises(StorageTrouble) as caught:
            rig.save("/n.ipynb", b"refused")
        assert caught.value.code == "io-error"
        subprocess.run(["umount", str(disk.folder)], check=True)
        disk.mount()
        rig.save("/n.ipynb", b"later")
        assert [version.size for version in rig.log("/n.ipynb")] == [5, len(SMALL)]
        assert rig.read(kept.id) == SMALL


class OnRequest:
    """A keeper in a process of its own, with a shim under it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.order = base / "order"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.archive.keeper_on_request", str(base / "home"), "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LD_PRELOAD": shim.compiled(base), "SHIM_FILE": str(self.order)},
        )
        assert self._answer() == "ready"

    def ask(self, request: str) -> str:
        assert self._child.stdin is not None
        self._child.stdin.write(request + "\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def fail(self, call: str, number: int, path: str) -> None:
        self.order.write_text(f"{call} {number} {path}\n")

    def heal(self) -> None:
        fired = Path(f"{self.order}.fired")
        assert fired.exists(), "the fault did not fire"
        fired.unlink()
        self.order.unlink()

    def close(self) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        assert self._child.wait(30) == 0
        self._child.stdout.close()


@pytest.fixture
def on_request(tmp_path: Path) -> Iterator[OnRequest]:
    keeper = OnRequest(tmp_path)
    yield keeper
    keeper.close()


@pytest.mark.skipif(bool(shim.why_not()), reason=shim.why_not() or "-")
@pytest.mark.parametrize(
    ("call", "number", "path", "request_", "code"),
    [
        ("writev", errno.EIO, "/spool/tmp/", "keep x", "io-error"),
        ("writev", errno.ENOSPC, "/spool/tmp/", "keep x", "no-space"),
        ("writev", errno.EDQUOT, "/spool/tmp/", "keep x", "no-space"),
        ("fsync", errno.EIO, "/spool/tmp/", "keep x", "io-error"),
        ("fsync", errno.EIO, "/spool/new", "keep x", "io-error"),
        ("write", errno.EIO, "/objects/pack/tmp_", "pack", "io-error"),
        ("write", errno.ENOSPC, "/objects/pack/tmp_", "pack", "no-space"),
        ("fsync", errno.EIO, "/objects/pack/tmp_", "pack", "io-error"),
        ("fsync", errno.EIO, "/objects/pack", "pack", "io-error"),
        ("write", errno.ENOSPC, "/refs/heads/", "pack", "no-space"),
        ("write", errno.EIO, "/refs/heads/", "pack", "io-error"),
        ("fsync", errno.EIO, "/refs/heads/", "pack", "io-error"),
        ("fsync", errno.EIO, "/refs/heads", "pack", "io-error"),
        ("fsync", errno.EIO, "/refs/nbguard", "pack", "io-error"),
    ],
)
def test_a_failing_call_is_a_problem_with_its_code_and_nothing_is_let_go(
    on_request: OnRequest, call: str, number: int, path: str, request_: str, code: str
) -> None:
    kept = [on_request.ask("keep first").removeprefix("kept ")]
    assert on_request.ask("pack") == "packed 1"
    kept.append(on_request.ask("keep second").removeprefix("kept "))
    spare = "emergency" if request_ == "keep x" else ""
    on_request.fail(call, number, path)
    if spare:
        answers = {on_request.ask(request_) for _ in range(2)}
        kept += [answer.removeprefix("kept ") for answer in answers if answer.startswith("kept ")]
    else:
        assert {on_request.ask(request_) for _ in range(2)} == {f"failed StorageTrouble {code}"}
    on_request.heal()
    kept.append(on_request.ask("keep third").removeprefix("kept "))
    assert on_request.ask("pack").startswith("packed ")
    rig = Rig(on_request.base / "home")
    assert set(kept) <= {version.id for version in rig.log("/n.ipynb")}
    for identity in kept:
        rig.read(identity)
    assert rig.spool.drafts() == []
    rig.fsck()
