"""Maintenance: few packs, small bytes, and never an object less, whoever dies or reads meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.archive.maintenance import Maintenance, Pack, PackCount, choose, count_packs, is_due, list_packs
from nbguard.archive.pack_index import PackIndex
from nbguard.archive.spool import Reserve
from nbguard.durable import FileLock
from nbguard.errors import ArchiveTrouble, Busy
from tests.archive.rig import NO_RESERVE, Rig, git, leftovers
from tests.helpers import notebook_bytes, poll


@given(objects=st.lists(st.integers(1, 10_000), max_size=30))
def test_after_merging_each_pack_is_twice_the_next_smaller_one(objects: list[int]) -> None:
    packs = sorted((Pack(str(number), count, count) for number, count in enumerate(objects)), key=lambda p: p.objects)
    chosen = choose(packs)
    assert chosen == packs[: len(chosen)] and len(chosen) != 1
    merged = sum(pack.objects for pack in chosen)
    after = ([merged] if chosen else []) + [pack.objects for pack in packs[len(chosen) :]]
    assert all(small * 2 <= large for small, large in itertools.pairwise(after))


@pytest.mark.parametrize(
    ("packs", "small", "due"), [(0, 0, False), (7, 7, False), (8, 8, True), (20, 3, False), (32, 0, True)]
)
def test_many_small_packs_or_very_many_are_due(packs: int, small: int, due: bool) -> None:
    assert is_due(PackCount(packs, small, 1)) is due


def filled(base: Path, batches: int = 10, saves: int = 5) -> tuple[Rig, dict[str, bytes]]:
    """An archive as quiet use leaves it: a pack every few saves."""
    rig = Rig(base / "home")
    chance = random.Random(5)
    sources = [f"x{number} = {chance.random()}" for number in range(150)]
    kept = {}
    for batch in range(batches):
        for save in range(saves):
            sources[chance.randrange(len(sources))] = f"y = {batch}, {save}"
            data = notebook_bytes(*sources, outputs=True)
            kept[rig.save(f"/w/{save % 2}.ipynb", data).id] = data
        rig.packer.pack()
    return rig, kept


def check(rig: Rig, kept: dict[str, bytes]) -> None:
    library = rig.library()
    for identity, data in kept.items():
        version = library.version(identity)
        assert version is not None and library.read(version) == data
    library.close()
    rig.fsck()


def test_small_packs_become_one_and_everything_comes_back(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path)
    before = count_packs(rig.archive)
    assert (before.packs, before.small) == (10, 10) and is_due(before)
    after = Maintenance(rig.archive, reserve=NO_RESERVE).run()
    assert after.packs == 1 and not is_due(after)
    assert after.bytes < before.bytes / 2.3, "first states of each batch are deltas now"
    check(rig, kept)
    size = after.bytes
    git(rig.archive.folder, "repack", "-adfq", "--window=50", "--depth=50")
    assert size < 1.5 * count_packs(rig.archive).bytes


def test_a_full_run_leaves_one_pack(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path, batches=3)
    assert Maintenance(rig.archive, reserve=NO_RESERVE).run(full=True).packs == 1
    check(rig, kept)


def test_nothing_is_merged_into_the_space_that_is_left_to_the_user(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path, batches=9, saves=1)
    assert Maintenance(rig.archive, reserve=Reserve(bytes=1 << 60, percent=100)).run().packs == 9
    check(rig, kept)


def test_nothing_is_merged_while_somebody_packs(tmp_path: Path) -> None:
    rig, _ = filled(tmp_path, batches=2)
    with FileLock(rig.archive.lock_path), pytest.raises(Busy):
        Maintenance(rig.archive, reserve=NO_RESERVE).run()


def test_a_reader_with_old_packs_open_goes_on_reading(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path)
    library = rig.library()
    first, *others = kept
    version = library.version(first)
    assert version is not None and library.read(version) == kept[first]
    Maintenance(rig.archive, reserve=NO_RESERVE).run()
    for identity in others:
        version = library.version(identity)
        assert version is not None and library.read(version) == kept[identity]
    library.close()


def test_old_packs_stay_when_the_new_one_lacks_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, kept = filled(tmp_path)
    whole = PackIndex.__contains__
    asked = []

    def lacking(index: PackIndex, oid: bytes) -> bool:
        asked.append(oid)
        return whole(index, oid) and len(asked) != 7

    monkeypatch.setattr(PackIndex, "__contains__", lacking)
    with pytest.raises(ArchiveTrouble, match="lacks objects"):
        Maintenance(rig.archive, reserve=NO_RESERVE).run()
    assert count_packs(rig.archive).packs == 11
    check(rig, kept)


def test_a_pack_without_its_index_is_indexed_and_merged(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path)
    lost = list_packs(rig.archive)[0].path
    os.unlink(lost.removesuffix(".pack") + ".idx")
    assert Maintenance(rig.archive, reserve=NO_RESERVE).run().packs == 1
    assert not os.path.exists(lost)
    check(rig, kept)


def test_an_index_knows_what_git_knows(tmp_path: Path) -> None:
    rig, _ = filled(tmp_path, batches=1)
    (pack,) = list_packs(rig.archive)
    rows = git(rig.archive.folder, "verify-pack", "-v", pack.path).splitlines()
    oids = {bytes.fromhex(row[:40].decode()) for row in rows if re.match(rb"[0-9a-f]{40} (blob|tree|commit)", row)}
    with PackIndex(pack.path.removesuffix(".pack") + ".idx") as index:
        assert set(index) == oids and len(index) == len(oids) == pack.objects
        assert all(oid in index for oid in oids)
        assert bytes(20) not in index and b"\xff" * 20 not in index


@pytest.mark.parametrize("content", [b"", b"short", b"\xfftOc\0\0\0\x01" + bytes(2000)])
def test_what_is_no_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.idx").write_bytes(content)
    with pytest.raises(ArchiveTrouble):
        PackIndex(str(tmp_path / "x.idx"))


_RUN = """
import sys
from nbguard.archive.maintenance import Maintenance
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Reserve
from nbguard.places import find_places
Maintenance(Archive(find_places(home=sys.argv[1])), reserve=Reserve(bytes=0, percent=0.0)).run(full=True)
"""


def _slow_git(folder: Path, seconds: float) -> dict[str, str]:
    """An environment in which `git pack-objects` waits before it works: long enough to be met in the middle."""
    folder.mkdir()
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    wait = f"touch {folder}/began; sleep {seconds}"
    (folder / "git").write_text(f'#!/bin/sh\ncase "$*" in *pack-objects*) {wait};; esac\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_orphan_of_a_killed_daemon_keeps_packers_out_until_it_is_done(tmp_path: Path) -> None:
    rig, kept = filled(tmp_path, batches=4)
    bin_folder = tmp_path / "bin"
    child = subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path / "home")], env=_slow_git(bin_folder, 1.5))
    poll((bin_folder / "began").exists, 30)
    child.kill()
    child.wait()
    kept[rig.save("/w/0.ipynb", b"meanwhile").id] = b"meanwhile"
    with pytest.raises(Busy):
        rig.packer.pack()

    def pack() -> bool:
        try:
            rig.packer.pack()
        except Busy:
            return False
        return True

    poll(pack, 30)
    assert rig.spool.drafts() == []
    Maintenance(rig.archive, reserve=NO_RESERVE).run()
    check(rig, kept)


def _kill_in_the_middle(base: Path, after_seconds: float) -> bool:
    """Kill it and its child so long after git began; True when it was still at work."""
    rig, kept = filled(base, batches=6)
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(base / "home")], env=_slow_git(base / "bin", 0.05), start_new_session=True
    )
    poll((base / "bin" / "began").exists, 30, every=0.002)
    git_child = int(subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, check=False).stdout or b"0")
    try:
        child.wait(after_seconds)
        hit = False
    except subprocess.TimeoutExpired:
        hit = True
        for pid in filter(None, (child.pid, git_child)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()
    check(rig, kept)

    def merged() -> bool:
        try:
            return Maintenance(rig.archive, reserve=NO_RESERVE).run(full=True).packs == 1
        except Busy:
            return False

    poll(merged, 30)
    check(rig, kept)
    assert leftovers(rig.places) == []
    rig.close()
    return hit


def test_killed_at_any_moment_it_loses_nothing(tmp_path: Path) -> None:
    hits = [_kill_in_the_middle(tmp_path / str(number), number * 0.03) for number in range(4)]
    assert any(hits)


@pytest.mark.long
def test_killed_at_any_moment_it_loses_nothing_many_times(tmp_path: Path) -> None:
    chance = random.Random(4)
    hits = [_kill_in_the_middle(tmp_path / str(number), chance.random() * 0.2) for number in range(40)]
    assert sum(hits) > 10
