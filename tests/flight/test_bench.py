"""The recorder's benchmark runs and makes its rows. What it measures is not judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.recorder import main


@pytest.mark.long
def test_the_benchmark_makes_its_rows(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    options = ["--rounds", "1", "--seconds", "1", "--work", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*options, "--report", str(report)]) == 0
    (line,) = (tmp_path / "out" / "recorder.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["what"] for row in json.loads(line)["rows"]}
    assert {"a number: more with the recorder", "memory of the receiver (PSS)"} <= rows
    assert "95 % interval" in report.read_text(encoding="utf-8")
