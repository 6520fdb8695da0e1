"""What the recorder saw of a session, and history knows whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from nbguard import app_history
from nbguard.cli.context import Context
from nbguard.executed import Confidence, Link, RunOutputs
from tests.cli.test_history import NOW, cell, link, record, run
from tests.helpers import Answer, nbguard, notebook_bytes

TEXTS = ["before_the_recorder = 1", "recorded = before_the_recorder + 1", "print(recorded)"]


def test_a_kernel_that_was_never_asked_is_its_session_and_what_was_recorded_of_a_part_is_not_lost(
    home: Path, work: Path, rescue: Callable[..., Answer]
) -> None:
    (work / "eda.ipynb").write_bytes(notebook_bytes("x = 1"))
    assert nbguard("run", "--watch", str(work), "--once").code == 0
    unasked = Link(
        generation=None,
        session=None,
        path=str(work / "eda.ipynb"),
        frontend=link(None, Confidence.EXACT).frontend,
        confidence=Confidence.EXACT,
        evidence=("server",),
        seen_at=NOW + timedelta(minutes=4),
        kernel="k1",
    )
    later = [5.0, 6.0, 7.0]
    path = str(work / "eda.ipynb")
    record(
        unasked,
        *(cell(line, text, minutes=at) for line, (text, at) in enumerate(zip(TEXTS, later, strict=True), 1)),
        *(run(f"r{n}", "k1", n, TEXTS[n - 1], path=path, minutes=later[n - 1]) for n in (2, 3)),
    )
    shown = json.dumps([{"output_type": "stream", "name": "stdout", "text": "two\n"}])
    store = app_history.output_store_of(Context.from_environment(None))
    store.make()
    store.put([RunOutputs(run="r3", recorded_at=NOW, outputs=shown)])

    answer = rescue("eda.ipynb", "-o", str(home / "rescued"))
    assert {row["id"] for row in answer.json["found"] if row["source"] == "recorder"} == {"3f9a12bc-42"}, answer.out
    rebuilt = json.loads((home / "rescued" / "eda.rebuilt.ipynb").read_text())
    found = {"".join(one["source"]): one for one in rebuilt["cells"] if one["cell_type"] == "code"}
    assert list(found) == ["x = 1", *TEXTS]
    assert found[TEXTS[2]]["outputs"][0]["text"] == ["two\n"]
    log = json.loads((home / "rescued" / "eda.log.ipynb").read_text())
    assert ["".join(one["source"]) for one in log["cells"] if one["cell_type"] == "code"] == TEXTS, "each once"
