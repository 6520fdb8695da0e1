"""Executed cells: in databases of every generation, in deleted files that are still open, in the memory of kernels."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from nbguard.app_rescue import Machine, Request, look_everywhere, wanted_of
from nbguard.cli.context import Context
from nbguard.rescue.carving import history_rows, session_rows
from tests.helpers import Answer, nbguard, notebook_bytes, poll
from tests.rescue.conftest import put
from tests.rescue.kernel import run, running_kernel

Ask = Callable[..., Answer]


def database(path: Path, *sessions: list[str], start: str = "2026-01-02 03:04:05.000001") -> Path:
    """A history database as IPython makes it, with one session for each list of sources."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE IF NOT EXISTS sessions (session integer primary key autoincrement, start timestamp,"
        " end timestamp, num_cmds integer, remark text);"
        "CREATE TABLE IF NOT EXISTS history (session integer, line integer, source text, source_raw text,"
        " PRIMARY KEY (session, line));"
        "CREATE TABLE IF NOT EXISTS output_history (session integer, line integer, output text,"
        " PRIMARY KEY (session, line));"
    )
    for sources in sessions:
        number = connection.execute("INSERT INTO sessions (start, remark) VALUES (?, '')", (start,)).lastrowid
        for line, source in enumerate(sources, 1):
            connection.execute("INSERT INTO history VALUES (?, ?, ?, ?)", (number, line, source, source))
    connection.commit()
    connection.close()
    return path


def profile(home: Path) -> Path:
    return home / ".ipython" / "profile_default"


def remove(folder: Path) -> None:
    """`rm -rf`, while a kernel's journal comes and goes in it."""

    def is_gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    assert poll(is_gone)


def sources_in(notebook: str) -> list[str]:
    cells = json.loads(Path(notebook).read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_sessions_of_all_generations_are_found_and_written_apart(home: Path, work: Path, rescue: Ask) -> None:
    """Nobody knows whose they are: each is written for itself, as .py and .ipynb, and nothing is merged."""
    database(profile(home) / "history.sqlite", ["a = 1", "%matplotlib inline"], ["b = 2"])
    database(profile(home) / "history-corrupt-2026.sqlite", ["old = 1"])
    database(home / ".ipython" / "profile_other" / "history.sqlite", ["other = 1"])
    answer = rescue("lost.ipynb", "-o", "out")
    assert answer.code == 0, answer.talk
    assert [(each["source"], each["confidence"]) for each in answer.json["found"]] == [("history", "unknown")] * 4
    assert answer.json["rebuilt"] == {"notebook": None, "log": None}
    written = [Path(each["written_to"]) for each in answer.json["found"]]
    assert all(path.parent.name == "unlinked" and path.with_suffix(".py").is_file() for path in written)
    assert sorted(source for path in written for source in sources_in(str(path))) == sorted(
        ["a = 1", "%matplotlib inline", "b = 2", "old = 1", "other = 1"]
    )


def test_one_session_is_given_by_its_id(home: Path, work: Path, rescue: Ask) -> None:
    """The id is the one that the listing shows."""
    database(profile(home) / "history.sqlite", ["a = 1"], ["b = 2"])
    first, second = rescue().json["found"]
    answer = rescue("--session", second["id"], "-o", "out")
    (only,) = answer.json["found"]
    assert only["id"] == second["id"] != first["id"]
    assert sources_in(only["written_to"]) in (["a = 1"], ["b = 2"])
    assert rescue("--session", "ffffffff-9").code == 1


def test_a_dry_run_writes_nothing(home: Path, work: Path, rescue: Ask) -> None:
    database(profile(home) / "history.sqlite", ["a = 1"])
    answer = rescue("--session", rescue().json["found"][0]["id"], "-o", "out", "--dry-run")
    assert (answer.code, [each["written_to"] for each in answer.json["found"]]) == (0, [None])
    assert not (work / "out").exists()


def test_a_session_is_linked_by_its_content(home: Path, work: Path, rescue: Ask) -> None:
    """Most of what it says stands in a copy of the notebook; the rest is what the copy lacks."""
    shared = ["import numpy as np", "frame = load('customers.csv')\nframe = frame.dropna()"]
    database(profile(home) / "history.sqlite", [*shared, "late = frame.mean()"], ["something = 'quite different'"])
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes(*shared))
    put(work / "other.ipynb", notebook_bytes("import numpy as np", "unrelated = 5"))
    answer = rescue("lost.ipynb", "-o", "out")
    assert sorted((each["source"], each["confidence"]) for each in answer.json["found"]) == [
        ("checkpoint", "exact"),
        ("history", "probable"),
        ("history", "unknown"),
    ]
    assert "late = frame.mean()" in sources_in(answer.json["rebuilt"]["notebook"])
    assert "something = 'quite different'" not in sources_in(answer.json["rebuilt"]["notebook"])


