"""kill -9 of the Jupyter server in mid-save: it leaves an empty or half notebook, and the work before it comes back."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from nbguard.notebook import measure
from tests.helpers import poll
from tests.journeys.guarded import guarding, sha256
from tests.journeys.jupyter_server import JupyterServer, jupyter_server, notebook

pytestmark = pytest.mark.jupyter

_CHARACTERS = 15_000_000
_TRIES = 6


def test_a_server_killed_in_mid_save_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    root = tmp_path / "work"
    path = root / "Big.ipynb"
    with guarding(tmp_path, root) as guard, jupyter_server(tmp_path / "home", root) as server:
        good = server.save("Big.ipynb", notebook("the work of today", outputs=_CHARACTERS))
        guard.until_kept(path, good, 60)
        torn = _kill_in_mid_save(server, path, good)
        copy = path.with_name(".~Big.ipynb")
        assert copy.read_bytes() == good, "Jupyter's own copy is what it was before"
        poll(lambda: guard.log(path)[0]["status"] == "damaged", 60, every=0.3)

        rows = guard.log(path)
        assert rows[0]["sha256"] == sha256(torn)
        assert sha256(good) in {row["sha256"] for row in rows if row["status"] == "ok"}
        assert not any(row["path"].endswith(".~Big.ipynb") for row in guard.list())
        assert guard.show(path, "last-good") == good
        answer = guard.nbguard("restore", str(path), "--in-place", "--json")
        assert answer.code == 0, answer.talk
        assert path.read_bytes() == good
        guard.until_kept(path, good)
        assert guard.log(path)[0]["status"] == "ok"


def test_the_copy_beside_a_torn_notebook_is_kept_when_nothing_else_has_its_bytes(tmp_path: Path) -> None:
    root = tmp_path / "work"
    path = root / "Big.ipynb"
    with guarding(tmp_path, root, start=False) as guard, jupyter_server(tmp_path / "home", root) as server:
        server.save("Big.ipynb", notebook("older", outputs=_CHARACTERS))
        good = server.autosave("Big.ipynb", notebook("newer, in no checkpoint", outputs=_CHARACTERS))
        _kill_in_mid_save(server, path, good)
        guard.start()
        poll(lambda: {row["sha256"] for row in guard.log(path)} >= {sha256(good)}, 60, every=0.3)
        poll(lambda: any(row["status"] == "damaged" for row in guard.log(path)), 60, every=0.3)
        (rescued,) = [row for row in guard.log(path) if row["sha256"] == sha256(good)]
        assert rescued["trigger"] == "rescue"
        assert rescued["status"] == "ok"
        answer = guard.nbguard("restore", str(path), "--json")
        assert answer.code == 0, answer.talk
        assert Path(answer.json["written_to"]).read_bytes() == good


def _kill_in_mid_save(server: JupyterServer, path: Path, good: bytes) -> bytes:
    """Kill the server while its notebook is empty or half and its copy is whole; what is left of the notebook."""
    copy = path.with_name(f".~{path.name}")
    for number in range(_TRIES):
        saving = threading.Thread(target=_save, args=(server, path.name, number))
        saving.start()
        try:
            _until_truncated(path, copy, saving)
        finally:
            server.kill()
            saving.join()
        left = path.read_bytes()
        if copy.exists() and measure(left) is None:
            return left
        server.start()  # it was too quick for us: the save was complete, or had not begun
        copy.unlink(missing_ok=True)
        path.write_bytes(good)
    raise AssertionError(f"not caught in mid-save in {_TRIES} tries")


def _save(server: JupyterServer, name: str, number: int) -> None:
    with contextlib.suppress(urllib.error.URLError, http.client.HTTPException, OSError):
        server.autosave(name, notebook(f"never arrives {number}", outputs=_CHARACTERS + 10_000))


def _until_truncated(path: Path, copy: Path, saving: threading.Thread) -> None:
    """As soon as the copy is there and the notebook shrinks."""
    whole = path.stat().st_size
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and saving.is_alive():
        if copy.exists() and path.stat().st_size < whole:
            return
