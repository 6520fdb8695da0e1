"""A first import that failed is told until everything is kept all the same, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard import app_importing
from nbguard.app import ensure_archive
from nbguard.app_daemon import Assembly
from nbguard.cli.context import Context
from nbguard.errors import StorageTrouble
from nbguard.first_import import FirstImport
from tests.helpers import notebook_bytes


def test_the_problem_ends_when_the_sweeps_have_kept_everything(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = home / "work"
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a"))
    context = Context.from_environment(None)
    ensure_archive(context)
    assembly = Assembly(context, [str(work)])

    def fail(*_: object) -> None:
        raise StorageTrouble("the disk is full", hint="free some space", code="no-space")

    def codes() -> list[str]:
        return [problem.code for problem in assembly.problems()]

    monkeypatch.setattr(app_importing, "_LOOK_FOR_UNSEEN_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(FirstImport, "run", fail)
        assembly.import_first()
    assembly.pack_due()
    assert codes() == ["no-space"], "nothing is kept yet"
    assembly.watcher.sweep_now()
    assembly.saves.drain(wait_seconds=15.0)
    assembly.pack_due()
    assert codes() == []
