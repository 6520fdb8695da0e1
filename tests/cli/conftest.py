"""Commands run in this process over a library in memory; true processes are in test_processes.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbguard import app
from nbguard.cli.main import run
from nbguard.model import DraftKind, Version
from tests.library import MemoryLibrary


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    raw: bytes
    talk: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> object:
        return json.loads(self.raw)

    def object(self) -> dict[str, object]:
        """The one JSON object."""
        found = self.json
        assert isinstance(found, dict)
        return found


@dataclass
class Cli:
    """The command line over a library in memory."""

    library: MemoryLibrary
    decisions: list[tuple[DraftKind, Version]]
    ensured: list[bool]
    call: Callable[..., Answer]

    def __call__(self, *arguments: str) -> Answer:
        return self.call(*arguments)


@pytest.fixture
def berlin() -> Generator[None]:
    """The wall clock of Berlin, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def cli(
    berlin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Cli:
    library = MemoryLibrary(root=str(tmp_path))
    decisions: list[tuple[DraftKind, Version]] = []
    ensured: list[bool] = []

    def record(context: object, kind: DraftKind, version: Version) -> None:
        decisions.append((kind, version))
        library.decide(kind, version)

    def call(*arguments: str) -> Answer:
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        captured = capsysbinary.readouterr()
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, captured.out, captured.err.decode())

    monkeypatch.setattr(app, "open_library", lambda context, progress=None: library)
    monkeypatch.setattr(app, "keeper", lambda context: library.keep, raising=False)
    monkeypatch.setattr(app, "record_decision", record)
    monkeypatch.setattr(app, "ensure_archive", lambda context: ensured.append(True))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    return Cli(library, decisions, ensured, call)
