"""Main is moved by somebody else: nothing is built on it, nothing is unlinked, and the hint brings it back."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from nbguard.archive.committing import Committing
from nbguard.errors import ArchiveMoved, ReadBackFailed
from nbguard.git import GitFolder
from tests.archive.rig import Rig

MAIN = "refs/heads/main"


def commit_of_somebody_else(rig: Rig, *parents: str, message: str = "mine now") -> str:
    parts = [part for parent in parents for part in ("-p", parent)]
    tree = rig.git("mktree", data=b"").decode().strip()
    return rig.git("commit-tree", tree, *parts, "-m", message).decode().strip()


def started(base: Path) -> tuple[Rig, list[str]]:
    rig = Rig(base / "home")
    kept = [rig.save("/n.ipynb", b"%d" % number).id for number in range(4)]
    rig.packer.pack()
    kept.append(rig.save("/n.ipynb", b"4").id)
    return rig, kept


@pytest.mark.parametrize("moment", ["before the ref moves", "while blobs are written"])
def test_moved_in_the_middle_of_a_batch_nothing_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rig, kept = started(tmp_path)
    tip = rig.archive.tip()
    assert tip is not None
    foreign = commit_of_somebody_else(rig, tip)
    name = "finish" if moment == "before the ref moves" else "blob"
    whole = getattr(Committing, name)
    fired = []

    def meddle(self: Committing, *arguments: object, **more: object) -> object:
        fired.append(rig.git("update-ref", MAIN, foreign))
        return whole(self, *arguments, **more)

    monkeypatch.setattr(Committing, name, meddle)
    packs = len(rig.git("count-objects", "-v"))
    with pytest.raises(ArchiveMoved, match="moved by someone else"):
        rig.packer.pack()
    assert fired and rig.archive.tip() == foreign
    assert [spooled.id for spooled in rig.spool.drafts()] == [kept[-1]]
    assert len(rig.git("count-objects", "-v")) == packs, "the pack nobody refers to is gone again"
    monkeypatch.undo()
    rig.packer.pack()  # it was moved forward: we go on from there
    assert rig.spool.drafts() == []
    assert [rig.read(identity) for identity in kept] == [b"0", b"1", b"2", b"3", b"4"]
    rig.fsck()


@pytest.mark.parametrize("is_catalog_lost", [False, True])
def test_set_back_between_batches_it_is_said_and_the_hint_mends_it(tmp_path: Path, is_catalog_lost: bool) -> None:
    rig, kept = started(tmp_path)
    before = rig.answers()
    rig.git("update-ref", MAIN, "main~2")
    if is_catalog_lost:
        rig.catalog.discard()
    assert rig.answers() == before, "what readers see does not go back"
    with pytest.raises(ArchiveMoved) as caught:
        rig.packer.pack()
    assert [spooled.id for spooled in rig.spool.drafts()] == [kept[-1]]
    command = caught.value.hint.partition(": ")[2]
    subprocess.run(shlex.split(command), check=True)
    rig.packer.pack()
    assert rig.spool.drafts() == [] and rig.answers() == before
    rig.fsck()


def test_removed_between_batches_it_is_said(tmp_path: Path) -> None:
    rig, kept = started(tmp_path)
    before = rig.answers()
    rig.git("update-ref", "-d", MAIN)
    rig.catalog.discard()
    assert rig.answers() == before
    with pytest.raises(ArchiveMoved) as caught:
        rig.packer.pack()
    subprocess.run(shlex.split(caught.value.hint.partition(": ")[2]), check=True)
    rig.packer.pack()
    assert [rig.read(identity) for identity in kept] == [b"0", b"1", b"2", b"3", b"4"]


def test_replaced_by_an_unrelated_history_it_is_said(tmp_path: Path) -> None:
    rig, _ = started(tmp_path)
    rig.git("update-ref", MAIN, commit_of_somebody_else(rig))
    with pytest.raises(ArchiveMoved):
        rig.packer.pack()
    assert len(rig.spool.drafts()) == 1


@pytest.mark.parametrize(
    "message", ["mine", "x\n\nId: not one of ours\nStatus: what\n", "x\n\nId: 1\nKind: accept\n", "x\n\nId: \n"]
)
def test_a_commit_of_somebody_else_on_top_is_built_upon_whatever_it_says(tmp_path: Path, message: str) -> None:
    rig, kept = started(tmp_path)
    tip = rig.archive.tip()
    assert tip is not None
    rig.git("update-ref", MAIN, commit_of_somebody_else(rig, tip, message=message))
    rig.packer.pack()
    assert [rig.read(identity) for identity in kept] == [b"0", b"1", b"2", b"3", b"4"]
    rig.catalog.discard()
    assert len(rig.log("/n.ipynb")) == 5
    rig.fsck()


def test_what_did_not_read_back_stays_in_the_spool_and_is_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, kept = started(tmp_path)
    whole = GitFolder.sha256_of
    failing = [2]

    def lie(self: GitFolder, names: list[bytes]) -> list[str | None]:
        found = whole(self, names)
        if failing[0]:
            failing[0] -= 1
            found[0] = None
        return found

    monkeypatch.setattr(GitFolder, "sha256_of", lie)
    with pytest.raises(ReadBackFailed, match="not at all"):
        rig.packer.pack()
    assert failing == [1] and [spooled.id for spooled in rig.spool.drafts()] == [kept[-1]]
    rig.packer.pack()
    assert failing == [0] and rig.spool.drafts() == []
    monkeypatch.undo()
    assert [rig.read(identity) for identity in kept] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(rig.log("/n.ipynb")) == 5
    before = rig.answers()
    rig.catalog.discard()
    assert rig.answers() == before
    assert rig.git("show", "main:notebooks/n.ipynb") == b"4"
    rig.fsck()


def test_what_never_reads_back_is_not_packed_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, kept = started(tmp_path)
    monkeypatch.setattr(GitFolder, "sha256_of", lambda self, names: [None] * len(names))
    for _ in range(10):
        with pytest.raises(ReadBackFailed):
            rig.packer.pack()
    assert len(rig.git("rev-list", "main").split()) < 15
    assert [spooled.id for spooled in rig.spool.drafts()] == [kept[-1]]
