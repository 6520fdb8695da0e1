"""Every benchmark runs with tiny counts and makes its rows. What they measure is not judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, main
from bench.results import Result, Row, append_json, report


def _rows(name: str, folder: Path, *more: str) -> list[str]:
    out = folder / "out"
    options = [
        "--rounds",
        "1",
        "--share",
        "0.005",
        "--seconds",
        "1",
        "--touch",
        "0",
        "--work",
        str(folder / "work"),
        "--out",
        str(out),
    ]
    assert main([name, *options, *more]) == 0
    (line,) = (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert found["facts"]["git"][0].isdigit()
    assert all(row["value"] >= 0 for row in found["rows"])
    return [row["what"] for row in found["rows"]]


def test_there_is_a_test_for_each() -> None:
    assert set(BENCHMARKS) == {"save", "cpu", "stored", "imports", "asking", "latency", "idle", "package", "prompt"}


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("save", ["(a) median, of the floor", "(c) p99, of the floor's", "processes started by all these saves"]),
        ("cpu", ["(a) of git add + git commit", "(c) of git add + git commit", "(a') of git add + git commit"]),
        ("stored", ["(a) of loose-object git", "(a') of loose-object git", "(c) of loose-object git"]),
        ("imports", ["(d) small notebooks, of git's time", "(b) ordinary notebooks, of git's time"]),
    ],
)
def test_in_process(name: str, some: list[str], tmp_path: Path) -> None:
    rows = _rows(name, tmp_path)
    assert set(some) <= set(rows)


def test_asking(tmp_path: Path) -> None:
    rows = _rows("asking", tmp_path)
    assert sum(row.startswith(("log, ", "show ~500, ")) for row in rows) >= 4


@pytest.mark.jupyter
def test_latency(tmp_path: Path) -> None:
    rows = _rows("latency", tmp_path)
    assert [row.partition(":")[0] for row in rows] == [
        "writes and closes",
        "moves into place",
        "JupyterLab's server (PUT /api/contents)",
    ]


def test_idle(tmp_path: Path) -> None:
    rows = _rows("idle", tmp_path)
    assert "idle, of one core" in rows and "memory (PSS) after (c)" in rows


def test_package(tmp_path: Path) -> None:
    rows = _rows("package", tmp_path)
    assert rows[0] == "30 versions of 3 notebooks: memory of the command" and len(rows) == 8


def test_prompt(tmp_path: Path) -> None:
    rows = _rows("prompt", tmp_path)
    assert any(row.startswith("bash") for row in rows), rows


def test_real_histories(tmp_path: Path) -> None:
    history = tmp_path / "real" / "ada__work" / "eda.ipynb"
    history.mkdir(parents=True)
    for number in range(3):
        notebook = {"cells": [], "metadata": {"n": number}, "nbformat": 4, "nbformat_minor": 5}
        (history / f"{number:03d}.ipynb").write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
    assert _rows("cpu", tmp_path, "--real", str(tmp_path / "real"))


def test_report_says_what_was_missed() -> None:
    result = Result("one", "One", "python -m bench one", [Row("slow", 3.0, "ms", 2.0), Row("fast", 1.0, "ms", 2.0)])
    text = report([result], {"git": "2.39.5"}, "python -m bench all", ["Words."])
    assert "1 of 2 targets were reached." in text
    assert "- **Not reached**: One: slow: 3.00 ms instead of 2.00" in text
    assert "| fast | 1.00 ms | ≤ 2.00 | reached |  |" in text


def test_a_report_is_made_of_the_newest_run_of_each(tmp_path: Path) -> None:
    for value, when in ((3.0, "2026-01-01"), (1.0, "2026-01-02")):
        result = Result("save", "Saving", "python -m bench save")
        result.row("(a) median", value, "×", at_most=1.5)
        append_json(str(tmp_path), result, {"when": when, "nbguard": "0 (abc)", "load before": "0.1"})
    assert main(["report", "--out", str(tmp_path), "--report", str(tmp_path / "r.md")]) == 0
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "1 of 1 targets were reached" in text
    assert "3.00 ×" not in text
    assert "Run at 2026-01-02, nbguard 0 (abc)" in text