def test_what_a_rescue_has_written_is_not_found_by_the_next(home: Path, work: Path, rescue: Ask) -> None:
    """It would make every session fit two notebooks."""
    shared = ["import numpy as np", "frame = load('customers.csv')"]
    database(profile(home) / "history.sqlite", [*shared, "late = 1"])
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes(*shared))
    first = rescue("lost.ipynb", "-o", "first").json["found"]
    second = rescue("lost.ipynb", "-o", "second").json["found"]
    assert [each["confidence"] for each in first] == [each["confidence"] for each in second] == ["probable", "exact"]


def test_a_session_that_fits_two_notebooks_is_no_certainty(home: Path, work: Path, rescue: Ask) -> None:
    """Near copies of a notebook: which one was it?"""
    shared = ["import numpy as np", "frame = load('customers.csv')"]
    database(profile(home) / "history.sqlite", [*shared])
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes(*shared))
    put(work / "copy.ipynb", notebook_bytes(*shared))
    found = {each["source"]: each["confidence"] for each in rescue("lost.ipynb").json["found"]}
    assert found["history"] in ("ambiguous", "unknown")


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_a_damaged_database_gives_what_its_pages_still_hold(home: Path, rescue: Ask, work: Path, damage: str) -> None:
    """It is named as damaged, and its cells are cut out all the same; long ones lie on pages of their own."""
    long_source = "\n".join(f"value_{number} = {number}" for number in range(1_000))
    path = database(profile(home) / "history.sqlite", [f"cell_{number} = 1" for number in range(300)], [long_source])
    data = bytearray(path.read_bytes())
    data[0 if damage == "header" else 100 : 200 if damage == "header" else 600] = b"\xff" * (
        200 if damage == "header" else 500
    )
    path.write_bytes(data)
    answer = rescue("-o", "out")
    assert answer.code == 3 and "damaged" in answer.json["unavailable"][0]["reason"]
    assert sorted(each["cells"] for each in answer.json["found"]) == [1, 300]
    assert path.read_bytes() == data, "nothing is mended in place"
    longest = min(answer.json["found"], key=lambda each: each["cells"])
    assert sources_in(longest["written_to"]) == [long_source]


def test_rows_are_carved_from_the_bytes_alone(home: Path) -> None:
    """Sessions with their times, and cells with their sources."""
    path = database(profile(home) / "history.sqlite", ["a = 'ä'", "b = 2"])
    data = path.read_bytes()
    assert history_rows(data) == [(1, 1, "a = 'ä'"), (1, 2, "b = 2")]
    assert session_rows(data) == [(1, "2026-01-02 03:04:05.000001", "")]
    assert history_rows(os.urandom(100_000)) == [] and history_rows(b"") == []


def test_reading_a_database_leaves_no_trace_and_takes_no_lock(home: Path, work: Path, rescue: Ask) -> None:
    """Its log is not folded in, no -shm is made, and a writer in the middle of writing is not kept waiting."""
    path = database(profile(home) / "history.sqlite", ["a = 1"])
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("INSERT INTO history VALUES (1, 2, 'b', 'b = 2')")
    before = sorted(entry.name for entry in path.parent.iterdir())
    assert [each["cells"] for each in rescue().json["found"]] == [1], "what is not committed is not told"
    assert sorted(entry.name for entry in path.parent.iterdir()) == before
    writer.execute("COMMIT")
    writer.close()


