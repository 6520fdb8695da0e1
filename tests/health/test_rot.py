"""Old objects are read again in parts: all of them in time, whatever the machine's hours, and none is missed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from nbguard.git import hermetic_environment
from nbguard.health import rot
from nbguard.health.remembered import PackRead

DAY = 86_400.0
WEEK = 7 * DAY


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A bare repository with two packs of many objects."""
    folder = tmp_path / "archive.git"
    git(folder, "init", "--bare", "--quiet", str(folder))
    for batch in range(2):
        names = b"".join(
            git(folder, "hash-object", "-w", "--stdin", data=f"{batch} {number} ".encode() * 200)
            for number in range(12)
        )
        git(folder, "pack-objects", "--quiet", f"{folder}/objects/pack/pack", data=names)
        git(folder, "prune-packed")
    return folder


def git(folder: Path, *words: str, data: bytes = b"") -> bytes:
    command = ["git", f"--git-dir={folder}", *words]
    return subprocess.run(
        command, input=data, check=True, capture_output=True, env=hermetic_environment(str(folder.parent))
    ).stdout


def read(archive: Path, packs: dict[str, PackRead], *, now: float, elapsed: float) -> rot.Reread:
    return rot.reread(
        str(archive), packs, now=now, elapsed_seconds=elapsed, every_seconds=WEEK, is_time_up=lambda: False
    )


def flip(path: Path, at: int) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


ALWAYS_ON = [900.0] * 672
OFFICE_HOURS = [900.0] * 32 * 7  # eight waking hours a day; the time asleep is not counted
NOW_AND_THEN = [DAY] * 7


@pytest.mark.parametrize("looks", [ALWAYS_ON, OFFICE_HOURS, NOW_AND_THEN], ids=["always on", "eight hours", "daily"])
@pytest.mark.parametrize("seed", range(3))
def test_rot_anywhere_is_found_within_so_many_waking_days(
    archive: Path, monkeypatch: pytest.MonkeyPatch, looks: Sequence[float], seed: int
) -> None:
    monkeypatch.setattr(rot, "LEAST_BYTES", 1)
    packs = sorted(Path(archive, "objects/pack").glob("*.pack"))
    known: dict[str, PackRead] = {}
    now = max(pack.stat().st_mtime for pack in packs)
    for seconds in looks[: 100 + 50 * seed]:
        now += seconds
        known = dict(read(archive, known, now=now, elapsed=seconds).packs)
    victim = packs[seed % 2]
    flip(victim, 30 + seed * 211 % (victim.stat().st_size - 60))
    waited = 0.0
    for seconds in [*looks, *looks]:
        now += seconds
        waited += seconds
        done = read(archive, known, now=now, elapsed=seconds)
        known = dict(done.packs)
        if done.broken:
            break
    assert done.broken
    assert {each.pack for each in done.broken} == {victim.name}
    assert waited <= WEEK
    assert rot.is_still_broken(str(archive), done.broken[0])


def test_one_run_reads_no_more_than_its_share(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rot, "LEAST_BYTES", 1)
    total = sum(pack.stat().st_size for pack in Path(archive, "objects/pack").glob("*.pack"))
    done = read(archive, {}, now=1e9, elapsed=900)
    assert done.bytes < total / 3
    assert rot.quota(10**12, 900, WEEK) == pytest.approx(10**12 / 336, rel=0.01)
    assert rot.quota(10**12, 60 * DAY, WEEK) == 10**12


def test_time_that_is_up_ends_a_run_and_the_next_goes_on_from_there(archive: Path) -> None:
    looks = iter([False] * 5 + [True] * 100)
    done = rot.reread(
        str(archive), {}, now=1e9, elapsed_seconds=WEEK, every_seconds=WEEK, is_time_up=lambda: next(looks)
    )
    assert any(each.offset for each in done.packs.values())
    again = read(archive, dict(done.packs), now=2e9, elapsed=WEEK)
    assert done.bytes + again.bytes >= sum(p.stat().st_size - 32 for p in Path(archive, "objects/pack").glob("*.pack"))


def test_a_loose_object_that_rots_is_found(archive: Path) -> None:
    git(archive, "hash-object", "-w", "--stdin", data=b"loose" * 100)
    assert read(archive, {}, now=1e9, elapsed=900).broken == ()
    (loose,) = archive.glob("objects/??/*")
    flip(loose, 12)
    (broken,) = read(archive, {}, now=1e9, elapsed=900).broken
    assert broken.pack == rot.LOOSE
    assert rot.is_still_broken(str(archive), broken)
    loose.unlink()
    assert not rot.is_still_broken(str(archive), broken)


def test_packs_that_are_packed_anew_meanwhile_are_no_alarm(archive: Path) -> None:
    known = dict(read(archive, {}, now=1e9, elapsed=WEEK).packs)
    for path in Path(archive, "objects/pack").iterdir():
        path.unlink()
    done = read(archive, known, now=1e9 + 900, elapsed=900)
    assert done.broken == ()
    assert set(done.packs) == {rot.LOOSE}


def test_an_index_cut_short_or_of_another_kind_is_named(archive: Path) -> None:
    (index, other) = sorted(Path(archive, "objects/pack").glob("*.idx"))
    index.chmod(0o600)
    index.write_bytes(index.read_bytes()[:500])
    other.chmod(0o600)
    other.write_bytes(b"")
    done = read(archive, {}, now=1e10, elapsed=WEEK)
    assert {each.pack for each in done.broken} == {index.with_suffix(".pack").name, other.with_suffix(".pack").name}
