"""Damage: what is broken is said in clear words, stays where it is, and is in nobody's way."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from nbguard.archive import draft_header
from nbguard.archive.maintenance import list_packs
from nbguard.archive.packer import Packer
from nbguard.archive.repository import VERIFIED
from nbguard.errors import ArchiveTrouble, Busy, StorageTrouble
from tests.archive.rig import Rig
from tests.helpers import notebook_bytes


def new(rig: Rig) -> Path:
    return Path(rig.places.spool) / "new"


def spooled_file(rig: Rig, identity: str) -> Path:
    (found,) = new(rig).glob(f"*{identity}")
    return found


def cut(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 3)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def of_the_future(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"v":1', b'"v":2'))


def headless(path: Path) -> None:
    path.write_bytes(os.urandom(3000))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


HARMS = [cut, flip, of_the_future, headless, emptied, a_folder, a_pipe]


@pytest.mark.parametrize("size", [100, 9_000_000], ids=["small", "streamed"])
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_one_damaged_draft_is_set_aside_and_the_others_are_packed(tmp_path: Path, harm: object, size: int) -> None:
    rig = Rig(tmp_path)
    good = {rig.save("/n.ipynb", b"%d" % number).id: b"%d" % number for number in range(3)}
    bad = rig.save("/n.ipynb", os.urandom(size))
    good |= {rig.save("/n.ipynb", b"%d" % number).id: b"%d" % number for number in range(5, 8)}
    assert callable(harm)
    harm(spooled_file(rig, bad.id))
    assert len(rig.log("/n.ipynb")) >= 6, "readers are not stopped by it"
    with pytest.raises(ArchiveTrouble, match="1 drafts are not packed") as caught:
        rig.packer.pack()
    assert caught.value.code == "draft-damaged"
    assert rig.spool.drafts() == [] and [path.endswith(bad.id) for path in rig.spool.aside()] == [True]
    assert {identity: rig.read(identity) for identity in good} == good
    assert rig.packer.pack().versions == 0
    before = rig.answers()
    rig.catalog.discard()
    assert rig.answers() == before
    assert rig.git("show", "main:notebooks/n.ipynb") == b"7"
    rig.fsck()


@pytest.mark.parametrize("name", [b"\xff\xfe", "0-é".encode(), b"line\nbreak", b"-", b" "])
def test_a_stray_file_in_the_spool_stops_nothing(tmp_path: Path, name: bytes) -> None:
    rig = Rig(tmp_path)
    Path(os.fsdecode(os.fsencode(new(rig)) + b"/" + name)).write_bytes(b"what is this?")
    kept = rig.save("/n.ipynb", b"1")
    assert len(rig.log("/n.ipynb")) == 1
    with contextlib.suppress(ArchiveTrouble):  # it is named where it looks like a draft
        rig.packer.pack()
    assert rig.packer.pack().versions == 0
    assert rig.git("show", "main:notebooks/n.ipynb") == rig.read(kept.id) == b"1"
    rig.catalog.discard()
    assert len(rig.log("/n.ipynb")) == 1


def test_a_process_that_may_open_no_more_files_sets_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    kept = rig.save("/n.ipynb", b"1")
    fired: list[str] = []

    def refuse(path: str, flags: int) -> int:
        fired.append(path)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    with monkeypatch.context() as patched:
        patched.setattr(draft_header, "_at_once", refuse)
        with pytest.raises(StorageTrouble, match="Too many open files"):
            rig.packer.pack()
    assert fired
    assert rig.spool.aside() == []
    rig.packer.pack()
    assert rig.read(kept.id) == b"1"


def test_what_was_set_aside_is_packed_when_it_can_be(tmp_path: Path) -> None:
    """For example after an update of nbguard, or when the disk is well again."""
    rig = Rig(tmp_path)
    rig.save("/n.ipynb", b"1")
    bad = rig.save("/n.ipynb", b"2")
    path = spooled_file(rig, bad.id)
    whole = path.read_bytes()
    of_the_future(path)
    with pytest.raises(ArchiveTrouble):
        rig.packer.pack()
    (aside,) = rig.spool.aside()
    Path(aside).write_bytes(whole)
    rig.crash()
    rig.spool.sweep_leftovers()
    rig.packer.pack()
    assert rig.spool.aside() == [] and rig.read(bad.id) == b"2"


def test_files_that_are_no_drafts_are_in_nobodys_way(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for name in ("x", ".hidden", "0" * 32, "a b\nc", "notes.txt"):
        (new(rig) / name).write_bytes(b"anything")
    a_dangling_link(spooled_file(rig, rig.save("/m.ipynb", b"m").id))
    kept = rig.save("/n.ipynb", b"n")
    assert rig.read(kept.id) == b"n"
    with pytest.raises(ArchiveTrouble):
        rig.packer.pack()
    assert rig.read(kept.id) == b"n"
    assert rig.archive.tip() is not None


def test_reading_a_damaged_draft_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    bad, good = rig.save("/n.ipynb", b"bad bytes"), rig.save("/n.ipynb", b"good")
    rig.folder.catch_up()
    flip(spooled_file(rig, bad.id))
    with pytest.raises(ArchiveTrouble, match="does not hold what was kept"):
        rig.read(bad.id)
    assert rig.read(good.id) == b"good"


def test_the_same_draft_in_spool_and_emergency_place_is_one_version(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    draft = rig.save("/n.ipynb", b"twice")
    path = spooled_file(rig, draft.id)
    emergency = Path(rig.places.emergency)
    for part in ("new", "tmp"):
        (emergency / "spool" / part).mkdir(parents=True)
    emergency.chmod(0o700)
    shutil.copy(path, emergency / "spool" / "new")
    assert len(rig.log("/n.ipynb")) == 1
    while rig.packer.pack().versions:
        pass
    rig.packer.pack()
    assert len(rig.log("/n.ipynb")) == 1 and rig.spool.drafts() == []
    assert len(rig.git("rev-list", "main").split()) == 1


def test_a_damaged_twin_does_not_take_the_sound_one_along(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    draft = rig.save("/n.ipynb", b"twice")
    path = spooled_file(rig, draft.id)
    emergency = Path(rig.places.emergency)
    for part in ("new", "tmp"):
        (emergency / "spool" / part).mkdir(parents=True)
    emergency.chmod(0o700)
    shutil.copy(path, emergency / "spool" / "new")
    flip(path)
    for _ in range(2):
        try:
            rig.packer.pack()
        except ArchiveTrouble as trouble:
            assert trouble.code == "draft-damaged"
    assert rig.read(draft.id) == b"twice" and rig.spool.drafts() == []


def archive_of_three_packs(base: Path) -> tuple[Rig, list[str]]:
    rig = Rig(base)
    kept = []
    for number in range(3):
        kept.append(rig.save(f"/{number}.ipynb", notebook_bytes(*[f"x = {os.urandom(9).hex()}"] * 40)).id)
        rig.packer.pack()
    return rig, kept


def pack_of(rig: Rig, identity: str) -> Path:
    """Where a version's commit lies."""
    version = rig.library().version(identity)
    assert version is not None and version.commit is not None
    for pack in list_packs(rig.archive):
        if version.commit.encode() in rig.git("verify-pack", "-v", pack.path):
            return Path(pack.path)
    raise AssertionError("in no pack")


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_pack_costs_only_what_is_in_it(tmp_path: Path, how: str) -> None:
    rig, kept = archive_of_three_packs(tmp_path)
    good = {identity: rig.read(identity) for identity in kept[1:]}
    rig.folder.catch_up()
    pack = pack_of(rig, kept[0])
    if how == "gone":
        pack.unlink()
        pack.with_suffix(".idx").unlink()
    else:
        pack.chmod(0o600)
        raw = bytearray(pack.read_bytes())
        raw[40:200] = os.urandom(160)
        pack.write_bytes(raw)
    rig.crash()
    with pytest.raises(ArchiveTrouble) as caught:
        rig.read(kept[0])
    assert caught.value.hint
    assert {identity: rig.read(identity) for identity in good} == good
    later = rig.save("/2.ipynb", b"later")
    rig.packer.pack()
    assert rig.read(later.id) == b"later" and rig.spool.drafts() == []