@pytest.fixture
def holder(work: Path) -> Generator[Callable[[Path], int]]:
    """Starts a program that opens a file and keeps it open; gives its process number."""
    running: list[subprocess.Popen[bytes]] = []

    def hold(path: Path) -> int:
        code = "import sys; f = open(sys.argv[1], 'rb'); print('open', flush=True); sys.stdin.read()"
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=-1, stdout=-1)
        running.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"open\n"
        return process.pid

    yield hold
    for process in running:
        process.communicate()


def test_a_deleted_notebook_that_is_still_open_is_found(work: Path, rescue: Ask, holder: Callable[[Path], int]) -> None:
    """Its bytes, although it has no name any more; a pipe that the program holds is not waited for."""
    path = put(work / "lost.ipynb", data := notebook_bytes("x = 1"))
    pid = holder(path)
    path.unlink()
    answer = rescue("lost.ipynb", "-o", "out")
    (only,) = answer.json["found"]
    assert (only["source"], only["path"], only["confidence"]) == ("open-file", str(path), "exact")
    assert str(pid) in only["note"] and Path(only["written_to"]).read_bytes() == data


def test_processes_of_another_home_are_left_alone(
    work: Path, rescue: Ask, holder: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NBGUARD_HOME, only those whose HOME is ours."""
    path = put(work / "lost.ipynb", notebook_bytes("x = 1"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HOME", "/nowhere")
        holder(path)
    path.unlink()
    assert rescue("lost.ipynb").code == 1


def test_a_system_without_proc_is_said_so_and_the_rest_is_used(home: Path, work: Path) -> None:
    """As on macOS."""
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    machine = Machine(
        environment=dict(os.environ), home=str(home), cwd=str(work), platform="darwin", proc=str(home / "no-proc")
    )
    request = Request(wanted=wanted_of("lost.ipynb", None, str(work)))
    rescued = look_everywhere(Context.from_environment(None), machine, request, lambda done, total: None)
    rescued.close()
    assert [each.source for each in rescued.gathered.found] == ["checkpoint"]
    assert [each.reason for each in rescued.gathered.unavailable if each.source != "open-file"] == []
    (missing,) = rescued.gathered.unavailable
    assert missing.source == "open-file" and "no-proc" in missing.reason


def test_a_kernel_whose_database_is_gone_still_remembers(
    home: Path, work: Path, rescue: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its IPython folder is removed; then one more cell runs: that is in no file at all, deleted or not."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(work / "lost.ipynb"))
    with running_kernel() as kernel:
        run(kernel, "early = 'in the database'")
        poll(lambda: (profile(home) / "history.sqlite").stat().st_size)
        remove(home / ".ipython")
        run(kernel, "late = 'only in memory'")
        answer = rescue("lost.ipynb", "-o", "out")
    assert answer.code == 0, answer.talk
    found = {each["source"]: each for each in answer.json["found"]}
    assert set(found) == {"kernel", "open-file"}
    assert found["kernel"]["confidence"] == "exact" and found["kernel"]["cells"] == 2
    # A kernel without its database may not be able to tell its number; then it is known by what it ran.
    assert found["open-file"]["confidence"] in ("exact", "probable")
    rebuilt = sources_in(answer.json["rebuilt"]["notebook"])
    assert rebuilt == ["early = 'in the database'", "late = 'only in memory'"]


def test_a_history_thrown_away_with_its_folder_is_found(home: Path, rescue: Ask, work: Path) -> None:
    """In the trash, below .ipython."""
    path = database(home / ".local/share/Trash/files/.ipython/profile_default/history.sqlite", ["gone = 1"])
    assert [each["path"] for each in rescue().json["found"]] == [str(path)]


def test_people_are_told_of_sessions_without_a_notebook(home: Path, work: Path) -> None:
    """In one line: there may be thousands."""
    database(profile(home) / "history.sqlite", ["a = 1"], ["b = 2"])
    answer = nbguard("rescue", "lost.ipynb", cwd=work)
    assert answer.code == 0 and "2 sessions of executed cells could not be linked" in answer.out
