"""A notebook emptied by accident in JupyterLab, then small autosaves: the full one stays the good one."""

from __future__ import annotations

import time

import pytest

from tests.helpers import poll
from tests.journeys.conftest import Lab
from tests.journeys.guarded import pause_until, sha256
from tests.journeys.jupyter_server import notebook

pytestmark = pytest.mark.jupyter

_AUTOSAVES = 10


def test_an_emptied_notebook_never_displaces_the_last_good_one_until_it_is_accepted(lab: Lab) -> None:
    path = lab.root / "thesis.ipynb"
    full = lab.server.save("thesis.ipynb", notebook(*(f"result_{n} = compute({n}, 'a long line')" for n in range(30))))
    lab.guard.until_kept(path, full)
    begin = time.monotonic()
    emptied = [lab.server.save("thesis.ipynb", notebook(""))]
    for number in range(_AUTOSAVES):
        pause_until(begin + 0.3 * (number + 1))
        emptied.append(lab.server.autosave("thesis.ipynb", notebook("import os" + "\n" * number)))
    lab.guard.until_kept(path, emptied[-1])

    rows = lab.guard.log(path)
    assert [row["sha256"] for row in reversed(rows)] == [sha256(data) for data in (full, *emptied)]
    assert [row["status"] for row in rows] == ["emptied"] * (_AUTOSAVES + 1) + ["ok"]
    assert "emptied" in lab.guard.codes()
    assert lab.guard.show(path, "last-good") == full

    answer = lab.guard.nbguard("restore", str(path), "--json")
    assert answer.code == 0, answer.talk
    assert answer.json["sha256"] == sha256(full)
    assert lab.root.joinpath(answer.json["written_to"]).read_bytes() == full
    assert path.read_bytes() == emptied[-1], "the default leaves the notebook alone"

    accepted = lab.guard.nbguard("accept", str(path), "--json")
    assert accepted.code == 0, accepted.talk
    poll(lambda: "emptied" not in lab.guard.codes(), 15, every=0.2)
    assert lab.guard.log(path)[0]["status"] == "ok"
    assert lab.guard.show(path, "last-good") == emptied[-1]
    smaller = lab.server.autosave("thesis.ipynb", notebook("import os  # again"))
    lab.guard.until_kept(path, smaller)
    assert lab.guard.log(path)[0]["status"] == "ok", "what was accepted is the new measure"


def test_cleared_outputs_are_not_an_emptied_notebook(lab: Lab) -> None:
    path = lab.root / "figures.ipynb"
    shown = lab.server.save("figures.ipynb", notebook("plot(1)", "plot(2)", outputs=200_000))
    lab.guard.until_kept(path, shown)
    cleared = lab.server.save("figures.ipynb", notebook("plot(1)", "plot(2)"))
    lab.guard.until_kept(path, cleared)
    assert len(cleared) < len(shown) / 10
    assert [row["status"] for row in lab.guard.log(path)] == ["ok", "ok"]
    assert lab.guard.show(path, "~1") == shown