def test_a_reader_goes_on_after_an_object_that_ended_git(tmp_path: Path) -> None:
    rig, kept = archive_of_three_packs(tmp_path)
    good = rig.read(kept[1])
    pack = pack_of(rig, kept[0])
    pack.chmod(0o600)
    raw = bytearray(pack.read_bytes())
    raw[14:-30] = os.urandom(len(raw) - 44)
    pack.write_bytes(raw)
    library = rig.library()
    versions = [library.version(identity) for identity in kept]
    assert versions[0] is not None and versions[1] is not None
    with pytest.raises(ArchiveTrouble):
        library.read(versions[0])
    assert library.read(versions[1]) == good
    library.close()


def test_with_its_newest_pack_gone_the_archive_says_so_and_drafts_stay(tmp_path: Path) -> None:
    rig, kept = archive_of_three_packs(tmp_path)
    good = {identity: rig.read(identity) for identity in kept[:2]}
    newest = pack_of(rig, kept[2])
    newest.unlink()
    newest.with_suffix(".idx").unlink()
    rig.crash()
    assert {identity: rig.read(identity) for identity in good} == good
    later = rig.save("/2.ipynb", b"later")
    for _ in range(2):
        with pytest.raises(ArchiveTrouble) as caught:
            rig.packer.pack()
        assert caught.value.hint
    assert rig.read(later.id) == b"later" and len(rig.spool.drafts()) == 1


