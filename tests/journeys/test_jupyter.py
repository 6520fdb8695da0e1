"""A day in a real JupyterLab: every save is kept, across renames and moves, and what was deleted comes back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers import poll
from tests.journeys.conftest import Lab
from tests.journeys.guarded import pause_until, sha256
from tests.journeys.jupyter_server import notebook

pytestmark = pytest.mark.jupyter


def test_every_save_is_kept_across_renames_and_comes_back_after_deletion(lab: Lab) -> None:
    server, guard = lab.server, lab.guard
    saved = [server.save("Untitled.ipynb", notebook("x = 1"))]
    guard.until_kept(lab.root / "Untitled.ipynb", saved[-1])
    saved.append(server.autosave("Untitled.ipynb", notebook("x = 1", "y = 2")))
    guard.until_kept(lab.root / "Untitled.ipynb", saved[-1])
    server.rename("Untitled.ipynb", "eda.ipynb")
    saved.append(server.save("eda.ipynb", notebook("x = 1", "y = 2", "z = 3")))
    guard.until_kept(lab.root / "eda.ipynb", saved[-1])
    server.make_folder("deep")
    server.rename("eda.ipynb", "deep/eda.ipynb")
    saved.append(server.autosave("deep/eda.ipynb", notebook("x = 1", "y = 2", "z = 3", "w = 4")))
    path = lab.root / "deep" / "eda.ipynb"
    guard.until_kept(path, saved[-1])
    reverted = server.revert("deep/eda.ipynb")
    assert reverted == saved[2], "the checkpoint is the last manual save"
    guard.until_kept(path, reverted)

    rows = guard.log(path)
    assert {sha256(data) for data in saved} <= {row["sha256"] for row in rows}
    assert {Path(row["path"]).name for row in rows} == {"Untitled.ipynb", "eda.ipynb"}
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["notebook"] for row in rows}) == 1, "one lineage"

    server.delete("deep/eda.ipynb")
    assert not path.exists()
    assert not (lab.root / "deep/.ipynb_checkpoints/eda-checkpoint.ipynb").exists(), "Jupyter's own copy is gone too"
    poll(lambda: str(path) in {row["path"] for row in guard.list("--deleted")}, 20, every=0.2)
    assert guard.log(path)[0]["status"] == "deleted"
    assert str(path) not in {row["path"] for row in guard.list()}
    answer = guard.nbguard("restore", str(path), "--json")
    assert answer.code == 0, answer.talk
    assert answer.json["written_to"] == str(path)
    assert path.read_bytes() == reverted


def test_a_sixty_megabyte_notebook_saved_twice_is_kept_twice(lab: Lab) -> None:
    path = lab.root / "big.ipynb"
    first = lab.server.save("big.ipynb", notebook("one", outputs=60_000_000))
    assert len(first) > 60_000_000
    lab.guard.until_kept(path, first, 60)
    second = lab.server.save("big.ipynb", notebook("two", "three", outputs=60_000_000))
    lab.guard.until_kept(path, second, 60)
    rows = lab.guard.log(path)
    assert [row["sha256"] for row in rows] == [sha256(second), sha256(first)]
    assert [row["cells"] for row in rows] == [2, 1]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert lab.guard.show(path, "~1") == first
    assert any("over 20 MB" in note for note in lab.guard.status()["notes"]), "that it is kept less often is said"
    lab.server.delete("big.ipynb")


@pytest.mark.parametrize("saves", [12, pytest.param(60, marks=pytest.mark.long)])
def test_saves_700_ms_apart_are_all_kept(lab: Lab, saves: int) -> None:
    path, saved = _series(lab, f"slow-{saves}.ipynb", saves, 0.7)
    rows = lab.guard.log(path)
    wanted = {sha256(data) for data in saved}
    strange = [row for row in rows if row["sha256"] not in wanted]
    assert not strange, f"versions that nobody saved: {strange}"
    assert [row["sha256"] for row in reversed(rows)] == [sha256(data) for data in saved]
    _none_is_torn(lab, path, saved)


@pytest.mark.parametrize("saves", [20, pytest.param(100, marks=pytest.mark.long)])
def test_of_saves_150_ms_apart_nine_in_ten_are_kept_and_always_the_last(lab: Lab, saves: int) -> None:
    path, saved = _series(lab, f"fast-{saves}.ipynb", saves, 0.15)
    rows = lab.guard.log(path)
    kept = {row["sha256"] for row in rows}
    assert rows[0]["sha256"] == sha256(saved[-1])
    assert len(kept & {sha256(data) for data in saved}) >= 0.9 * saves
    _none_is_torn(lab, path, saved)


def _series(lab: Lab, name: str, saves: int, seconds: float) -> tuple[Path, list[bytes]]:
    """So many saves, one every so many seconds; what was saved, in order."""
    saved = []
    begin = time.monotonic()
    for number in range(saves):
        pause_until(begin + number * seconds)
        sources = [f"value = {step}\nprint(value)" for step in range(number + 1)]
        saved.append(lab.server.autosave(name, notebook(*sources, outputs=20_000)))
    assert len({sha256(data) for data in saved}) == saves
    lab.guard.until_kept(lab.root / name, saved[-1])
    return lab.root / name, saved


def _none_is_torn(lab: Lab, path: Path, saved: list[bytes]) -> None:
    wanted = {sha256(data) for data in saved}
    for row in lab.guard.log(path):
        assert row["status"] == "ok"
        assert row["sha256"] in wanted, "a version that nobody saved"
    assert lab.guard.show(path) == saved[-1]
