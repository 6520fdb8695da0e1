"""A selection holds its own versions and sessions and nobody else's: by a scan of every byte, git's objects too."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.executed import Confidence, ExecutedCell, Frontend, Generation, HistorySession, Link, Run
from tests.helpers import notebook_bytes
from tests.library import START
from tests.package.conftest import Packing, manifest_of

MINE, OTHER = "/home/ada/work/mine.ipynb", "/home/ada/SECRET-folder/SECRET-name.ipynb"
G = "9f" * 16
MINUTE = timedelta(minutes=1)


def link(session: int, path: str | None, confidence: Confidence = Confidence.EXACT, **more: object) -> Link:
    given = {"since": None, "until": None, **more}
    seen_at = given["until"] or given["since"] or START + 5 * MINUTE
    return Link(
        generation=G,
        session=session,
        path=path,
        frontend=Frontend.NOTEBOOK,
        confidence=confidence,
        evidence=("SECRET evidence" if path == OTHER else "environment",),
        seen_at=seen_at,  # type: ignore[arg-type]
        since=given["since"],  # type: ignore[arg-type]
        until=given["until"],  # type: ignore[arg-type]
    )


def cell(session: int, line: int, source: str, minute: int = 5) -> ExecutedCell:
    return ExecutedCell(
        generation=G, session=session, line=line, source=source, seen_at=START + minute * MINUTE, output=f"out {source}"
    )


def session(number: int) -> HistorySession:
    return HistorySession(generation=G, session=number, started_at=START, ended_at=None, seen_at=START)


def run(identity: str, path: str | None, source: str, session: int | None = None) -> Run:
    return Run(
        id=identity,
        kernel=f"kernel-of-{identity}",
        execution_count=1,
        source=source,
        started_at=START + 5 * MINUTE,
        ended_at=None,
        status="ok",
        path=path,
        generation=G if session else None,
        session=session,
    )


@pytest.fixture
def both(packing: Packing) -> Packing:
    """Two notebooks, their sessions, a console's, and one that nobody can tell."""
    packing.library.add(MINE, notebook_bytes("mine = 1"), at=START)
    packing.library.add(OTHER, notebook_bytes("SECRET = 2"), at=START)
    packing.library.add(OTHER, notebook_bytes("SECRET = 3"))
    packing.executed.records += [
        Generation(id=G, path="/home/ada/history.sqlite", device=1, inode=1, first_started_at="", seen_at=START),
        *map(session, range(1, 7)),
        cell(1, 1, "mine_exact()"),
        link(1, MINE),
        cell(2, 1, "SECRET_of_the_other()"),
        link(2, OTHER),
        cell(3, 1, "mine_probable()"),
        link(3, MINE, Confidence.PROBABLE),
        cell(4, 1, "SECRET_of_a_console()"),
        link(4, None),
        link(4, MINE, Confidence.PROBABLE),
        cell(5, 1, "SECRET_ambiguous()"),
        link(5, MINE, Confidence.AMBIGUOUS),
        cell(6, 1, "SECRET_unlinked()"),
        run("r1", MINE, "mine_recorded()"),
        run("r2", OTHER, "SECRET_recorded()"),
        run("r3", None, "SECRET_of_no_notebook()"),
        run("r4", MINE, "mine_exact()", 1),
    ]
    packing.outputs = {
        name: f'[{{"output_type": "stream", "name": "stdout", "text": "{text}"}}]'
        for name, text in (("r1", "mine_output"), ("r2", "SECRET_output"), ("r4", "mine_output_too"))
    }
    return packing


def every_byte(package: str, folder: Path, known: bytes = b"mine = 1") -> Iterator[tuple[str, bytes]]:
    """The zip itself, every member, and every object of the bundle."""
    yield "zip", Path(package).read_bytes()
    with zipfile.ZipFile(package) as opened:
        for name in opened.namelist():
            yield name, opened.read(name)
        opened.extractall(folder)

    def git(*arguments: str, data: bytes = b"") -> bytes:
        done = subprocess.run(["git", *arguments], input=data, capture_output=True, check=True, cwd=folder)
        return done.stdout

    git("init", "--bare", "--quiet", "unpacked.git")
    git("clone", "--bare", "--quiet", "bundle/notebooks.bundle", "clone.git")
    for pack in (folder / "clone.git/objects/pack").glob("*.pack"):
        git("--git-dir=unpacked.git", "unpack-objects", "-q", data=pack.read_bytes())
    objects = git("--git-dir=unpacked.git", "cat-file", "--batch-all-objects", "--batch")
    assert known in objects  # the scan looks where the contents are
    yield "bundle", objects


