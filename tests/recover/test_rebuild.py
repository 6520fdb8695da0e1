"""What a rebuilt notebook holds, and what the log beside it holds."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.recover.found import FoundCell
from nbguard.recover.rebuild import Rebuilt, rebuild
from nbguard.recover.sound_cells import normal
from nbguard.recover.validity import complaint
from tests.helpers import notebook_bytes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def ran(*sources: str, group: str = "3f9a12bc-42") -> list[FoundCell]:
    return [
        FoundCell(source=source, origin=f"history {group}:{line}", group=group, line=line)
        for line, source in enumerate(sources, 1)
    ]


def sources(data: bytes, *kinds: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(data) if cell["cell_type"] in (kinds or ("code",))]


def cells(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(data)["cells"]
    return found


def about(data: bytes, source: str) -> dict[str, Any]:
    (cell,) = [cell for cell in cells(data) if "".join(cell["source"]) == source]
    found: dict[str, Any] = cell["metadata"]["nbguard"]
    return found


def sound(rebuilt: Rebuilt) -> Rebuilt:
    assert complaint(rebuilt.notebook) == ""
    assert complaint(rebuilt.log) == ""
    return rebuilt


def test_a_new_text_takes_the_place_of_the_old_one_and_keeps_it_in_the_metadata() -> None:
    base = notebook_bytes("import math", "radius = 2\nprint(math.pi * radius)", "print('done')", outputs=True)
    rebuilt = sound(rebuild(base, ran("radius = 3\nprint(math.pi * radius)"), now=NOW))
    assert sources(rebuilt.notebook) == ["import math", "radius = 3\nprint(math.pi * radius)", "print('done')"]
    told = about(rebuilt.notebook, "radius = 3\nprint(math.pi * radius)")
    assert told["state"] == "edited"
    assert told["from"] == "history 3f9a12bc-42:1"
    assert told["replaced"] == [{"source": "radius = 2\nprint(math.pi * radius)", "from": "archive"}]
    assert (rebuilt.unchanged, rebuilt.edited, rebuilt.added, rebuilt.never_run) == (2, 1, 0, 2)


def test_a_cell_that_never_was_python_stands_apart_unless_it_ran_last_or_the_others_are_none_either() -> None:
    base = notebook_bytes(*(f"value_{number} = {number}" for number in range(25)))
    texts = ["def unfinished(a,", "total = value_1 + value_2", "if total >"]
    rebuilt = sound(rebuild(base, ran(*texts), now=NOW))
    assert [about(rebuilt.notebook, text)["state"] for text in texts] == ["scratch", "added", "added"]
    old = notebook_bytes(*(f"print {number}" for number in range(12)))
    rebuilt = sound(rebuild(old, ran("print 3, 4", "import math"), now=NOW))
    assert about(rebuilt.notebook, "print 3, 4")["state"] == "added"


def test_a_run_that_equals_a_cell_is_that_cell_and_an_unlike_one_stands_where_it_ran() -> None:
    base = notebook_bytes("load()", "clean()", "plot()")
    rebuilt = sound(rebuild(base, ran("load()", "frame = merge(left, right, on='key')", "clean()"), now=NOW))
    assert sources(rebuilt.notebook) == ["load()", "frame = merge(left, right, on='key')", "clean()", "plot()"]
    assert about(rebuilt.notebook, "plot()") == {"from": "archive", "state": "unchanged"}
    assert about(rebuilt.notebook, "clean()")["last_run"] == "history 3f9a12bc-42:3"


def test_the_only_binding_of_a_name_that_is_needed_does_not_give_way() -> None:
    base = notebook_bytes("import numpy as np", "values = np.arange(3)")
    rebuilt = sound(rebuild(base, ran("import numpa as nb"), now=NOW))
    assert "import numpy as np" in sources(rebuilt.notebook)
    rebuilt = sound(rebuild(base, ran("import pandas as pd", "import pandas as pd"), now=NOW))
    assert sources(rebuilt.notebook) == ["import numpy as np", "values = np.arange(3)", "import pandas as pd"]


def test_a_renamed_name_is_no_lost_one() -> None:
    base = notebook_bytes("frame = read_csv('sales.csv')", "total = frame.sum()\nprint(total)")
    rebuilt = sound(rebuild(base, ran("table = read_csv('sales.csv')", "total = table.sum()\nprint(total)"), now=NOW))
    assert sources(rebuilt.notebook) == ["table = read_csv('sales.csv')", "total = table.sum()\nprint(total)"]


def test_looks_and_cells_that_later_runs_passed_over_stand_at_the_end_under_a_heading() -> None:
    base = notebook_bytes("a = read()", "b = a.clean()", "c = b.fit()")
    runs = ran("a = read()", "a.shape", "b = a.clean()", "experiment = try_this(a, 17)", "c = b.fit()")
    rebuilt = sound(rebuild(base, [*runs, *ran("a = read()", "b = a.clean()", "c = b.fit()")], now=NOW))
    assert sources(rebuilt.notebook)[:3] == ["a = read()", "b = a.clean()", "c = b.fit()"]
    for text in ("a.shape", "experiment = try_this(a, 17)"):
        assert about(rebuilt.notebook, text)["state"] == "scratch"
    (heading,) = [text for text in sources(rebuilt.notebook, "markdown") if text.startswith("# Probably scratch")]
    assert heading


def test_drafts_on_the_way_to_a_cell_are_not_cells() -> None:
    drafts = ["def area(r):", "def area(r):\n    return r * r", "def area(r):\n    return 3.14 * r * r"]
    rebuilt = sound(rebuild(None, ran("import math", *drafts, "area(2) + math.pi"), now=NOW))
    assert sources(rebuilt.notebook) == ["import math", drafts[-1], "area(2) + math.pi"]
    assert sources(rebuilt.log) == ["import math", *drafts, "area(2) + math.pi"]


def test_the_log_holds_every_executed_cell_as_it_was_typed() -> None:
    typed = ["x = 1", "%matplotlib inline", "!ls", "x = 1", "  \n", "%%bash\necho\t1\n\n", "x = (", "1\r\n2", "\ud83d"]
    rebuilt = sound(rebuild(notebook_bytes("x = 1"), ran(*typed), now=NOW))
    assert sources(rebuilt.log) == typed
    assert rebuilt.executed == len(typed)


def test_outputs_stay_only_where_the_text_is_the_same() -> None:
    base = notebook_bytes("a = 1", "b = a + 1\nprint(b)", "print('c')", outputs=True)
    plain = ran("a = 2", "b = a + 1\nprint(b)")
    recorded = json.dumps([{"output_type": "stream", "name": "stdout", "text": "3\n"}])
    rebuilt = sound(rebuild(base, plain, now=NOW))
    assert cells(rebuilt.notebook)[0]["outputs"] == []
    assert about(rebuilt.notebook, "a = 2")["outputs"] == {"from": None, "dropped": True}
    assert about(rebuilt.notebook, "b = a + 1\nprint(b)")["outputs"] == {"from": "archive", "stale": True}
    assert about(rebuilt.notebook, "print('c')")["outputs"] == {"from": "archive", "stale": False}
    rebuilt = sound(rebuild(base, [plain[0], replace(plain[1], outputs=recorded)], now=NOW))
    assert cells(rebuilt.notebook)[1]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": ["3\n"]}]
    assert about(rebuilt.notebook, "b = a + 1\nprint(b)")["outputs"] == {"from": "history 3f9a12bc-42:2"}
    rebuilt = sound(rebuild(base, [replace(plain[1], output_text="3")], now=NOW))
    assert cells(rebuilt.notebook)[1]["outputs"][0]["data"] == {"text/plain": ["3"]}


def test_ids_and_kernel_are_kept_and_new_ids_are_the_same_every_time() -> None:
    base = json.loads(notebook_bytes("a = 1", "b = 2", "c = 3"))
    base["cells"][2]["id"] = "cell-1"
    base["metadata"] = {"kernelspec": {"name": "ir", "display_name": "R"}, "custom": [1], "nbguard": "?"}
    first, again = (rebuild(json.dumps(base).encode(), ran("new <- 5"), now=NOW) for _ in range(2))
    assert sound(first).notebook == again.notebook
    document = json.loads(first.notebook)
    assert document["metadata"]["kernelspec"]["name"] == json.loads(first.log)["metadata"]["kernelspec"]["name"] == "ir"
    assert document["metadata"]["custom"] == [1]
    found = [cell["id"] for cell in document["cells"]]
    assert {"cell-1", "cell-2"} < set(found)
    assert len(set(found)) == len(found)


def test_the_same_call_made_anew_is_one_cell_where_a_cell_id_says_so() -> None:
    base = notebook_bytes("alpha = compute(1)", "beta = 2")
    known = replace(ran("totally_different(name)")[0], cell_id="cell-1")
    rebuilt = sound(rebuild(base, [known], now=NOW))
    assert sources(rebuilt.notebook) == ["totally_different(name)", "beta = 2"]


def test_cells_of_other_files_find_their_neighbours_and_say_where_they_are_from() -> None:
    base = notebook_bytes("first = 1", "third = 3")
    lying = [
        FoundCell(source=source, origin=origin, group=origin, kind=kind, executed=False)
        for origin, kind, source in (
            ("checkpoint", "code", "first = 1"),
            ("checkpoint", "markdown", "# What comes second"),
            ("checkpoint", "code", "second = compute(first)"),
            ("checkpoint", "code", "third = 3"),
            ("trash", "code", "fourth = second + third"),
        )
    ]
    rebuilt = sound(rebuild(base, [*lying, *ran("fifth = [fourth, fourth]")], now=NOW))
    everything = sources(rebuilt.notebook, "code", "markdown")
    assert everything[:4] == ["first = 1", "# What comes second", "second = compute(first)", "third = 3"]
    assert {"fourth = second + third", "fifth = [fourth, fourth]"} <= set(everything)
    assert about(rebuilt.notebook, "# What comes second") == {"from": "checkpoint", "state": "found"}
    assert about(rebuilt.notebook, "fourth = second + third")["from"] == "trash"
    assert rebuilt.found == 3


def test_another_text_of_a_cell_in_another_file_is_kept_beside_it() -> None:
    text = "model = train(data, epochs=10, rate=0.01)\nmodel.evaluate(test)"
    other = text.replace("10", "20")
    lying = FoundCell(source=other, origin="trash", group="trash", executed=False)
    rebuilt = sound(rebuild(notebook_bytes(text, "done()"), [lying], now=NOW))
    assert sources(rebuilt.notebook) == [text, "done()"]
    assert about(rebuilt.notebook, text)["replaced"] == [{"source": other, "from": "trash"}]


def test_what_ran_before_the_last_version_does_not_change_it() -> None:
    base = notebook_bytes("rate = 0.2\nfit(rate)", "show()")
    saved = NOW - timedelta(hours=1)
    before = [replace(cell, seen_at=saved - timedelta(hours=1)) for cell in ran("rate = 0.1\nfit(rate)", "gone(42)")]
    after = [replace(cell, seen_at=NOW) for cell in ran("show()", "more(rate, 7)")]
    rebuilt = sound(rebuild(base, [*before, *after], now=NOW, base_at=saved))
    assert sources(rebuilt.notebook) == ["rate = 0.2\nfit(rate)", "show()", "more(rate, 7)", "gone(42)"]
    assert about(rebuilt.notebook, "gone(42)")["state"] == "earlier"
    assert len(sources(rebuilt.log)) == 4


@pytest.mark.parametrize(
    "base",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"cells": 7}',
        b'{"cells": [1, {"cell_type": 9}, null, {"cell_type": "code", "outputs": [{}], "source": [3]}]}',
        b"[" * 100_000,
        b'{"nbformat": 3, "worksheets": [{"cells": "x"}]}',
        b'{"metadata": {"kernelspec": 1, "language_info": {"name": 2}, "authors": 3}, "cells": [{"metadata": 1}]}',
    ],
)
def test_a_broken_base_loses_no_executed_cell(base: bytes) -> None:
    rebuilt = sound(rebuild(base, ran("x = 1", "y = 2"), now=NOW))
    assert {"x = 1", "y = 2"} <= set(sources(rebuilt.notebook))
    assert sources(rebuilt.log) == ["x = 1", "y = 2"]


def test_a_base_of_nbformat_3_keeps_its_cells() -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": "Title", "metadata": {}},
                    {
                        "cell_type": "code",
                        "input": "print 1",
                        "outputs": [{"output_type": "stream", "stream": "stdout", "text": "1\n"}],
                        "language": "python",
                        "collapsed": False,
                        "metadata": {},
                    },
                ]
            }
        ],
    }
    rebuilt = sound(rebuild(json.dumps(old).encode(), ran("print 2"), now=NOW))
    assert sources(rebuilt.notebook, "markdown")[0] == "## Title"
    assert "print 1" in sources(rebuilt.notebook)


def test_hostile_outputs_and_attachments_are_left_out_and_the_cell_stays() -> None:
    odd = FoundCell(
        source="x",
        origin="recorder",
        outputs='[{"output_type": "stream"}, 3, {"output_type": "pyout"}, {"output_type": "error", "traceback": 9}]',
        line=-4,
    )
    lying = FoundCell(
        source="![](attachment:a.png)",
        origin="trash",
        kind="markdown",
        executed=False,
        attachments='{"a": 1}',
        metadata='{"tags": "no"}',
        cell_id="not an id",
    )
    rebuilt = sound(rebuild(None, [odd, replace(odd, outputs="{"), lying], now=NOW))
    assert sources(rebuilt.notebook, "code", "markdown") == ["![](attachment:a.png)", "x"]


_SOURCES = st.lists(
    st.one_of(
        st.sampled_from(["x = 1", "x = 2", "y = x + 1", "import a as b", "b.c()", "x", "%%bash\nls", "def f(:", ""]),
        st.text(max_size=30),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=_SOURCES, executed=_SOURCES, lying=_SOURCES)
def test_whatever_comes_in_what_comes_out_is_valid_and_the_log_whole(
    base: list[str], executed: list[str], lying: list[str]
) -> None:
    files = [FoundCell(source=source, origin="trash", group="t", executed=False) for source in lying]
    rebuilt = sound(rebuild(notebook_bytes(*base), [*files, *ran(*executed)], now=NOW))
    assert sources(rebuilt.log) == executed
    kept = {normal(text) for text in sources(rebuilt.notebook)}
    for cell in cells(rebuilt.notebook):
        kept |= {normal(old["source"]) for old in cell["metadata"]["nbguard"].get("replaced", [])}
    assert {normal(text) for text in (*base, *executed, *lying)} <= kept | {""}
    assert [cell["id"] for cell in cells(rebuilt.notebook) if cell["id"].startswith("cell-")] == [
        f"cell-{number}" for number in range(1, len(base) + 1)
    ]


def test_five_thousand_executions_of_a_large_notebook_take_seconds() -> None:
    cells_before = [f"name_{n} = load('file_{n}.csv')\nshow(name_{n}, {n})" for n in range(500)]
    edited = [text.replace("show", "plot" if n % 3 else "print") for n, text in enumerate(cells_before)]
    executed = (cells_before + edited) * 5
    began = time.process_time()
    rebuilt = rebuild(notebook_bytes(*cells_before), ran(*executed), now=NOW)
    assert time.process_time() - began < 20
    assert len(sources(rebuilt.log)) == 5_000


def test_cells_of_a_megabyte_are_compared_by_their_ends() -> None:
    long = "\n".join(f"value_{n} = {n}" for n in range(60_000))
    began = time.process_time()
    rebuilt = rebuild(
        notebook_bytes(long, long.replace("7", "8")), ran(long + "\nlast = 1", "print('" + "x y " * 250_000), now=NOW
    )
    assert time.process_time() - began < 20
    assert len(sources(rebuilt.notebook)) == 3
