"""What was measured: rows with their targets, as a table, as JSON lines, and as the report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``at_most`` is the target (None: for the reader only); ``detail`` says what it was made from."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        return None if self.at_most is None else self.value <= self.at_most


@dataclass(slots=True)
class Result:
    """All rows of one benchmark. ``how`` is the command that makes them again."""

    name: str
    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, what: str, value: float, unit: str, *, at_most: float | None = None, detail: str = "") -> None:
        self.rows.append(Row(what, value, unit, at_most, detail))

    def note(self, text: str) -> None:
        self.notes.append(text)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 0
    while abs(value) * 10**digits < 100 and digits < 6:
        digits += 1
    return f"{value:.{digits}f}"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    target = "" if row.at_most is None else f"≤ {number(row.at_most)}"
    verdict = {True: "reached", False: "MISSED", None: ""}[row.is_met]
    return row.what, f"{number(row.value)} {row.unit}".strip(), target, verdict, row.detail


_HEADS = ("what", "measured", "target", "", "made from")


def as_text(result: Result) -> str:
    """A table for a terminal."""
    rows = [_HEADS, *(_cells(row) for row in result.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"== {result.title}", *lines, *(f"   {note}" for note in result.notes), ""])


def as_markdown(result: Result) -> str:
    """A section of the report."""
    lines = [f"## {result.title}", "", f"`{result.how}`", "", "| what | measured | target | | made from |"]
    lines.append("| --- | --- | --- | --- | --- |")
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in result.rows]
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join([*lines, ""])


def append_json(folder: str, result: Result, facts: dict[str, str]) -> str:
    """Append a line with everything to ``folder``/NAME.jsonl; returns the path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{result.name}.jsonl")
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({**asdict(result), "facts": facts}, ensure_ascii=False) + "\n")
    return path


def newest(folder: str, names: Iterable[str]) -> tuple[list[Result], dict[str, str]]:
    """The last line of each benchmark that has one, each saying when it ran; and the facts of the latest."""
    results: list[Result] = []
    latest: dict[str, str] = {}
    for name in names:
        path = os.path.join(folder, f"{name}.jsonl")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            fields = json.loads(file.readlines()[-1])
        facts = fields.pop("facts")
        rows = [Row(**row) for row in fields.pop("rows")]
        result = Result(**fields, rows=rows)
        result.note(f"Run at {facts['when']}, nbguard {facts['nbguard']}, load before {facts['load before']}.")
        results.append(result)
        latest = max(latest, facts, key=lambda one: one.get("when", ""))
    return results, latest


def report(results: Sequence[Result], facts: dict[str, str], command: str, words: Iterable[str]) -> str:
    """The whole report, in Markdown."""
    targets = [row for result in results for row in result.rows if row.is_met is not None]
    missed = [(result, row) for result in results for row in result.rows if row.is_met is False]
    lines = ["# Benchmarks", "", *words, "", f"Made by `{command}`.", "", "| machine | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", "## Reached, and not", "", f"{len(targets) - len(missed)} of {len(targets)} targets were reached."]
    lines += [
        f"- **Not reached**: {result.title}: {row.what}: {number(row.value)} {row.unit} instead of"
        f" {number(row.at_most or 0)}"
        for result, row in missed
    ]
    return "\n".join([*lines, "", *(as_markdown(result) for result in results)])