def test_two_packers_at_once_one_is_told_to_wait(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    draft = rig.save("/n.ipynb", b"1")
    met = []
    other = Packer(archive=rig.archive, spool=rig.spool, catalog=rig.catalog, folder=rig.folder)
    whole = rig.archive.note_verified

    def note(tip: str, verified: str = VERIFIED) -> None:
        with pytest.raises(Busy):
            other.pack()
        met.append(tip)
        whole(tip, verified)

    rig.archive.note_verified = note  # type: ignore[method-assign]
    rig.packer.pack()
    assert met and rig.read(draft.id) == b"1"
    assert other.pack().versions == 0


def test_stale_locks_of_git_do_not_stop_packing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.save("/n.ipynb", b"1")
    rig.packer.pack()
    stale = [
        "refs/heads/main.lock",
        "HEAD.lock",
        "packed-refs.lock",
        "config.lock",
        "objects/pack/tmp_pack_1a2b3c",
        "objects/pack/tmp_nbguard_0011",
        "refs/nbguard/.nbguard-1122.tmp",
    ]
    for name in stale:
        (Path(rig.archive.folder) / name).write_bytes(b"left by the dead")
    rig.save("/n.ipynb", b"2")
    rig.packer.pack()
    assert [name for name in stale if (Path(rig.archive.folder) / name).exists()] == []
    rig.fsck()


def test_an_archive_half_made_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("nbguard.archive.repository.fsync_file", _no)
        with pytest.raises(KeyboardInterrupt):
            Rig(tmp_path)
    assert not any(name.startswith("archive.git") for name in os.listdir(tmp_path))
    rig = Rig(tmp_path)
    assert rig.git("config", "core.fsync").strip() == b"all"
    assert json.dumps(rig.archive.identity()) == json.dumps(rig.git("config", "nbguard.id").decode().strip())


def _no(path: str) -> None:
    raise KeyboardInterrupt
