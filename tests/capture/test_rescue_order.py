"""Rescue material is kept in the order it was written: the newest of it must be the newest in the log."""

from __future__ import annotations

import os
from pathlib import Path

from nbguard.capture.keep import Keeper
from nbguard.heads import Heads
from nbguard.model import Trigger
from nbguard.settings import Limits
from tests.helpers import notebook_bytes
from tests.memory import HandClock, MemoryStore


def test_the_copy_written_last_is_kept_last(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"")
    checkpoint, copy = tmp_path / ".ipynb_checkpoints" / "a-checkpoint.ipynb", tmp_path / ".~a.ipynb"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(notebook_bytes("older"))
    copy.write_bytes(notebook_bytes("newer"))
    os.utime(checkpoint, (1_000, 1_000))
    os.utime(copy, (2_000, 2_000))
    store = MemoryStore()
    keeper = Keeper(store=store, heads=Heads(), clock=HandClock(), limits=Limits(), root_of=lambda path: None)
    rescued = keeper.rescue(str(path))
    assert [draft.trigger for draft in rescued] == [Trigger.RESCUE, Trigger.RESCUE]
    assert store.of(str(path)) == [checkpoint.read_bytes(), copy.read_bytes()]
    assert rescued[0].moment < rescued[1].moment
