"""An archive that vanished or broke is made anew: nothing is lost that anybody still has, and the rest is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nbguard.archive.maintenance import list_packs
from nbguard.archive.rebuilding import Mirrored, Rebuilt, Source, broken, rebuild
from nbguard.archive.record_log import SUFFIX
from nbguard.archive.repository import MAIN, RECORDS
from nbguard.archive.trailers import Decision
from nbguard.errors import ArchiveTrouble, NoArchive, StorageTrouble
from nbguard.model import DraftKind, Version
from tests.archive.rig import Rig, fsck, git
from tests.helpers import notebook_bytes

NB, OTHER = "/home/ada/eda.ipynb", "/home/ada/other.ipynb"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "guard")


def _copy(rig: Rig, folder: Path) -> Source:
    """A copy of the archive as it is now, as a mirror has it."""
    if not folder.exists():
        subprocess.run(["git", "init", "--bare", "--quiet", str(folder)], check=True)
    for ref in (MAIN, RECORDS):
        if rig.archive.git.tip(ref) is not None:
            git(rig.archive.folder, "push", "--quiet", str(folder), f"{ref}:{ref}")

    def fetch(into: str, prefix: str) -> None:
        names = git(str(folder), "for-each-ref", "--format=%(refname:short)", "refs/heads").decode().split()
        git(into, "fetch", "--quiet", str(folder), *(f"refs/heads/{name}:{prefix}{name}" for name in names))

    return Source("the copy", fetch)


def _unreachable() -> Source:
    def fetch(into: str, prefix: str) -> None:
        raise ArchiveTrouble(f"cannot be reached for {into} {prefix}")

    return Source("one that is away", fetch)


def _rebuild(rig: Rig, *sources: Source) -> tuple[str, int, list[str]]:
    done = rebuild(
        rig.archive,
        spool=rig.spool,
        catalog=rig.catalog,
        records=rig.places.records,
        sources=[_unreachable(), *sources],
    )
    rig.folder.catch_up()
    return done.source, done.back, [version.id for version in done.lost]


def _fill(rig: Rig) -> None:
    """Two batches: four versions, a rename, a deletion, a pin."""
    first = rig.save(NB, notebook_bytes("one"))
    rig.save(OTHER, notebook_bytes("other"))
    rig.packer.pack()
    rig.save(NB, notebook_bytes("two"))
    rig.delete(OTHER)
    rig.packer.pack()
    rig.decide(DraftKind.PIN, first.id, NB)
    rig.packer.pack()


def _damage_newest_pack(rig: Rig, known: set[str]) -> Path:
    """Flip bytes all over the pack that came last, so that none of its objects can be read."""
    (pack,) = [Path(one.path) for one in list_packs(rig.archive) if one.path not in known]
    data = bytearray(pack.read_bytes())
    for at in range(12, len(data) - 20):
        data[at] ^= 0x5A
    pack.chmod(0o600)
    pack.write_bytes(data)
    return pack


def test_a_vanished_archive_comes_back_from_a_copy_with_the_same_answers(rig: Rig, tmp_path: Path) -> None:
    _fill(rig)
    copy = _copy(rig, tmp_path / "copy.git")
    waiting = rig.save(NB, notebook_bytes("three"))
    before, identity = rig.answers(), rig.archive.identity()
    shutil.rmtree(rig.archive.folder)
    assert _rebuild(rig, copy) == ("the copy", 0, [])
    assert rig.answers() == before
    rig.packer.pack()
    assert rig.read(waiting.id) == notebook_bytes("three") and rig.archive.identity() == identity
    rig.archive.require()
    rig.crash()
    assert rig.answers() == before
    rig.fsck()


def test_what_the_copy_lacks_is_named_when_the_archive_is_gone(rig: Rig, tmp_path: Path) -> None:
    _fill(rig)
    copy = _copy(rig, tmp_path / "copy.git")
    late = rig.save(NB, notebook_bytes("not mirrored"))
    rig.packer.pack()
    shutil.rmtree(rig.archive.folder)
    assert _rebuild(rig, copy) == ("the copy", 0, [late.id])
    again = rig.save(NB, notebook_bytes("saved again"))
    rig.packer.pack()
    assert rig.log(NB)[0].id == again.id
    rig.fsck()


def test_without_any_copy_a_vanished_archive_is_not_begun_anew(rig: Rig) -> None:
    _fill(rig)
    shutil.rmtree(rig.archive.folder)
    with pytest.raises(NoArchive, match="no copy of it answers"):
        _rebuild(rig)
    assert not rig.archive.exists() and not list(Path(rig.places.archive).parent.glob("*.incoming"))


def test_of_a_broken_archive_what_the_copy_lacks_comes_back_through_the_spool(rig: Rig, tmp_path: Path) -> None:
    """The damage hits an old pack; the newest versions are only here, and can be read."""
    _fill(rig)
    copy = _copy(rig, tmp_path / "copy.git")
    known = {one.path for one in list_packs(rig.archive)}
    late = [rig.save(f"/home/ada/new{number}.ipynb", notebook_bytes(f"late {number}")) for number in range(3)]
    rig.packer.pack()
    before = rig.answers()
    for path in known:
        Path(path).unlink()
        Path(path.removesuffix(".pack") + ".idx").unlink()
    assert broken(rig.archive), "the fault fired"
    source, back, lost = _rebuild(rig, copy)
    assert (source, back, lost) == ("the copy", 3, [])
    assert rig.answers() == before
    rig.packer.pack()
    assert [rig.read(draft.id) for draft in late] == [notebook_bytes(f"late {number}") for number in range(3)]
    assert rig.answers() == before
    assert Path(f"{rig.archive.folder}.broken").is_dir(), "kept, whole"
    rig.fsck()


def test_with_a_damaged_newest_pack_and_no_copy_it_goes_on_from_the_last_tip_that_can_be_read(rig: Rig) -> None:
    _fill(rig)
    known = {one.path for one in list_packs(rig.archive)}
    sound = rig.archive.tip()
    lost = rig.save(NB, notebook_bytes("lost"))
    rig.packer.pack()
    _damage_newest_pack(rig, known)
    rig.crash()
    waiting = rig.save(NB, notebook_bytes("after"))
    with pytest.raises(ArchiveTrouble):
        rig.packer.pack()
    source, back, named = _rebuild(rig)
    assert (source, back, named) == ("what is sound of the broken archive", 0, [lost.id])
    assert rig.archive.tip() == sound
    rig.packer.pack()
    assert rig.read(waiting.id) == notebook_bytes("after")
    assert [version.sha256 is not None for version in rig.log(NB)].count(True) == 3
    assert rig.library().version(lost.id) is None, "it is not claimed to be kept"
    rig.fsck()


def test_a_copy_that_is_longer_than_what_is_sound_here_is_taken(rig: Rig, tmp_path: Path) -> None:
    _fill(rig)
    known = {one.path for one in list_packs(rig.archive)}
    late = rig.save(NB, notebook_bytes("mirrored in time"))
    rig.packer.pack()
    copy = _copy(rig, tmp_path / "copy.git")
    before = rig.answers()
    _damage_newest_pack(rig, known)
    assert _rebuild(rig, copy) == ("the copy", 0, [])
    assert rig.answers() == before and rig.read(late.id) == notebook_bytes("mirrored in time")


def test_a_pin_that_only_the_broken_archive_had_is_a_pin_again(rig: Rig, tmp_path: Path) -> None:
    first = rig.save(NB, notebook_bytes("one"))
    rig.packer.pack()
    copy = _copy(rig, tmp_path / "copy.git")
    rig.decide(DraftKind.PIN, first.id, NB)
    rig.packer.pack()
    Path(rig.archive.folder, "objects", "pack").rename(Path(rig.archive.folder, "objects", "gone"))
    assert _rebuild(rig, copy)[0] == "the copy"
    version = rig.library().version(first.id)
    assert version is not None and version.pinned
    rig.packer.pack()
    decisions = [one for one in rig.archive.records(rig.archive.tip() or "") if isinstance(one, Decision)]
    assert [one.about for one in decisions] == [first.id]


def test_executed_cells_that_only_the_broken_archive_has_go_back_to_the_record_log(rig: Rig, tmp_path: Path) -> None:
    rig.save(NB, notebook_bytes("one"))
    rig.packer.pack()
    copy = _copy(rig, tmp_path / "copy.git")
    name = f"20261121-segment{SUFFIX}"
    blob = rig.git("hash-object", "-w", "--stdin", data=b'{"v": 1}\n').decode().strip()
    gone = rig.git("hash-object", "-w", "--stdin", data=b"gone").decode().strip()
    rows = f"100644 blob {blob}\t{name}\n100644 blob {gone}\t20261122-gone{SUFFIX}\n"
    folder = rig.git("mktree", data=rows.encode()).decode().strip()
    tree = rig.git("mktree", data=f"040000 tree {folder}\texecuted\n".encode()).decode().strip()
    rig.git("update-ref", RECORDS, rig.git("commit-tree", "-m", "x", tree).decode().strip())
    Path(rig.archive.folder, "objects", gone[:2], gone[2:]).unlink()
    assert _rebuild(rig, copy)[0]
    assert os.listdir(rig.places.records) == [name]
    assert Path(rig.places.records, name).read_bytes() == b'{"v": 1}\n'


def test_an_attempt_that_is_interrupted_is_simply_made_again(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after the spool has what was saved from the broken archive, and before the new one is in its place."""
    _fill(rig)
    copy = _copy(rig, tmp_path / "copy.git")
    late = rig.save(NB, notebook_bytes("late"))
    rig.packer.pack()
    before = rig.answers()
    fired = []

    def fail(*_: object) -> str:
        fired.append(1)
        raise ArchiveTrouble("stopped here")

    with monkeypatch.context() as patched:
        patched.setattr("nbguard.archive.rebuilding.move_aside", fail)
        with pytest.raises(ArchiveTrouble, match="stopped here"):
            _rebuild(rig, Source("the copy", copy.fetch))
    assert fired and rig.archive.exists()
    assert rig.answers() == before, "what is in both is one version"
    source, back, lost = _rebuild(rig, copy)
    assert (source, lost) == ("what is sound of the broken archive", []) or (source, lost) == ("the copy", [])
    del back
    rig.packer.pack()
    assert rig.answers() == before and rig.read(late.id) == notebook_bytes("late")
    fsck(rig.archive.folder)


