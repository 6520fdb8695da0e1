"""A renamed notebook and a new one on a freed inode look alike; the time a file was made tells them apart."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nbguard.capture.birth import birth_ns
from nbguard.capture.first import FirstVersions
from nbguard.capture.keep import Keeper, Kept
from nbguard.clock import SystemClock
from nbguard.heads import Heads
from nbguard.model import Draft, Trigger
from nbguard.settings import Limits
from tests.helpers import notebook_bytes, poll
from tests.memory import MemoryStore


@pytest.fixture
def heads() -> Heads:
    return Heads()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keeper(store: MemoryStore, heads: Heads) -> Keeper:
    return Keeper(store=store, heads=heads, clock=SystemClock(), limits=Limits(), root_of=lambda path: None)


def _kept(keeper: Keeper, path: Path, trigger: Trigger = Trigger.WATCH) -> Draft:
    outcome = keeper.keep(str(path), trigger)
    assert isinstance(outcome, Kept), outcome
    return outcome.draft


def test_birth_is_when_the_file_was_made_not_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = time.time_ns()
    path.write_bytes(b"1")
    if (born := birth_ns(str(path))) is None:
        pytest.skip("this file system does not know when a file was made")
    assert before - 20_000_000 <= born <= time.time_ns()
    poll(lambda: time.time_ns() > before + 50_000_000)
    path.write_bytes(b"2")
    path = path.rename(tmp_path / "b")
    assert birth_ns(str(path)) == born
    assert os.stat(path).st_ctime_ns > born
    assert birth_ns(str(tmp_path / "none")) is None


def test_a_new_notebook_on_the_inode_of_a_deleted_one_is_no_rename(
    tmp_path: Path, keeper: Keeper, heads: Heads
) -> None:
    old, new = tmp_path / "old.ipynb", tmp_path / "new.ipynb"
    old.write_bytes(notebook_bytes("old"))
    if birth_ns(str(old)) is None:
        pytest.skip("this file system does not know when a file was made")
    _kept(keeper, old)
    old.unlink()
    poll(lambda: time.time_ns() > os.stat(tmp_path).st_mtime_ns + 50_000_000)
    new.write_bytes(notebook_bytes("new"))
    head = heads.get(str(old))
    assert head is not None
    assert head.signature is not None
    # Nearly always so by itself on ext4; made so here, that the test does not depend on it.
    heads.put(replace(head, signature=replace(head.signature, inode=os.stat(new).st_ino)))
    assert _kept(keeper, new, Trigger.SWEEP).renamed_from is None


def test_a_notebook_renamed_and_changed_while_nobody_watched_is_followed(tmp_path: Path, keeper: Keeper) -> None:
    old, new = tmp_path / "old.ipynb", tmp_path / "new.ipynb"
    old.write_bytes(notebook_bytes("old"))
    _kept(keeper, old)
    old.rename(new)
    new.write_bytes(notebook_bytes("new"))
    assert _kept(keeper, new, Trigger.SWEEP).renamed_from == str(old)


def test_an_import_leaves_what_may_have_been_renamed_to_those_who_can_tell(
    tmp_path: Path, keeper: Keeper, store: MemoryStore, heads: Heads
) -> None:
    moves, goes = tmp_path / "moves.ipynb", tmp_path / "changes.ipynb"
    moves.write_bytes(notebook_bytes("moves"))
    goes.write_bytes(notebook_bytes("changes"))
    _kept(keeper, moves)
    _kept(keeper, goes)
    moved, changed, fresh = tmp_path / "moved.ipynb", tmp_path / "changed.ipynb", tmp_path / "fresh.ipynb"
    moves.rename(moved)
    fresh.write_bytes(notebook_bytes("fresh"))
    goes.rename(changed)
    changed.write_bytes(notebook_bytes("changes, and was renamed"))
    poll(lambda: time.time_ns() > os.stat(changed).st_ctime_ns + 50_000_000)
    first = FirstVersions(store=store, heads=heads, clock=SystemClock(), limits=Limits())
    drafts = list(first.drafts([(str(path), str(tmp_path)) for path in (moved, changed, fresh)]))
    assert [draft.path for draft, _ in drafts] == [str(fresh)]
