"""Each cell of one notebook lies in exactly one source; all of them come back in one notebook, each with its source."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from nbguard import app_history
from nbguard.cli.context import Context
from nbguard.executed import Run, RunOutputs
from tests.helpers import Answer, nbguard, notebook_bytes
from tests.rescue.conftest import put
from tests.rescue.kernel import run, running_kernel
from tests.rescue.test_executed import database, profile
from tests.rescue.test_git import git

Ask = Callable[..., Answer]

SHARED = "import csv\nimport json\nimport math"
HIDDEN = {
    "archive": "from_archive = 'kept and packed'",
    "mirror": "mirrored_by_a_former_installation = True",
    "spool": "def from_spool():\n    return 'kept, not packed'",
    "checkpoint": f"{SHARED}\nimport checkpoint_only",
    "pre-save": "pre_save = [value for value in range(10)]",
    "trash": "class FromTrash:\n    thrown_away = True",
    "history": "from_history = math.sqrt(2)",
    "open-file": "held_open = {'by': 'a program'}",
    "kernel": "in_memory_only = sum(range(100))",
    "recorder": "print('recorded while it ran')",
    "ystore": "shared = 'with others in real time'",
    "vscode": "edited_in = 'another editor'",
    "jupyter-checkpoints": "several_checkpoints = 8",
    "git": "committed_once = lambda: None",
    "temp": "temporary = open('scratch')",
}


def test_each_cell_comes_back_from_the_one_source_that_has_it(
    home: Path, work: Path, rescue: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real git, sqlite, kernel, trash naming, archive and recorder; nothing else knows the cells."""
    path = work / "lost.ipynb"
    mirror(home, path)
    put(path, one("archive"))
    assert nbguard("run", "--watch", str(work), "--once").code == 0
    put(path, one("spool"))
    assert nbguard("snapshot", str(path)).code == 0
    git(work, "init", "-q")
    put(path, one("git"))
    git(work, "add", "lost.ipynb")
    git(work, "commit", "-qm", "one")
    path.unlink()
    hide_in_files(home, work)
    put(path, one("open-file"))
    # A dead session; it had run an early draft of a cell that a checkpoint has.
    database(profile(home) / "history.sqlite", [SHARED, HIDDEN["history"]])
    record(path)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    with (
        subprocess.Popen(
            [sys.executable, "-c", f"f = open({str(path)!r}, 'rb'); import time; print(flush=True); time.sleep(600)"],
            stdout=subprocess.PIPE,
        ) as holder,
        running_kernel("--HistoryManager.hist_file=:memory:") as kernel,
    ):
        try:
            assert holder.stdout is not None and holder.stdout.readline()
            path.unlink()
            run(kernel, HIDDEN["kernel"])
            before = everything(home)
            answer = rescue("lost.ipynb", "-o", str(home.parent / f"{home.name}-out"))
            assert everything(home) == before, "nothing is altered"
        finally:
            holder.kill()
    assert answer.code == 0, answer.talk
    assert {each["source"] for each in answer.json["found"]} == set(HIDDEN)
    rebuilt = Path(answer.json["rebuilt"]["notebook"])
    notebook = json.loads(rebuilt.read_text())
    nbformat.validate(notebook)
    origins = {
        "".join(cell["source"]): cell["metadata"].get("nbguard", {}).get("from", "") for cell in notebook["cells"]
    }
    for source, text in HIDDEN.items():
        assert text in origins, f"the cell in {source} is missing from {sorted(origins)}"
        assert origins[text].startswith(source), f"{text!r} is said to be from {origins[text]!r}"
    (recorded,) = [cell for cell in notebook["cells"] if "".join(cell["source"]) == HIDDEN["recorder"]]
    assert recorded["outputs"][0]["text"] == ["recorded while it ran\n"]
    log = json.loads(Path(answer.json["rebuilt"]["log"]).read_text())
    logged = {"".join(cell["source"]) for cell in log["cells"]}
    assert logged >= {SHARED, *(HIDDEN[each] for each in ("history", "kernel", "recorder"))}