def test_nothing_is_broken_in_a_sound_archive(rig: Rig) -> None:
    _fill(rig)
    assert broken(rig.archive) == ""
    versions = [one for one in rig.archive.records(rig.archive.tip() or "") if isinstance(one, Version)]
    assert len(versions) == 4


@pytest.mark.parametrize("what", ["config", "HEAD", "objects"])
def test_an_archive_of_which_nothing_can_be_read_is_left_as_it_is_without_a_copy(
    rig: Rig, tmp_path: Path, what: str
) -> None:
    """git refuses the whole folder: an empty archive in its place would be the end of everything that it holds."""
    _fill(rig)
    copy, before = _copy(rig, tmp_path / "copy.git"), rig.answers()
    path = Path(rig.archive.folder, what)
    if what == "objects":
        path.rename(path.with_name("elsewhere"))
    else:
        path.write_bytes(b"\x00garbage")
    inside = sorted(os.listdir(rig.archive.folder))
    with pytest.raises(ArchiveTrouble, match="neither it nor any copy"):
        _rebuild(rig)
    assert [name for name in sorted(os.listdir(rig.archive.folder)) if name != "nbguard.lock"] == [
        name for name in inside if name != "nbguard.lock"
    ]
    assert not list(Path(rig.archive.folder).parent.glob("archive.git.*[!t]"))
    assert _rebuild(rig, copy)[0] == "the copy"
    assert rig.answers() == before


