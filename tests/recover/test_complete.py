"""A version is completed with outputs that were recorded later, and says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.app_history import output_store_of, record_log_of
from nbguard.cli.context import Context
from nbguard.executed import Run, RunOutputs
from nbguard.recover.complete import Completed, complete
from tests.helpers import nbguard, notebook_bytes

SAVED = datetime(2026, 11, 21, 12, tzinfo=UTC)


def run(source: str, *, after_seconds: float = 60, identity: str = "", outputs: int = 1, note: str = "") -> Run:
    return Run(
        id=identity or f"run{abs(hash((source, after_seconds)))}",
        kernel="k",
        execution_count=7,
        source=source,
        started_at=SAVED + timedelta(seconds=after_seconds),
        ended_at=SAVED + timedelta(seconds=after_seconds + 1),
        status="ok",
        outputs=outputs,
        note=note,
    )


def stream(text: str) -> str:
    return json.dumps([{"output_type": "stream", "name": "stdout", "text": text}])


def completed(data: bytes, *runs: Run, texts: dict[str, str] | None = None) -> Completed:
    def outputs_of(identity: str) -> str | None:
        return stream(identity) if texts is None else texts.get(identity)

    return complete(data, runs=runs, outputs_of=outputs_of, saved_at=SAVED, version="v1")


def cells(found: Completed) -> list[dict[str, Any]]:
    return list(json.loads(found.data)["cells"])


def texts(found: Completed) -> list[str]:
    return ["".join(output["text"]) for cell in cells(found) for output in cell["outputs"]]


def test_a_later_run_of_a_cell_gives_it_its_outputs_and_its_count() -> None:
    found = completed(notebook_bytes("a", "b"), run("a", identity="one"))
    first, second = cells(found)
    assert (first["outputs"][0]["text"], first["execution_count"]) == (["one"], 7)
    assert first["metadata"]["nbguard"]["outputs"]["run"] == "one"
    assert first["metadata"]["nbguard"]["outputs"]["recorded_at"] == "2026-11-21T12:01:01.000000Z"
    assert (second["outputs"], second["metadata"]) == ([], {})
    assert json.loads(found.data)["metadata"]["nbguard"] == {"version": "v1", "outputs_filled_in": 1}
    nbformat.validate(nbformat.reads(found.data.decode(), as_version=4))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([run("a", after_seconds=-5, identity="earlier")], []),
        ([run("other", identity="x")], []),
        ([run("a", identity="old"), run("a", after_seconds=90, identity="new")], ["new"]),
        ([run("a\n\n", identity="ends in newlines")], ["ends in newlines"]),
        ([run("a", outputs=0, note="over the cap")], []),
    ],
)
def test_only_what_ran_later_with_the_same_source_counts(runs: list[Run], expected: list[str]) -> None:
    found = completed(notebook_bytes("a"), *runs)
    assert texts(found) == expected
    assert found.filled == len(expected)


def test_a_later_run_without_outputs_takes_older_ones_away() -> None:
    found = completed(notebook_bytes("a", outputs=True), run("a", outputs=0))
    assert texts(found) == []
    assert cells(found)[0]["metadata"]["nbguard"]["outputs"]["replaced_outputs"] == 1


def test_outputs_that_are_pruned_are_counted_and_the_older_ones_stay() -> None:
    data = notebook_bytes("a", outputs=True)
    found = completed(data, run("a"), texts={})
    assert (found.gone, found.data) == (1, data)
    assert "not to be had any more" in found.in_words()


def test_cells_with_the_same_source_get_theirs_in_order_or_none() -> None:
    data = notebook_bytes("a", "a")
    found = completed(data, run("a", identity="1"), run("a", after_seconds=61, identity="2"))
    assert texts(found) == ["1", "2"]
    assert completed(data, run("a", identity="1")) == Completed(data=data, unclear=2)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_notebook_come_back_as_they_are(data: bytes) -> None:
    assert completed(data, run("a")).data == data


@given(
    st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=5),
    st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=8),
)
def test_sources_are_never_touched_and_what_was_saved_stays_where_nothing_ran(
    sources: list[str], ran: list[str]
) -> None:
    data = notebook_bytes(*sources, outputs=True)
    found = completed(data, *(run(source, after_seconds=at + 1) for at, source in enumerate(ran)))
    before, after = json.loads(data)["cells"], cells(found)
    assert [cell["source"] for cell in after] == [cell["source"] for cell in before]
    changed = sum(old != new for old, new in zip(before, after, strict=True))
    assert changed == found.filled
    if not found.filled:
        assert found.data == data


def test_show_and_restore_complete_a_version_and_the_file_says_so(tmp_path: Path, home: Path) -> None:
    path = home / "work" / "nb.ipynb"
    path.parent.mkdir()
    path.write_bytes(notebook_bytes("a", "b"))
    assert nbguard("snapshot", str(path)).code == 0
    plain = nbguard("show", str(path), "--with-outputs")
    assert plain.out.encode() == path.read_bytes()
    context = Context(home=str(home / ".nbguard"), config=None)
    later = datetime.now(UTC) + timedelta(seconds=1)
    one = Run(
        id="r1", kernel="k", execution_count=3, source="a", started_at=later, ended_at=later, status="ok",
        path=str(path), outputs=1, output_bytes=9,
    )  # fmt: skip
    output_store_of(context).put([RunOutputs(run="r1", recorded_at=later, outputs=stream("recorded"))])
    record_log_of(context).append([one])
    shown = nbguard("show", str(path), "--with-outputs")
    assert json.loads(shown.out)["cells"][0]["outputs"][0]["text"] == ["recorded"]
    assert "filled in for 1 cell" in shown.talk
    path.write_bytes(notebook_bytes("spoilt"))
    answer = nbguard("restore", str(path), "--with-outputs", "--in-place", "--json")
    assert answer.code == 0, answer.talk
    assert answer.json["outputs_filled_in"] == 1
    assert json.loads(path.read_bytes())["cells"][0]["outputs"][0]["text"] == ["recorded"]
    assert nbguard("undo").code == 0
    assert path.read_bytes() == notebook_bytes("spoilt")
