"""The refuge at work, step by step: what it does when folders of ours go, one by one or with the whole home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from nbguard.app_refuge import covers
from nbguard.archive.boots import epoch_of
from nbguard.clock import SystemClock
from nbguard.errors import ArchiveTrouble
from nbguard.problems import ProblemBoard
from nbguard.refuge.alive import Alive
from nbguard.refuge.emergency import EmergencyPlace
from nbguard.refuge.notes import read_note
from nbguard.refuge.refuge import PACKAGE, Orders, Pace, Refuge
from nbguard.refuge.survey import Survey
from tests.archive.rig import OPENED, Rig
from tests.helpers import notebook_bytes, poll


class Fixture:
    """A home with an installation in it, and its refuge outside; ``inside`` is where nothing is configured."""

    def __init__(self, base: Path, *, inside: bool = False) -> None:
        self.home = base / "home"
        for name in ("work", "music", "mail", "photos"):
            (self.home / name).mkdir(parents=True)
        self.rig = Rig(self.home / "nb")
        self.outside = self.home / "nb" / "emergency" if inside else base / "outside"
        self.another = base / "another"
        self.rig.spool.spill_to(str(self.outside))
        self.board = ProblemBoard(SystemClock())
        self.packages = 0
        self.trouble = ""
        self.moved_to = ""
        places = self.rig.places
        self.refuge = Refuge(
            Alive(Survey(places), folder=None if inside else str(self.outside / "kept"), covers=covers),
            EmergencyPlace(str(self.outside)),
            home=str(self.home),
            ours=(f"{places.archive}/objects", f"{places.spool}/new", places.state),
            roots=(str(self.home / "work"),),
            orders=Orders(
                make_anew=self.rig.spool.make,
                move_to=self._move_to,
                package=self._package,
                another_place=lambda: str(self.another),
            ),
            clock=SystemClock(),
            board=self.board,
            pace=Pace(quiet_seconds=0.0, package_seconds=0.0, retry_seconds=0.0),
        )
        self.rig.spool.outside = self.refuge
        self.refuge.begin()

    def codes(self) -> list[str]:
        return [problem.code for problem in self.board.all()]

    def _move_to(self, emergency: str) -> None:
        self.moved_to = emergency

    def _package(self, source: str | None, target: str) -> None:
        if self.trouble:
            raise ArchiveTrouble(self.trouble)
        self.packages += 1
        Path(target).write_text(f"{self.packages} of {source}")


@pytest.fixture
def fixture(tmp_path: Path) -> Generator[Fixture]:
    made = Fixture(tmp_path)
    yield made
    made.refuge.end()
    while OPENED:
        OPENED.pop().close()


def test_a_spool_that_was_removed_is_made_anew_once_home_stands_still_and_its_drafts_are_not_lost(
    fixture: Fixture,
) -> None:
    rig = fixture.rig
    rig.save("/n.ipynb", notebook_bytes("1"))
    shutil.rmtree(rig.places.spool)
    fixture.refuge.step()
    assert len(rig.spool.names()) == 1, "it is in the emergency place"
    assert fixture.codes() == ["own-files-removed"]
    rig.save("/n.ipynb", notebook_bytes("2"))
    (fixture.home / "music" / "song").touch()
    shutil.rmtree(fixture.home / "mail")
    fixture.refuge.step()
    assert not os.path.exists(rig.places.spool), "something is still being removed"
    fixture.refuge.step()
    assert os.path.isdir(f"{rig.places.spool}/new")
    fixture.refuge.step()
    assert fixture.codes() == []
    rig.save("/n.ipynb", notebook_bytes("3"))
    rig.packer.pack()
    assert [rig.read(version.id) for version in rig.log("/n.ipynb")] == [notebook_bytes(text) for text in "321"]
    assert rig.spool.names() == []


def test_a_draft_that_is_removed_as_it_is_written_is_written_again(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, removed = fixture.refuge.hold, []

    def remove_first(path: str) -> None:
        shutil.rmtree(fixture.rig.places.spool)
        removed.append(path)
        hold(path)

    monkeypatch.setattr(fixture.refuge, "hold", remove_first)
    draft = fixture.rig.save("/n.ipynb", notebook_bytes("1"))
    assert len(removed) == 1
    assert fixture.rig.spool.read(draft.id) == notebook_bytes("1")


def test_a_list_of_boots_that_was_removed_says_the_same_afterwards(fixture: Fixture) -> None:
    spool = fixture.rig.spool
    before = spool.moment()
    os.unlink(os.path.join(fixture.rig.places.spool, "boots"))
    spool.tend()
    assert epoch_of(spool._boot, fixture.rig.places.spool, 1) == before.epoch


def test_where_others_began_another_list_of_boots_the_later_number_counts(fixture: Fixture) -> None:
    spool, folder = fixture.rig.spool, fixture.rig.places.spool
    before = spool.moment()
    os.unlink(os.path.join(folder, "boots"))
    theirs = epoch_of(spool._boot, folder, before.epoch + 1000)
    spool.tend()
    assert spool.moment().epoch == theirs > before.epoch


def test_once_home_is_wiped_all_is_given_back_packaged_and_packaged_again_when_there_is_more(fixture: Fixture) -> None:
    rig = fixture.rig
    rig.save("/n.ipynb", notebook_bytes("1"))
    rig.packer.pack()
    rig.save("/n.ipynb", notebook_bytes("2"))
    shutil.rmtree(fixture.home)
    fixture.refuge.step()
    assert fixture.refuge.is_wiped
    assert fixture.moved_to == str(fixture.outside)
    assert (fixture.outside / PACKAGE).read_text() == f"1 of {fixture.outside}"
    assert not (fixture.outside / "kept").exists()
    note = read_note(str(fixture.outside))
    assert note is not None
    assert (note.home, note.package, note.trouble) == (str(fixture.home), str(fixture.outside / PACKAGE), "")
    again = Rig(fixture.outside)
    assert [again.read(version.id) for version in again.log("/n.ipynb")] == [notebook_bytes(text) for text in "21"]
    fixture.refuge.step()
    assert fixture.packages == 1, "nothing is new"
    rig.save("/n.ipynb", notebook_bytes("3"))

    def packaged_again() -> bool:
        fixture.refuge.step()
        return fixture.packages == 2

    poll(packaged_again, 30)  # at a rate that depends on how long the last one took
    assert not fixture.home.exists()


def test_a_package_that_cannot_be_made_is_told_and_tried_again(fixture: Fixture) -> None:
    fixture.trouble = "git is gone"
    shutil.rmtree(fixture.home)
    fixture.refuge.step()
    (problem,) = fixture.board.all()
    assert problem.code == "home-wiped"
    assert "git is gone" in problem.message
    assert "NBGUARD_HOME=" in problem.hint
    fixture.trouble = ""
    fixture.refuge.step()
    assert (fixture.outside / PACKAGE).exists()
    assert "git is gone" not in fixture.board.all()[0].message
    assert not list(fixture.outside.glob(".nbguard-*"))


def test_an_archive_that_is_replaced_is_no_removal(fixture: Fixture) -> None:
    objects = Path(fixture.rig.places.archive) / "objects"
    shutil.copytree(objects, objects.with_name("copy"))
    shutil.rmtree(objects)
    objects.with_name("copy").rename(objects)
    fixture.refuge.step()
    fixture.refuge.step()
    assert fixture.codes() == []
    assert not fixture.refuge.is_wiped


def test_the_last_look_never_keeps_the_daemon_from_ending(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ArchiveTrouble("no")

    monkeypatch.setattr(fixture.refuge, "step", refuse)
    fixture.refuge.end()


def test_nothing_is_made_anew_in_a_home_that_is_just_being_removed(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, inside=True)
    rig = fixture.rig
    rig.save("/n.ipynb", notebook_bytes("1"))
    shutil.rmtree(fixture.home / "nb")
    for name in ("work", "music", "mail", "photos"):
        fixture.refuge.step()
        assert not (fixture.home / "nb").exists()
        assert fixture.refuge.is_wiped == (name == "photos"), "one of five is as good as none"
        shutil.rmtree(fixture.home / name)
    fixture.refuge.step()
    assert fixture.refuge.is_wiped
    assert list(fixture.home.iterdir()) == []
    again = Rig(fixture.another)
    assert [again.read(version.id) for version in again.log("/n.ipynb")] == [notebook_bytes("1")]
    fixture.refuge.end()
    while OPENED:
        OPENED.pop().close()


def test_where_the_whole_installation_was_removed_the_end_makes_none_anew(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, inside=True)
    fixture.rig.save("/n.ipynb", notebook_bytes("1"))
    shutil.rmtree(fixture.home / "nb")
    fixture.refuge.end()
    assert not (fixture.home / "nb").exists()
    while OPENED:
        OPENED.pop().close()
