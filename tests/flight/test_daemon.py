"""The whole daemon hears a real kernel of a watched notebook, and leaves alone what it was told to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from nbguard.app_flight import flight_recorder_of
from nbguard.app_history import executed_library, output_store_of
from nbguard.cli.context import Context
from nbguard.clock import SystemClock
from nbguard.executed import Run
from tests.flight.rig import Kernel
from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, guarding


@contextmanager
def _kernel_of(path: Path) -> Iterator[Kernel]:
    """A kernel as a server starts it for a notebook."""
    started = Kernel()
    try:
        started.start(env={**os.environ, "JPY_SESSION_NAME": str(path)})
        yield started
    finally:
        started.end()


def _runs(guard: Guarded) -> dict[str, Run]:
    library = executed_library(Context(home=str(guard.home), config=None))
    return {run.source: run for run in library.runs()}


def _outputs(guard: Guarded, run: Run) -> list[dict[str, Any]]:
    text = output_store_of(Context(home=str(guard.home), config=None)).get(run.id)
    return list(json.loads(text or "[]"))


def _receivers(guard: Guarded) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(guard.pid).children(recursive=True)
        if "nbguard.flight.receiver" in child.cmdline()
    ]


def test_cells_of_watched_notebooks_are_recorded_and_excluded_ones_are_not(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    for name in ("open.ipynb", "secret.ipynb"):
        (desk / name).write_bytes(notebook_bytes("1"))
    with (
        guarding(tmp_path, desk, start=False) as guard,
        _kernel_of(desk / "open.ipynb") as heard,
        _kernel_of(desk / "secret.ipynb") as unheard,
    ):
        config = guard.home / "config.toml"
        config.write_text(config.read_text() + '\n[recorder]\nexclude = ["secret*"]\n')
        guard.start()

        def is_heard() -> bool:
            unheard.run("print('secret')")
            heard.run("print('kept')")
            return "print('kept')" in _runs(guard)

        poll(is_heard, 30, every=0.5)
        run = _runs(guard)["print('kept')"]
        assert (run.path, run.status) == (str(desk / "open.ipynb"), "ok")
        assert _outputs(guard, run)[0]["text"] == "kept\n"
        assert len(_receivers(guard)) == 1
        heard.run("print('just before the end')")
        guard.stop()
        runs = _runs(guard)
        assert "print('just before the end')" in runs
        assert "print('secret')" not in runs
        kept = b"".join(path.read_bytes() for path in guard.home.rglob("*") if path.is_file())
        for some in (heard, unheard):
            assert some.to_record().key not in kept


def test_a_daemon_that_is_killed_takes_its_receiver_along_and_no_kernel(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "nb.ipynb").write_bytes(notebook_bytes("1"))
    with _kernel_of(desk / "nb.ipynb") as some, guarding(tmp_path, desk) as guard:
        (receiver,) = poll(lambda: _receivers(guard), 30, every=0.2)
        guard.kill()
        poll(lambda: not receiver.is_running() or receiver.status() == psutil.STATUS_ZOMBIE)
        assert some.run("6 * 7")["status"] == "ok"


def test_switched_off_there_is_no_recorder(home: Path) -> None:
    folder = home / ".nbguard"
    folder.mkdir()
    (folder / "config.toml").write_text("schema = 1\n[recorder]\nenabled = false\n")
    context = Context(home=str(folder), config=None)
    assert flight_recorder_of(context, ["/w"], SystemClock(), tuple) is None
