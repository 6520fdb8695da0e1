"""Somebody meddles with archive and catalog under the running daemon: nothing is lost, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, Tables, guarding, sha256


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guarded]:
    base = tmp_path_factory.mktemp("archive-faults")
    tables: Tables = {"packing": {"drafts": 2}, "intervals": {"pack_seconds": 0.5}}
    with guarding(base, base / "work", tables=tables) as guarded:
        yield guarded


def _save(guard: Guarded, name: str, *texts: str) -> Path:
    path = Path(guard.roots[0]) / name
    for text in texts:
        path.write_bytes(notebook_bytes(text))
        guard.until_kept(path, notebook_bytes(text))
    return path


def _until_packed(guard: Guarded) -> None:
    poll(lambda: not guard.spooled(), 60, every=0.1)


def test_a_catalog_deleted_under_the_daemon_changes_no_answer(guard: Guarded) -> None:
    path = _save(guard, "a.ipynb", "one", "two", "three")
    _until_packed(guard)
    renamed = path.with_name("b.ipynb")
    path.rename(renamed)
    gone = _save(guard, "gone.ipynb", "gone")
    gone.unlink()
    poll(lambda: guard.newest(str(gone)) is None and guard.log(gone)[0]["status"] == "deleted", 20, every=0.2)
    guard.until_kept(renamed, notebook_bytes("three"))
    _save(guard, "b.ipynb", "four")

    def answers() -> tuple[object, ...]:
        return guard.log(renamed), guard.log(gone), guard.list(), guard.list("--deleted"), guard.show(renamed, "~1")

    before, log = answers(), guard.log(renamed)
    catalog = list((guard.home / "state").glob("catalog.sqlite*"))
    assert catalog
    for file in catalog:
        file.unlink()
    assert answers() == before
    _save(guard, "b.ipynb", "five")
    assert guard.log(renamed)[1:] == log
    assert "worker-failed" not in guard.codes()


def test_when_main_is_moved_by_somebody_else_nothing_is_unlinked_and_it_is_said(guard: Guarded) -> None:
    path = _save(guard, "moved.ipynb", "one", "two")
    _until_packed(guard)
    tip = guard.git("rev-parse", "main").decode().strip()
    guard.git("update-ref", "refs/heads/main", f"{tip}~1")
    _save(guard, "moved.ipynb", "three", "four")
    found = guard.until_code("archive-moved")
    assert tip in found["hint"]
    spooled = {draft["actual"] for draft in guard.spooled().values()}
    assert {sha256(notebook_bytes(text)) for text in ("three", "four")} <= spooled
    assert guard.git("rev-parse", "main").decode().strip() != tip, "nothing was built on it"
    assert guard.nbguard("snapshot", str(path)).code == 0, "saves are acknowledged all the same"

    guard.git("update-ref", "refs/heads/main", tip)
    _until_packed(guard)
    guard.until_no_code("archive-moved")
    assert guard.git("merge-base", "--is-ancestor", tip, "main") == b""
    assert [row["sha256"] for row in reversed(guard.log(path))] == [
        sha256(notebook_bytes(text)) for text in ("one", "two", "three", "four")
    ]
    guard.fsck()


def test_while_the_archive_is_away_drafts_stay_and_they_are_packed_when_it_is_back(guard: Guarded) -> None:
    path = _save(guard, "away.ipynb", "one", "two")
    _until_packed(guard)
    aside = guard.archive.with_name("aside.git")
    guard.archive.rename(aside)
    path.write_bytes(notebook_bytes("three"))
    guard.until_code("archive-missing")
    poll(lambda: sha256(notebook_bytes("three")) in {d["actual"] for d in guard.spooled().values()}, 20)
    assert guard.status()["exit_code"] == 20
    assert guard.nbguard("log", str(path)).code == 10
    refused = guard.nbguard("snapshot", str(path))
    assert refused.code == 10, "no second archive is begun"
    assert not guard.archive.exists()
    aside.rename(guard.archive)
    _until_packed(guard)
    guard.until_no_code("archive-missing")
    assert guard.git("show", f"main:notebooks{path}") == notebook_bytes("three")
    assert len(guard.log(path)) == 3
