"""`history` and `history export`, as processes over a real archive."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jupytext
import nbformat
import pytest

from nbguard import app_history
from nbguard.cli.context import Context
from nbguard.cli.output import print_json_array
from nbguard.executed import Confidence, ExecutedCell, Frontend, HistorySession, Link, Record, Run
from tests.helpers import REPOSITORY, nbguard, notebook_bytes

G = "3f9a12bc" * 4
NOW = datetime.now(UTC).replace(microsecond=0)


def cell(line: int, source: str, *, session: int = 42, minutes: float = -30) -> ExecutedCell:
    return ExecutedCell(
        generation=G, session=session, line=line, source=source, seen_at=NOW + timedelta(minutes=minutes)
    )


def link(path: str | None, confidence: Confidence, *, session: int = 42, kernel: str | None = None) -> Link:
    return Link(
        generation=G,
        session=session,
        path=path,
        frontend=Frontend.CONSOLE if path is None else Frontend.NOTEBOOK,
        confidence=confidence,
        evidence=("server", "environment"),
        seen_at=datetime.now(UTC),
        kernel=kernel,
    )


def run(identity: str, kernel: str, count: int, source: str, *, path: str | None = None, minutes: float = -30) -> Run:
    return Run(
        id=identity,
        kernel=kernel,
        execution_count=count,
        source=source,
        started_at=NOW + timedelta(minutes=minutes),
        ended_at=NOW + timedelta(minutes=minutes),
        status="error",
        path=path,
        outputs=1,
        output_bytes=7,
    )


def record(*records: Record) -> None:
    log = app_history.record_log_of(Context.from_environment(None))
    log.append(records)
    log.seal()


@pytest.fixture
def work(home: Path) -> Path:
    """A folder with one notebook, an archive, and sessions of all kinds."""
    folder = home / "work"
    folder.mkdir()
    (folder / "eda.ipynb").write_bytes(notebook_bytes("x = 1"))
    assert nbguard("run", "--watch", str(folder), "--once").code == 0
    eda = str(folder / "eda.ipynb")
    record(
        HistorySession(generation=G, session=42, started_at=NOW - timedelta(hours=1), ended_at=None, seen_at=NOW),
        cell(1, "%matplotlib inline\nx = 1", minutes=-50),
        cell(2, "1 / 0", minutes=-40),
        link(eda, Confidence.EXACT, kernel="k1"),
        run("r1", "k1", 2, "1 / 0\n", minutes=-40.5),
        cell(1, "import this", session=7, minutes=-35),
        link(str(folder / "a.ipynb"), Confidence.AMBIGUOUS, session=7),
        link(str(folder / "b.ipynb"), Confidence.AMBIGUOUS, session=7),
        cell(1, "print('\x1b[31mred')", session=8, minutes=-20),
        link(None, Confidence.EXACT, session=8),
        cell(1, "!ls", session=9, minutes=-10),
        run("r2", "9c7f-0a11", 3, "live", path=str(folder / "only-run.ipynb"), minutes=-5),
    )
    return folder


def test_every_executed_cell_is_shown_once_with_its_notebook_and_how_sure_that_is(work: Path) -> None:
    answer = nbguard("history", "--json")
    assert answer.code == 0, answer.talk
    found = [(row["session"], row["line"], row["source"], row["path"], row["confidence"]) for row in answer.json]
    assert found == [
        ("3f9a12bc-42", 1, "%matplotlib inline\nx = 1", str(work / "eda.ipynb"), "exact"),
        ("3f9a12bc-42", 2, "1 / 0", str(work / "eda.ipynb"), "exact"),
        ("3f9a12bc-7", 1, "import this", None, "ambiguous"),
        ("3f9a12bc-8", 1, "print('\x1b[31mred')", None, "exact"),
        ("3f9a12bc-9", 1, "!ls", None, "unknown"),
        ("kernel-9c7f0a11", 3, "live", str(work / "only-run.ipynb"), "exact"),
    ]
    first, second, ambiguous, console, _, only_run = answer.json
    assert first["evidence"] == ["server", "environment"] and first["run"] is None
    assert (first["executed_at_is"], second["executed_at_is"]) == ("seen", "ran")
    assert second["run"] == {
        "id": "r1",
        "status": "error",
        "started_at": second["executed_at"],
        "ended_at": second["executed_at"],
        "outputs": 1,
        "output_bytes": 7,
        "note": "",
    }
    assert [one["path"] for one in ambiguous["candidates"]] == [str(work / "a.ipynb"), str(work / "b.ipynb")]
    assert console["frontend"] == "console"
    assert (only_run["origin"], first["origin"]) == ("recorder", "database")
    documented = (REPOSITORY / "docs" / "history.md").read_text()
    assert all(f"`{key}`" in documented for key in first)

    shown = nbguard("history").out
    assert "eda.ipynb  (exact: server, environment)" in shown
    assert "one of " in shown and "(ambiguous" in shown and "no file, console" in shown
    assert "error, 1 recorded output\n      1 / 0\n" in shown
    assert "\x1b" not in shown


QUESTIONS: list[tuple[list[str], set[str]]] = [
    (["--session", "3f9a12bc-42"], {"3f9a12bc-42"}),
    (["--session", "3f9a12bc-4"], {"3f9a12bc-42"}),
    (["--session", "kernel-"], {"kernel-9c7f0a11"}),
    (["--notebook", "eda.ipynb"], {"3f9a12bc-42"}),
    (["--notebook", "only-run.ipynb"], {"kernel-9c7f0a11"}),
    (["--notebook", "work/a.ipynb"], {"3f9a12bc-7"}),
    (["--since", "25 minutes ago"], {"3f9a12bc-8", "3f9a12bc-9", "kernel-9c7f0a11"}),
    (["--since", "25 minutes ago", "--until", "15 minutes ago"], {"3f9a12bc-8"}),
    (["--until", "2020-01-01"], set()),
]
REFUSED: list[tuple[list[str], int, str]] = [
    (["--session", "zz"], 1, "no session"),
    (["--session", "3f"], 1, "4 sessions begin"),
    (["--notebook", "nowhere.ipynb"], 1, "no notebook"),
    (["--since", "soon"], 2, "is not a time"),
    (["--since", "~1"], 2, "is not a time"),
    (["--since", "last-good"], 2, "is not a time"),
    (["--json", "export", "3f9a12bc-42"], 2, "behind `export`"),
    (["export", "zz"], 1, "no session"),
    (["export", "3f9a12bc-42", "-o", "x.txt"], 2, "neither .py nor .ipynb"),
    (["export", "3f9a12bc-42", "-o", "no/where.py"], 1, "no folder"),
]


def test_a_question_is_answered_with_what_it_asks_for(work: Path) -> None:
    for options, sessions in QUESTIONS:
        answer = nbguard("history", "--json", *options)
        assert answer.code == 0, (options, answer.talk)
        assert {row["session"] for row in answer.json} == sessions, options


def test_what_cannot_be_answered_is_said(work: Path) -> None:
    for arguments, code, said in REFUSED:
        answer = nbguard("history", *arguments, cwd=work)
        assert (answer.code, answer.out) == (code, ""), arguments
        assert said in answer.talk, arguments


def test_without_an_archive_it_ends_with_10(home: Path) -> None:
    assert nbguard("history").code == 10
    assert nbguard("history", "export", "3f").code == 10
    assert not (home / ".nbguard").exists()


def test_a_day_means_its_beginning_for_since_and_its_end_for_until(home: Path, work: Path) -> None:
    day = (NOW - timedelta(days=3)).strftime("%Y-%m-%d")
    noon = datetime.fromisoformat(f"{day}T12:00:00").astimezone(UTC)
    record(ExecutedCell(generation="ee" * 16, session=1, line=1, source="then", seen_at=noon))
    answer = nbguard("history", "--since", day, "--until", day, "--json")
    assert [row["source"] for row in answer.json] == ["then"]


def test_a_notebook_is_followed_across_renames_and_another_one_at_its_old_path_is_another(work: Path) -> None:
    eda, new = work / "eda.ipynb", work / "new.ipynb"
    os.rename(eda, new)
    assert nbguard("run", "--once").code == 0
    record(cell(3, "as new", minutes=0), link(str(new), Confidence.EXACT))
    eda.write_bytes(notebook_bytes("another = True"))
    assert nbguard("run", "--once").code == 0
    record(cell(1, "another", session=50, minutes=0), link(str(eda), Confidence.EXACT, session=50))
    for name, sessions in (("new.ipynb", {"3f9a12bc-42"}), ("eda.ipynb", {"3f9a12bc-50"})):
        answer = nbguard("history", "--notebook", name, "--json", cwd=work)
        assert {row["session"] for row in answer.json} == sessions, (name, answer.talk)


def test_a_session_is_exported_as_python_and_as_a_notebook_and_never_over_a_file(work: Path) -> None:
    sources = ["%matplotlib inline\nx = 1", "1 / 0"]
    text = nbguard("history", "export", "3f9a12bc-42").out
    assert [one.source for one in jupytext.reads(text, fmt="py").cells] == sources
    for name in ("out.py", "out.ipynb"):
        would = nbguard("history", "export", "3f9a12bc-42", "-o", name, "--dry-run", cwd=work)
        assert (would.code, would.out) == (0, "") and "would write 2 cells" in would.talk
        assert not (work / name).exists()
        assert nbguard("history", "export", "3f9a12bc-42", "-o", name, cwd=work).code == 0
        before = (work / name).read_bytes()
        again = nbguard("history", "export", "3f9a12bc-42", "-o", name, cwd=work)
        assert again.code == 1 and "exists already" in again.talk
        assert (work / name).read_bytes() == before
    assert (work / "out.py").read_text() == text
    notebook = nbformat.read(work / "out.ipynb", as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types
    nbformat.validate(notebook)
    assert [one.source for one in notebook.cells] == sources
    os.symlink(work / "nothing", work / "link.py")
    assert nbguard("history", "export", "3f9a12bc-42", "-o", "link.py", cwd=work).code == 1
    assert nbguard("history", "export", "kernel-9c7f", cwd=work).out.endswith("# %%\nlive\n")


def test_on_a_terminal_nothing_of_what_was_typed_is_obeyed(work: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "nbguard", "history", "export", "3f9a12bc-8"],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as child:
        os.close(theirs)
        seen = b""
        while b"red" not in seen:
            seen += os.read(ours, 4096)
        child.wait(30)
    os.close(ours)
    assert b"\x1b" not in seen and b"\\x1b[31mred" in seen


def test_of_very_much_the_first_cells_come_at_once_and_whoever_has_seen_enough_may_leave(work: Path) -> None:
    for session in range(60):
        minutes = 10 * session - 50_000
        cells = [cell(line, f"print({line})", session=100 + session, minutes=minutes) for line in range(1, 101)]
        app_history.record_log_of(Context.from_environment(None)).append(cells)
    for options in ([], ["--json"]):
        with subprocess.Popen(
            [sys.executable, "-m", "nbguard", "history", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            first = [child.stdout.readline() for _ in range(3)]
            child.stdout.close()
            assert (child.stderr.read(), child.wait(30)) == (b"", 141), first
    told = nbguard("history")
    assert told.out.count("print(100)") == 60
    assert told.talk == "6006 cells; --notebook, --session, --since and --until show fewer\n"
    answer = nbguard("history", "--json")
    assert answer.talk == "" and len(answer.json) == 6006
    assert answer.out == json.dumps(answer.json, indent=2) + "\n"
    assert nbguard("history", "--json", "--until", "2020-01-01").out == "[]\n"


def test_an_array_that_breaks_off_is_whole_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        print_json_array(items())
    assert json.loads(capsys.readouterr().out) == [1]
