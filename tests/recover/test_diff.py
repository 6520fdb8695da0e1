"""What changed between two notebooks, cell by cell."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from nbguard.recover.cells import Cell
from nbguard.recover.diff import Change, NotebookDiff, align, diff_notebooks, in_order
from tests.helpers import notebook_bytes


def without_ids(*sources: str) -> bytes:
    notebook = json.loads(notebook_bytes(*sources))
    for cell in notebook["cells"]:
        del cell["id"]
    return json.dumps(notebook).encode()


def told(diff: NotebookDiff) -> list[tuple[Change, int | None, int | None]]:
    return [(cell.change, cell.before, cell.after) for cell in diff.cells]


def edited(data: bytes, cell: int, **changes: object) -> bytes:
    notebook = json.loads(data)
    notebook["cells"][cell].update(changes)
    return json.dumps(notebook, indent=1).encode()


def test_equal_bytes_are_identical() -> None:
    assert diff_notebooks(notebook_bytes("a"), notebook_bytes("a")).identical


def test_a_changed_line_is_shown_in_its_cell() -> None:
    diff = diff_notebooks(notebook_bytes("a", "b = 1\nc = 2"), notebook_bytes("a", "b = 1\nc = 3"))
    assert told(diff) == [(Change.CHANGED, 1, 1)]
    assert diff.cells[0].lines == ("@@ -1,2 +1,2 @@", " b = 1", "-c = 2", "+c = 3")


def test_without_ids_cells_are_matched_by_source_and_likeness() -> None:
    old = without_ids("import numpy as np", "x = np.arange(10)\nprint(x)", "plot(x)")
    new = without_ids("import numpy as np", "y = 1", "x = np.arange(20)\nprint(x)", "plot(x)")
    assert told(diff_notebooks(old, new)) == [(Change.ADDED, None, 1), (Change.CHANGED, 1, 2)]


def test_a_removed_cell_is_told_where_it_was() -> None:
    diff = diff_notebooks(without_ids("a = 1", "removed = 2", "c = 3"), without_ids("a = 1", "c = 3", "import d"))
    assert told(diff) == [(Change.REMOVED, 1, None), (Change.ADDED, None, 2)]
    assert diff.cells[0].lines == ("-removed = 2",)


def test_a_moved_cell_is_moved_not_removed_and_added() -> None:
    diff = diff_notebooks(without_ids("first", "second", "third"), without_ids("second", "third", "first"))
    assert told(diff) == [(Change.MOVED, 0, 2)]


def test_outputs_and_metadata_are_summed_up() -> None:
    old = notebook_bytes("a", "b", outputs=True)
    cleared = edited(old, 0, outputs=[], execution_count=None)
    assert diff_notebooks(old, cleared).cells[0].notes == ("1 output cleared",)
    tagged = edited(old, 1, metadata={"tags": ["x"]})
    assert diff_notebooks(old, tagged).cells[0].notes == ("metadata changed",)
    run_again = edited(old, 1, execution_count=9)
    assert diff_notebooks(old, run_again).cells[0].notes == ("run again",)


def test_only_the_layout() -> None:
    diff = diff_notebooks(notebook_bytes("a"), json.dumps(json.loads(notebook_bytes("a"))).encode())
    assert not diff.identical
    assert diff.cells == ()
    assert "layout" in diff.notes[0]


def test_damaged_bytes_are_compared_as_text() -> None:
    diff = diff_notebooks(notebook_bytes("a"), notebook_bytes("a")[:-20])
    assert not diff.readable
    assert any(line.startswith("-") for line in diff.text)
    assert diff_notebooks(b"\xff\n", b"\xfe\n").text[-1] == "+\\xfe"


def test_the_old_formats_are_read_too() -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"], "outputs": []}]}], "nbformat": 3}
    new = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 2"], "outputs": []}]}], "nbformat": 3}
    diff = diff_notebooks(json.dumps(old).encode(), json.dumps(new).encode())
    assert diff.cells[0].lines[-2:] == ("-x = 1", "+x = 2")


def test_a_huge_cell_is_not_compared_line_by_line() -> None:
    diff = diff_notebooks(notebook_bytes("x\n" * 50_000), notebook_bytes("y\n" * 50_000))
    assert "too long to compare" in diff.cells[0].lines[0]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "worksheets", "source", "outputs", "output_type", "data", "text", "id", "metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JUNK, JUNK)
def test_nothing_crashes_it(old: object, new: object) -> None:
    diff_notebooks(json.dumps({"cells": old}).encode(), json.dumps({"cells": [new, old]}).encode())


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_nor_does_anything_that_is_no_json(old: bytes, new: bytes) -> None:
    diff_notebooks(old, new)


SOURCES = st.lists(st.sampled_from(["a = 1", "a = 12", "import b", "b.c()", "", "x\ny\nz"]), max_size=6)


@given(SOURCES, SOURCES)
def test_every_cell_is_told_once_or_unchanged(old: list[str], new: list[str]) -> None:
    diff = diff_notebooks(without_ids(*old), without_ids(*new))
    before = [cell.before for cell in diff.cells if cell.before is not None]
    after = [cell.after for cell in diff.cells if cell.after is not None]
    assert len(before) == len(set(before))
    assert after == sorted(set(after))
    added = sum(cell.change is Change.ADDED for cell in diff.cells)
    removed = sum(cell.change is Change.REMOVED for cell in diff.cells)
    assert len(old) - removed == len(new) - added


@given(SOURCES, SOURCES)
def test_alignment_pairs_each_cell_at_most_once(old: list[str], new: list[str]) -> None:
    pairs = align(
        [Cell(kind="code", id="", source=source) for source in old],
        [Cell(kind="code", id="", source=source) for source in new],
    )
    assert len({at for at, _ in pairs}) == len({to for _, to in pairs}) == len(pairs)


@given(st.permutations(range(8)))
def test_the_longest_run_rises(order: list[int]) -> None:
    chain = in_order(list(enumerate(order)))
    assert [to for _, to in chain] == sorted(to for _, to in chain)
    assert chain
