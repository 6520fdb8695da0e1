"""A notebook is restored in place while JupyterLab has it open: one keypress there would undo it, and that is said."""

from __future__ import annotations

import pytest

from tests.helpers import poll
from tests.journeys.conftest import Lab
from tests.journeys.jupyter_server import notebook

pytestmark = pytest.mark.jupyter


def test_a_restore_under_an_open_notebook_warns_to_choose_revert_and_undo_takes_it_back(lab: Lab) -> None:
    path = lab.root / "open.ipynb"
    first = lab.server.save("open.ipynb", notebook("first = 1"))
    lab.guard.until_kept(path, first)
    second = lab.server.save("open.ipynb", notebook("second = 2"))
    lab.guard.until_kept(path, second)
    session = lab.server.open("open.ipynb")
    try:
        before = _when_it_is_quiet(lab)
        planned = lab.guard.nbguard("restore", str(path), "--at", "~1", "--in-place", "--dry-run", "--json")
        assert planned.json["open_in"] == [lab.server.url]
        assert path.read_bytes() == second

        answer = lab.guard.nbguard("restore", str(path), "--at", "~1", "--in-place")
        assert answer.code == 0, answer.talk
        assert "open in JupyterLab" in answer.talk
        assert "choose Revert there, not Overwrite" in answer.talk
        assert "nbguard undo" in answer.talk
        assert "token" not in answer.talk
        assert path.read_bytes() == first
        assert _last_activity(lab) == before, "asking keeps no idle server from being culled"

        content = lab.server.ask("GET", "/api/contents/open.ipynb")["content"]
        assert content["cells"][0]["source"] == "first = 1", "what Revert would show"
        overwritten = lab.server.autosave("open.ipynb", notebook("second = 2", "third = 3"))
        lab.guard.until_kept(path, overwritten)
        assert lab.guard.show(path, "~1") == first, "and Overwrite loses nothing either"
    finally:
        lab.server.shut(session)
    closed = lab.guard.nbguard("restore", str(path), "--at", "~1", "--in-place", "--json")
    assert closed.json["open_in"] == []
    assert path.read_bytes() == first
    assert lab.guard.nbguard("undo").code == 0
    assert path.read_bytes() == overwritten


def _last_activity(lab: Lab) -> str:
    return str(lab.server.ask("GET", "/api/status?no_track_activity=1")["last_activity"])


def _when_it_is_quiet(lab: Lab) -> str:
    """Once the new kernel has said all it has to say."""
    seen: list[str] = []

    def quiet() -> bool:
        seen.append(_last_activity(lab))
        return len(seen) > 6 and len(set(seen[-6:])) == 1

    poll(quiet, 30, every=0.2)
    return seen[-1]