def one(source: str) -> bytes:
    return notebook_bytes(HIDDEN[source])


def mirror(home: Path, path: Path) -> None:
    """An archive that is gone, all but its mirror and the configuration that names it."""
    put(path, one("mirror"))
    assert nbguard("run", "--watch", str(path.parent), "--once").code == 0
    assert nbguard("mirror", "add", str(home.parent / f"{home.name}-mirror.git"), "--yes").code == 0
    assert nbguard("mirror", "sync").code == 0
    for name in ("archive.git", "state", "spool", "emergency"):
        shutil.rmtree(Path(os.environ["NBGUARD_HOME"]) / name, ignore_errors=True)


def hide_in_files(home: Path, work: Path) -> None:
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", one("checkpoint"))
    put(work / ".ipynb_checkpoints" / "lost-1a2b3c4d.ipynb", one("jupyter-checkpoints"))
    put(work / ".~lost.ipynb", one("pre-save"))
    trash = home / ".local" / "share" / "Trash"
    put(trash / "files" / "lost.2.ipynb", one("trash"))
    put(trash / "info" / "lost.2.ipynb.trashinfo", f"[Trash Info]\nPath={work}/lost.ipynb\n".encode())
    history = home / ".config" / "Code" / "User" / "History" / "4f1d"
    put(history / "Ab3.ipynb", one("vscode"))
    listing = {
        "resource": f"file://{work}/lost.ipynb",
        "entries": [{"id": "Ab3.ipynb", "timestamp": 1_700_000_000_000}],
    }
    put(history / "entries.json", json.dumps(listing).encode())
    put(Path(os.environ["TMPDIR"]) / "lost.ipynb", one("temp"))
    share(work / ".jupyter_ystore.db", HIDDEN["ystore"])


def share(path: Path, source: str) -> None:
    """A store with one change: a notebook of one cell, as Yjs encodes it."""
    text = source.encode()
    # One client (7) and five structs from clock 0: in the array `cells` a map, with its keys; nothing deleted.
    change = b"".join(
        (
            b"\x01\x05\x07\x00",
            b"\x07\x01\x05cells\x01",
            b"\x28\x00\x07\x00\x09cell_type\x01\x77\x04code",
            b"\x27\x00\x07\x00\x06source\x02",
            b"\x04\x00\x07\x02" + bytes([len(text)]) + text,
            b"\x28\x00\x07\x00\x02id\x01\x77\x02y1",
            b"\x00",
        )
    )
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB, timestamp REAL NOT NULL)"
    )
    connection.execute("INSERT INTO yupdates VALUES ('json:notebook:work/lost.ipynb', ?, NULL, 1700000000)", (change,))
    connection.commit()
    connection.close()


def record(path: Path) -> None:
    """A run as the flight recorder keeps it."""
    context, now = Context.from_environment(None), datetime.now(UTC)
    text = json.dumps([{"output_type": "stream", "name": "stdout", "text": ["recorded while it ran\n"]}])
    app_history.output_store_of(context).put([RunOutputs(run="run-1", recorded_at=now, outputs=text)])
    app_history.record_log_of(context).append(
        [
            Run(
                id="run-1",
                kernel="k1",
                execution_count=3,
                source=HIDDEN["recorder"],
                started_at=now,
                ended_at=now,
                status="ok",
                path=str(path),
                outputs=1,
                output_bytes=len(text),
            )
        ]
    )


def everything(home: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the user's; nbguard's own index may change."""
    own = os.environ["NBGUARD_HOME"]
    files = [
        path for path in home.rglob("*") if path.is_file() and not str(path).startswith((own, str(home / ".cache")))
    ]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_a_rebuilt_notebook_can_be_tried(work: Path, rescue: Ask) -> None:
    """--check executes it in a kernel of its own, and says which cells fail."""
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("a = 1", "1 / 0", "b = a"))
    answer = rescue("lost.ipynb", "-o", "out", "--check")
    (failing,) = answer.json["rebuilt"]["failing"]
    assert failing["cell"] == 2 and "ZeroDivisionError" in failing["why"]
