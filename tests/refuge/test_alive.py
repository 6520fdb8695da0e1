"""What is held outside HOME outlives its removal, whole; and nothing is let go because somebody removes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from nbguard.app_refuge import covers
from nbguard.archive.maintenance import Maintenance
from nbguard.refuge.alive import FORGOTTEN_SECONDS, Alive
from nbguard.refuge.survey import Survey
from tests.archive.rig import OPENED, Rig, fsck
from tests.helpers import notebook_bytes

A, B = "/home/ada/a.ipynb", "/home/ada/b.ipynb"


class Wired:
    """The port that the spool is given, with a clock that tests hold."""

    def __init__(self, alive: Alive) -> None:
        self.alive = alive
        self.released: list[str] = []

    def hold(self, path: str) -> None:
        self.alive.hold(path)

    def release(self, names: Sequence[str]) -> None:
        self.released += names
        self.alive.release(names, now=0.0)


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    yield Rig(tmp_path / "home")
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(params=["links", "descriptors"])
def alive(request: pytest.FixtureRequest, rig: Rig, tmp_path: Path) -> Generator[Alive]:
    """The two ways to hold: links outside HOME, or open descriptors; wired as the daemon does it."""
    folder = str(tmp_path / "outside" / "kept") if request.param == "links" else None
    held = Alive(Survey(rig.places), folder=folder, covers=covers)
    rig.spool.outside = Wired(held)
    held.look(now=0.0)
    yield held
    held.close()


def wipe(rig: Rig) -> None:
    """All that the installation has, as `rm -rf` removes it."""
    assert rig.places.home is not None
    shutil.rmtree(rig.places.home)
    assert not os.path.exists(rig.places.archive)
    assert not os.path.exists(rig.places.spool)


def work(rig: Rig) -> None:
    """Versions in three packs, and one that is only spooled."""
    for number in range(3):
        rig.save(A, notebook_bytes(f"a = {number}"))
        rig.save(B, notebook_bytes(f"b = {number}"))
        rig.packer.pack()
    rig.save(A, notebook_bytes("a = 'only spooled'"))


def given(rig: Rig, alive: Alive, home: Path) -> Rig:
    """An installation that has only what was held."""
    assert alive.give_all(str(home)) == []
    again = Rig(home)
    fsck(again.archive.folder)
    return again


def test_from_what_is_held_alone_a_whole_installation_comes_back(rig: Rig, alive: Alive, tmp_path: Path) -> None:
    work(rig)
    before = rig.answers()
    wipe(rig)
    again = given(rig, alive, tmp_path / "given")
    assert again.answers() == before
    newest, *_, oldest = again.log(A)
    assert again.read(newest.id) == notebook_bytes("a = 'only spooled'")
    assert again.read(oldest.id) == notebook_bytes("a = 0")


def test_what_was_packed_a_moment_ago_is_held_before_its_draft_goes(rig: Rig, alive: Alive, tmp_path: Path) -> None:
    rig.save(A, notebook_bytes("a = 1"))
    rig.packer.pack()  # and nobody looks after it
    wipe(rig)
    again = given(rig, alive, tmp_path / "given")
    (version,) = again.log(A)
    assert again.read(version.id) == notebook_bytes("a = 1")


def test_it_takes_no_space_of_its_own(rig: Rig, alive: Alive, tmp_path: Path) -> None:
    work(rig)
    alive.look(now=0.0, is_well=True)
    drafts = [name for name in alive.names() if name.startswith("spool/new/")]
    assert [os.path.basename(name) for name in drafts] == rig.spool.names()
    if alive.folder is not None:
        for name in alive.names():
            assert os.lstat(os.path.join(alive.folder, name)).st_nlink == 2, name


def test_packs_that_were_merged_are_let_go_once_another_holds_their_objects(
    rig: Rig, alive: Alive, tmp_path: Path
) -> None:
    work(rig)
    alive.look(now=0.0, is_well=True)
    assert len(packs(alive)) == 3
    Maintenance(rig.archive).run(full=True)
    alive.look(now=0.0, is_well=True)
    assert len(packs(alive)) == 1
    before = rig.answers()
    wipe(rig)
    assert given(rig, alive, tmp_path / "given").answers() == before


def test_a_removal_that_is_just_going_on_is_never_followed(rig: Rig, alive: Alive, tmp_path: Path) -> None:
    work(rig)
    before = rig.answers()
    alive.look(now=0.0, is_well=True)
    held = set(alive.names())
    assert rig.places.home is not None
    removed = 0
    for folder, _, names in os.walk(rig.places.home, topdown=False):
        for name in names:
            os.unlink(os.path.join(folder, name))
            removed += 1
            alive.look(now=removed * 60.0, is_well=False)
    assert removed > len(held)
    assert set(alive.names()) >= held
    assert given(rig, alive, tmp_path / "given").answers() == before


def test_a_draft_that_vanishes_unpacked_is_told_once_and_can_be_given_back(rig: Rig, alive: Alive) -> None:
    work(rig)
    alive.look(now=0.0, is_well=True)
    shutil.rmtree(rig.places.spool)
    (lost,) = alive.look(now=1.0, is_well=False).lost
    assert lost.startswith("spool/new/")
    alive.give(lost, os.path.join(rig.places.emergency, lost))
    assert alive.look(now=2.0, is_well=False).lost == ()
    rig.packer.pack()  # from the emergency place
    assert rig.spool.names() == []
    (newest, *_) = rig.log(A)
    assert newest.commit is not None
    assert rig.read(newest.id) == notebook_bytes("a = 'only spooled'")
    assert not [name for name in alive.names() if name.startswith("spool/new/")]


def test_a_draft_that_is_set_aside_is_not_lost(rig: Rig, alive: Alive) -> None:
    work(rig)
    (spooled,) = rig.spool.drafts()
    rig.spool.set_aside(spooled)
    assert alive.look(now=0.0, is_well=True).lost == ()
    assert [name for name in alive.names() if name.startswith("spool/aside/")] == [f"spool/aside/{spooled.name}"]


def test_what_is_pruned_is_let_go_after_an_hour_in_which_all_was_well(rig: Rig, alive: Alive) -> None:
    recorded = Path(rig.places.recorded)
    recorded.mkdir(parents=True)
    (recorded / "2026-11-20-1-aa.jsonl").write_bytes(b"{}\n")
    alive.look(now=0.0, is_well=True)
    (recorded / "2026-11-20-1-aa.jsonl").unlink()
    name = "spool/recorded/2026-11-20-1-aa.jsonl"
    for now, is_well, held in (
        (1.0, True, True),
        (FORGOTTEN_SECONDS, False, True),
        (FORGOTTEN_SECONDS + 2, True, True),
        (2 * FORGOTTEN_SECONDS + 3, True, False),
    ):
        alive.look(now=now, is_well=is_well)
        assert (name in alive.names()) is held, now


def test_a_segment_that_grows_is_given_back_as_it_is_then(rig: Rig, alive: Alive, tmp_path: Path) -> None:
    records = Path(rig.places.records)
    records.mkdir(parents=True)
    with open(records / "20261120T120000.000000Z-1-0123456789abcdef.jsonl", "ab") as segment:
        segment.write(b'{"n":1}\n')
        segment.flush()
        alive.look(now=0.0, is_well=True)
        wipe(rig)
        segment.write(b'{"n":2}\n')
    alive.give_all(str(tmp_path / "given"))
    (path,) = (tmp_path / "given/spool/records").iterdir()
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_the_next_daemon_takes_over_what_was_held_by_name(rig: Rig, tmp_path: Path) -> None:
    folder = str(tmp_path / "outside" / "kept")
    work(rig)
    before = rig.answers()
    first = Alive(Survey(rig.places), folder=folder, covers=covers)
    first.look(now=0.0, is_well=True)
    (draft,) = rig.spool.names()
    os.unlink(os.path.join(rig.places.spool, "new", draft))  # while no daemon runs
    second = Alive(Survey(rig.places), folder=folder, covers=covers)
    assert second.look(now=0.0, is_well=True).lost == (f"spool/new/{draft}",)
    assert given(rig, second, tmp_path / "given").answers() == before


def test_a_refuge_that_is_removed_is_filled_anew(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "outside" / "kept"
    alive = Alive(Survey(rig.places), folder=str(folder), covers=covers)
    work(rig)
    alive.look(now=0.0, is_well=True)
    held = alive.names()
    shutil.rmtree(folder.parent)
    alive.look(now=1.0, is_well=True)
    assert alive.names() == held
    assert all((folder / name).is_file() for name in held)


def test_where_descriptors_run_out_it_is_said_how_much_is_not_held(rig: Rig) -> None:
    alive = Alive(Survey(rig.places), folder=None, covers=covers, most_fds=2)
    look = alive.look(now=0.0, is_well=True)
    assert look.unheld > 0
    assert "descriptors" in look.reason
    assert len(alive.names()) == 2
    alive.close()


def test_a_look_at_what_did_not_change_lists_no_folder(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    work(rig)
    old = 1_700_000_000_000_000_000
    for folder, _, _ in os.walk(rig.places.home or ""):
        os.utime(folder, ns=(old, old))
    alive = Alive(Survey(rig.places), folder=None, covers=covers)
    assert alive.look(now=0.0, is_well=True).changed
    listed: list[str] = []
    scandir = os.scandir

    def noted(folder: str) -> Iterator[os.DirEntry[str]]:
        listed.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", noted)
    assert not alive.look(now=1.0, is_well=True).changed
    assert listed == []
    alive.close()


def packs(alive: Alive) -> list[str]:
    return [name for name in alive.names() if name.endswith(".pack")]
