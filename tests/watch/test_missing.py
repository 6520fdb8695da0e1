"""Notebooks that are not where they were: believed deleted, held, or out of reach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nbguard.heads import Heads
from nbguard.watch.missing import Missing
from tests.memory import HandClock
from tests.powers import without_root_powers
from tests.watch.test_sweep import keep, write

DAY = 86_400.0


class Ledger:
    """A Missing over one root, with time by hand."""

    def __init__(self, root: Path, count: int) -> None:
        self.root, self.heads, self.clock, self.sound = root, Heads(), HandClock(), True
        self.paths = [str(write(root / f"p{number % 7}" / f"{number}.ipynb")) for number in range(count)]
        for path in self.paths:
            keep(self.heads, path)
        self.missing = Missing(
            heads=self.heads,
            clock=self.clock,
            hold_seconds=DAY,
            root_of=lambda path: str(root) if path.startswith(str(root)) else None,
            root_is_sound=lambda _root: self.sound,
        )

    def lose(self, *paths: str) -> None:
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)
            self.missing.note(path, self.clock.monotonic())

    def believed_after(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        heads = self.missing.believe(self.clock.monotonic())
        for head in heads:
            self.missing.buried(head.path, self.clock.monotonic())
            self.heads.drop(head.path)
        return sorted(head.path for head in heads)

    def problems(self) -> list[tuple[str, str]]:
        return [(problem.code, problem.subject) for problem in self.missing.problems()]


def test_a_deleted_notebook_is_believed_deleted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    ledger.lose(ledger.paths[0])
    assert ledger.believed_after(0.5) == [], "more may come"
    assert ledger.believed_after(1) == [ledger.paths[0]]
    assert len(ledger.missing) == 0
    assert ledger.missing.next_due() is None


def test_one_that_came_back_is_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    ledger.lose(ledger.paths[0])
    write(Path(ledger.paths[0]))
    assert ledger.believed_after(2) == []
    assert len(ledger.missing) == 0


def test_hundreds_at_once_are_held_for_a_day_and_reported(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 120)
    ledger.lose(*ledger.paths[:100])
    assert ledger.believed_after(2) == []
    assert ledger.problems() == [("mass-deletion", str(tmp_path))]
    assert ledger.believed_after(DAY - 60) == []
    assert ledger.believed_after(120) == sorted(ledger.paths[:100])
    assert ledger.problems() == []


def test_a_slow_mass_deletion_is_noticed_by_what_was_believed_lately(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 120)
    believed = 0
    for path in ledger.paths[:100]:
        ledger.lose(path)
        believed += len(ledger.believed_after(2))
    assert believed == 50
    assert ledger.problems() == [("mass-deletion", str(tmp_path))]


def test_of_a_removed_folder_nothing_is_believed_for_a_day(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 14)
    shutil.rmtree(tmp_path / "p0")
    ledger.lose(ledger.paths[0], ledger.paths[7])
    assert ledger.believed_after(2) == []
    assert ledger.problems() == [("unreachable", str(tmp_path))]
    assert ledger.believed_after(DAY) == sorted([ledger.paths[0], ledger.paths[7]])


def test_in_a_lost_root_nothing_is_judged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    ledger.sound = False
    ledger.lose(*ledger.paths)
    assert ledger.believed_after(2) == []
    assert ledger.believed_after(9 * DAY) == []
    assert ledger.problems() == [], "the lost root is the problem, and told elsewhere"


def test_on_another_file_system_nothing_is_believed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    path = ledger.paths[0]
    head = ledger.heads.get(path)
    assert head is not None
    fields = {name: getattr(head, name) for name in head.__slots__}
    ledger.heads.put(type(head)(**fields | {"parent_device": 987_654}))
    ledger.lose(path)
    assert ledger.believed_after(2) == []
    assert ledger.believed_after(9 * DAY) == []
    assert ledger.problems() == [("unreachable", os.path.dirname(path))]


def test_a_folder_that_became_a_symlink_is_not_the_folder_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "root", 3)
    folder = Path(ledger.paths[0]).parent
    folder.rename(tmp_path / "moved away")
    folder.symlink_to(tmp_path / "moved away")
    os.unlink(ledger.paths[0])
    ledger.missing.note(ledger.paths[0], ledger.clock.monotonic())
    assert ledger.believed_after(2) == []
    assert ledger.problems() == [("unreachable", str(tmp_path / "root"))]


def test_in_a_shut_folder_nothing_is_believed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    folder = Path(ledger.paths[0]).parent
    ledger.lose(ledger.paths[0])
    folder.chmod(0)
    try:
        with without_root_powers():
            assert ledger.believed_after(2) == []
        assert ledger.problems() == [("unreachable", str(folder))]
    finally:
        folder.chmod(0o700)


def test_a_failed_tombstone_is_tried_again_and_counted_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 3)
    ledger.lose(ledger.paths[0])
    ledger.clock.advance(2)
    assert len(ledger.missing.believe(ledger.clock.monotonic())) == 1
    assert ledger.missing.believe(ledger.clock.monotonic()) == [], "not at once"
    ledger.clock.advance(31)
    assert len(ledger.missing.believe(ledger.clock.monotonic())) == 1
