"""The spool's folder vanishes under a daemon: the emergency place takes what is saved, and status counts it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from nbguard.app_daemon import Assembly
from nbguard.cli.context import Context
from tests.helpers import nbguard, notebook_bytes


def test_drafts_in_the_emergency_place_are_counted_without_a_spool(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    notebook = work / "a.ipynb"
    notebook.write_bytes(notebook_bytes("a"))
    assert nbguard("run", "--once", "--watch", str(work)).code == 0
    assembly = Assembly(Context.from_environment(None), [str(work)])
    for text in ("b", "c"):
        notebook.write_bytes(notebook_bytes(text))
        assembly.watcher.sweep_now()
        assembly.saves.drain(wait_seconds=15.0)
        if text == "b":
            assembly.packer.pack()
            shutil.rmtree(Path(os.environ["NBGUARD_HOME"]) / "spool")
    assert [problem.code for problem in assembly.problems()] == ["io-error"]
    answer = json.loads(nbguard("status", "--json").out)
    assert (answer["protected"], answer["spool"]["drafts"]) == (1, 1)
