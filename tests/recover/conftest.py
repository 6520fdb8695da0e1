"""A folder of notebooks with their versions in memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbguard.model import Version
from nbguard.ports import Keep
from nbguard.recover.journal import Journal
from nbguard.recover.naming import find_notebook
from nbguard.recover.restore import Outcome, plan_restore, restore
from nbguard.recover.undo import Undone, plan_undo, undo
from nbguard.recover.when import When
from tests.library import MemoryLibrary


@dataclass
class Bench:
    """A root on disk, a library in memory, a journal; ``save`` writes and keeps."""

    root: Path
    library: MemoryLibrary
    journal: Journal
    ticks: itertools.count[int] = field(default_factory=itertools.count)
    keep: Keep = field(init=False)
    roots: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.keep = self.library.keep
        self.roots = (str(self.root),)

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 8, tzinfo=UTC) + timedelta(minutes=next(self.ticks))

    def save(self, name: str, data: bytes) -> Version:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.library.add(str(path), data)

    def restore(self, name: str, when: When | None = None, *, to: str | None = None, in_place: bool = False) -> Outcome:
        found = find_notebook(self.library, str(self.root / name), "/")
        plan = plan_restore(found, when, to=to, in_place=in_place, cwd=str(self.root), zone=UTC, roots=self.roots)
        return restore(plan, library=self.library, keep=self.keep, journal=self.journal, now=self.now, zone=UTC)

    def undo(self) -> Undone:
        plan = plan_undo(self.journal, self.library, UTC)
        return undo(plan, library=self.library, keep=self.keep, journal=self.journal, now=self.now)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root = tmp_path / "work"
    root.mkdir()
    return Bench(root, MemoryLibrary(root=str(root)), Journal(str(tmp_path / "state" / "restores.jsonl")))