def test_without_room_for_what_must_come_back_nothing_is_moved(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(rig)
    copy = _copy(rig, tmp_path / "copy.git")
    late = rig.save("/home/ada/late.ipynb", notebook_bytes("late"))
    rig.packer.pack()
    Path(rig.archive.folder, "refs", "heads", "main").write_text("0" * 40 + "\n")
    fired = []

    def full(*_: object) -> None:
        fired.append(1)
        raise StorageTrouble("no room", code="no-space")

    with monkeypatch.context() as patched:
        patched.setattr(rig.spool, "keep", full)
        patched.setattr("nbguard.archive.rebuilding._own_copies", lambda archive: ())
        with pytest.raises(StorageTrouble):
            _rebuild(rig, copy)
    assert fired and rig.archive.exists() and not Path(f"{rig.archive.folder}.broken").exists()
    assert not list(Path(rig.archive.folder).parent.glob("*.incoming"))
    assert _rebuild(rig, copy)[2] == []
    rig.packer.pack()
    assert rig.read(late.id) == notebook_bytes("late")


def test_a_mirror_that_is_away_and_holds_more_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    """Going on from an older commit would part the archive from its mirror for ever."""
    _fill(rig)
    known = {one.path for one in list_packs(rig.archive)}
    late = rig.save(NB, notebook_bytes("mirrored"))
    rig.packer.pack()
    copy, there = _copy(rig, tmp_path / "copy.git"), Mirrored("disk", rig.archive.tip() or "")
    _damage_newest_pack(rig, known)

    def attempt(*sources: Source) -> Rebuilt:
        return rebuild(
            rig.archive,
            spool=rig.spool,
            catalog=rig.catalog,
            records=rig.places.records,
            sources=sources,
            mirrored=[there],
        )

    with pytest.raises(ArchiveTrouble, match="the mirror disk, which holds more of it"):
        attempt(_unreachable())
    assert rig.archive.exists() and not Path(f"{rig.archive.folder}.broken").exists()
    assert attempt(_unreachable(), copy).lost == ()
    assert rig.read(late.id) == notebook_bytes("mirrored")
