"""What setup proposes: a few folders that hold notebooks, found in bounded time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.clock import SystemClock
from nbguard.service.folders import MOST_PROPOSED, Proposal, find_folders, merge

MERGED = [
    ("nothing found, nothing proposed", {}, []),
    ("a folder of the home", {"/h/work": 2}, [("/h/work", 2)]),
    ("deep folders are one proposal", {"/h/work/a": 2, "/h/work/b/c": 3}, [("/h/work", 5)]),
    ("the fullest first, then by name", {"/h/b": 1, "/h/a": 1, "/h/c": 9}, [("/h/c", 9), ("/h/a", 1), ("/h/b", 1)]),
    ("never the home itself", {"/h": 7, "/h/a": 1}, [("/h/a", 1)]),
    ("a name that only begins like the home", {"/home2/a": 1}, []),
]


@pytest.mark.parametrize(("counts", "proposed"), [case[1:] for case in MERGED], ids=[case[0] for case in MERGED])
def test_folders_merge_to_a_few_roots(counts: dict[str, int], proposed: list[tuple[str, int]]) -> None:
    assert [(each.path, each.notebooks) for each in merge(counts, "/h")] == proposed


def test_a_few_are_proposed_not_hundreds() -> None:
    assert len(merge({f"/h/{number}": 1 for number in range(100)}, "/h")) == MOST_PROPOSED


def test_the_walk_finds_notebooks_and_passes_over_what_is_not_anybodys_work(tmp_path: Path) -> None:
    for name in (
        "loose.ipynb",
        "work/eda.ipynb",
        "work/deep/down/model.ipynb",
        "work/.ipynb_checkpoints/eda-checkpoint.ipynb",
        ".cache/x.ipynb",
        "site/node_modules/pkg/x.ipynb",
        "venv/share/x.ipynb",
        "conda/share/x.ipynb",
        "notes/readme.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "venv/pyvenv.cfg").touch()
    (tmp_path / "conda/conda-meta").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "work")

    found = find_folders(str(tmp_path), SystemClock())

    assert found.proposals == (Proposal(path=str(tmp_path / "work"), notebooks=2),)
    assert found.loose == 1
    assert found.is_complete


class HurriedClock:
    """Every look at the clock costs a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def boottime_ns(self) -> int:
        return int(self.seconds * 1e9)


def test_a_walk_without_end_is_ended_and_says_so(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"d{number:02}").mkdir()
        (tmp_path / f"d{number:02}" / "a.ipynb").touch()
    found = find_folders(str(tmp_path), HurriedClock(), budget_seconds=6.0)
    assert not found.is_complete
    assert 0 < len(found.proposals) < 8


def test_a_home_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert find_folders(str(tmp_path / "gone"), SystemClock()).proposals == ()
