"""When the spool's disk refuses, the emergency place takes what it can, and the trouble is told until it is over."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbguard.archive import draft_writing
from nbguard.archive.spool import Reserve, Spool
from nbguard.clock import SystemClock
from nbguard.errors import StorageTrouble
from nbguard.model import Draft, DraftKind, Trigger
from tests.helpers import notebook_bytes


@dataclass
class Faulty:
    """Below ``folder`` the disk fails; ``fired`` counts."""

    folder: Path
    fired: int = 0
    on: bool = True

    def fsync_folder(self, path: str) -> None:
        if self.on and Path(path).is_relative_to(self.folder):
            self.fired += 1
            raise OSError(5, "Input/output error")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(
        str(tmp_path / "spool"),
        clock=SystemClock(),
        install="i",
        emergency=str(tmp_path / "e"),
        reserve=Reserve(bytes=0),
    )
    made.make()
    return made


def _draft(spool: Spool, data: bytes) -> Draft:
    return spool.draft(
        kind=DraftKind.VERSION,
        path="/w/a.ipynb",
        moment=spool.moment(),
        trigger=Trigger.WATCH,
        root="/w",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def test_a_draft_its_disk_fails_to_make_durable_goes_to_the_emergency_place(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Faulty(tmp_path / "spool")
    monkeypatch.setattr(draft_writing, "fsync_folder", fault.fsync_folder)
    data = notebook_bytes("x")
    kept = spool.keep(_draft(spool, data), data)
    assert fault.fired == 1
    assert [one.folder for one in spool.drafts()] == [str(tmp_path / "e" / "spool" / "new")]
    assert spool.read(kept.id) == data
    trouble = spool.trouble()
    assert trouble is None, "a file can be written there again, as far as anybody can tell"


def test_a_stream_begins_anew_in_the_emergency_place(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Faulty(tmp_path / "spool")
    monkeypatch.setattr(draft_writing, "fsync_folder", fault.fsync_folder)
    data = notebook_bytes("x" * 100)
    (tmp_path / "a").write_bytes(data)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    kept = spool.keep_stream(_draft(spool, data), fd)
    os.close(fd)
    assert fault.fired == 1
    assert spool.read(kept.id) == data


def test_without_an_emergency_place_the_trouble_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Faulty(tmp_path / "spool")
    monkeypatch.setattr(draft_writing, "fsync_folder", fault.fsync_folder)
    spool = Spool(str(tmp_path / "spool"), clock=SystemClock(), install="i", reserve=Reserve(bytes=0))
    spool.make()
    data = notebook_bytes("x")
    with pytest.raises(StorageTrouble):
        spool.keep(_draft(spool, data), data)
    assert spool.drafts() == []


def test_trouble_is_told_before_anything_is_refused_and_not_after_it_is_over(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spool.trouble() is None
    monkeypatch.setattr("nbguard.archive.spool.free_space", lambda path: (10, 1000, 5))
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.code == "no-space"
    monkeypatch.setattr("nbguard.archive.spool.free_space", lambda path: (10_000_000, 10_000_000, 0))
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.code == "no-inodes"
    monkeypatch.undo()
    assert spool.trouble() is None


def test_only_what_can_be_written_again_ends_the_trouble(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "spool" / "tmp").rename(tmp_path / "spool" / "gone")
    data = notebook_bytes("x")
    spool.keep(_draft(spool, data), data)
    for _ in range(2):
        trouble = spool.trouble()
        assert trouble is not None, "it cannot be written"
    (tmp_path / "spool" / "gone").rename(tmp_path / "spool" / "tmp")
    assert spool.trouble() is None
    assert os.listdir(tmp_path / "spool" / "tmp") == []