def test_a_second_notebook_and_its_sessions_are_nowhere_in_it(both: Packing, tmp_path: Path) -> None:
    report = both.build(MINE)
    found = dict(every_byte(report.written_to, tmp_path / "unpacked"))
    assert [name for name, data in found.items() if b"SECRET" in data] == []
    assert len(found) == report.members + 2
    sources = b"".join(found.values())
    for own in (b"mine_exact()", b"mine_probable()", b"mine_recorded()", b"mine_output", b"mine_output_too"):
        assert own in sources
    assert (report.notebooks, report.versions, report.sessions) == (1, 1, 3)


def test_with_everything_all_of_it_is_there(both: Packing, tmp_path: Path) -> None:
    report = both.build()
    sources = b"".join(data for _, data in every_byte(report.written_to, tmp_path / "unpacked"))
    for record in both.executed.records:
        if isinstance(record, ExecutedCell | Run):
            assert record.source.encode() in sources
    assert (report.notebooks, report.versions, report.missing) == (2, 3, ())
    # The console's, the ambiguous one, the unlinked one, and what was recorded of no notebook.
    rows = manifest_of(report.written_to)["sessions"]
    assert len([row for row in rows if row["members"][0].startswith("executed/unlinked/")]) == 4


def test_another_notebook_that_took_the_path_brings_nothing_along(packing: Packing, tmp_path: Path) -> None:
    moved = "/home/ada/work/moved.ipynb"
    packing.library.add(MINE, notebook_bytes("SECRET of the first"), at=START)
    packing.library.add(moved, notebook_bytes("SECRET moved away"), at=START + MINUTE, renamed_from=MINE)
    # The path is free now; somebody else's notebook takes it.
    first = packing.library.versions[0].notebook
    packing.library.add("/elsewhere", notebook_bytes("mine = 1"), at=START + 10 * MINUTE)
    new = packing.library.versions.pop()
    packing.library.versions.append(__import__("dataclasses").replace(new, path=MINE))
    packing.executed.records += [
        session(1),
        session(2),
        cell(1, 1, "SECRET_early()", 0),
        link(1, MINE, since=START),
        cell(2, 1, "mine_late()", 12),
        link(2, MINE, since=START + 11 * MINUTE),
    ]
    assert new.notebook != first and packing.library.named(MINE)[0][1] == new.notebook
    report = packing.build(MINE)
    found = dict(every_byte(report.written_to, tmp_path / "unpacked"))
    assert [name for name, data in found.items() if b"SECRET" in data] == []
    assert b"mine_late()" in b"".join(found.values())


def test_of_a_session_shared_with_another_notebook_only_its_own_time_is_in(packing: Packing, tmp_path: Path) -> None:
    packing.library.add(MINE, notebook_bytes("mine = 1"), at=START)
    packing.library.add(OTHER, notebook_bytes("SECRET"), at=START)
    packing.executed.records += [
        session(1),
        cell(1, 1, "mine_first()", 1),
        cell(1, 2, "SECRET_then()", 6),
        link(1, MINE, since=START, until=START + 5 * MINUTE),
        link(1, OTHER, since=START + 5 * MINUTE),
    ]
    found = dict(every_byte(packing.build(MINE).written_to, tmp_path / "unpacked"))
    assert [name for name, data in found.items() if b"SECRET" in data] == []
    assert b"mine_first()" in b"".join(found.values())


def test_a_notebook_that_was_never_saved_is_rebuilt_from_what_was_executed(both: Packing, tmp_path: Path) -> None:
    never = "/home/ada/work/Untitled.ipynb"
    both.executed.records += [session(9), cell(9, 1, "never_saved()"), link(9, never)]
    report = both.build(never)
    with zipfile.ZipFile(report.written_to) as opened:
        assert b"never_saved()" in opened.read("rebuilt/home/ada/work/Untitled.rebuilt.ipynb")
        assert not any(b"SECRET" in opened.read(name) for name in opened.namelist())
    assert (report.notebooks, report.versions, report.sessions) == (1, 0, 1)
