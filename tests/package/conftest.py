"""Packages made from a library in memory, and restore.py run as a stranger would: a bare Python, no site, no path."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from nbguard.app_package import everything_in, export_story, holder_in, rebuild_stories
from nbguard.archive.names import escape_component, fast_import_path, tree_path
from nbguard.archive.trailers import subject_of, trailers_of
from nbguard.executed import ExecutedCell, Generation, HistorySession, Link, Record, Run
from nbguard.history.timeline import choose
from nbguard.package import restore
from nbguard.package.build import Parts, build
from nbguard.package.contents import Chosen, Order, PackageReport
from nbguard.recover.page import as_html
from nbguard.recover.wording import local
from tests.library import MemoryLibrary

MADE_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class MemoryExecuted:
    """An ExecutedLibrary in memory."""

    records: list[Record] = field(default_factory=list)

    def generations(self) -> list[Generation]:
        return [record for record in self.records if isinstance(record, Generation)]

    def sessions(self) -> list[HistorySession]:
        return [record for record in self.records if isinstance(record, HistorySession)]

    def cells(self, generation: str, session: int) -> list[ExecutedCell]:
        cells = [record for record in self.records if isinstance(record, ExecutedCell)]
        return [cell for cell in cells if (cell.generation, cell.session) == (generation, session)]

    def links(self) -> list[Link]:
        return [record for record in self.records if isinstance(record, Link)]

    def runs(self, *, kernel: str | None = None, path: str | None = None) -> list[Run]:
        runs = [record for record in self.records if isinstance(record, Run)]
        return [run for run in runs if kernel in (None, run.kernel) and path in (None, run.path)]


@dataclass
class Packing:
    """A library in memory, and packages of it in ``folder``."""

    folder: Path
    library: MemoryLibrary = field(default_factory=MemoryLibrary)
    executed: MemoryExecuted = field(default_factory=MemoryExecuted)
    outputs: dict[str, str] = field(default_factory=dict)

    def parts(self) -> Parts:
        return Parts(
            library=self.library,
            read=lambda version: iter([self.library.read(version)]),
            escape=escape_component,
            tree_path=lambda path: fast_import_path(tree_path(path)),
            message_of=lambda version: f"{subject_of(version)}\n\n{trailers_of(version)}",
            now=lambda: MADE_AT,
            executed=self.executed,
            holder_at=holder_in(self.library),
            choose_link=lambda links, at: choose(links, at).link,
            export=lambda story: export_story(story, self.outputs.get),
            rebuild=lambda base, stories: rebuild_stories(base, stories, self.outputs.get, MADE_AT),
            databases=lambda: [],
            as_page=lambda data, name, subtitle: as_html(data, name=name, subtitle=subtitle),
            in_words=lambda moment: local(moment, UTC),
            close=lambda: None,
        )

    def order(self, *paths: str, at: datetime | None = None) -> Order:
        """Of these paths; of everything without any."""
        if not paths:
            every = tuple(replace(chosen, at=at) for chosen in everything_in(self.library))
            return Order(notebooks=every, unsaved=True, everything=True, at=at)
        named = {path: self.library.named(path) for path in paths}
        chosen = [Chosen(path=path, notebook=found[0][1] if found else "", at=at) for path, found in named.items()]
        return Order(notebooks=tuple(chosen), at=at)

    def build(self, *paths: str, name: str = "p.zip", at: datetime | None = None) -> PackageReport:
        target = str(self.folder / name)
        return build(self.parts(), self.order(*paths, at=at), target, lambda done, total: None)


@pytest.fixture
def packing(tmp_path: Path) -> Packing:
    folder = tmp_path / "out"
    folder.mkdir()
    return Packing(folder)


def manifest_of(package: str | Path) -> Any:
    """MANIFEST.json of a zip."""
    with zipfile.ZipFile(package) as opened:
        return json.loads(opened.read("MANIFEST.json"))


@dataclass(frozen=True)
class Said:
    """What restore.py said."""

    code: int
    out: str
    err: str


def restore_here(*arguments: str | Path) -> Said:
    """restore.py in this process: where there are many, and each would be a process of its own."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = restore.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(str(end.code))
    return Said(code, out.getvalue(), err.getvalue())


def run_restore(*arguments: str | Path, script: str | Path | None = None, seconds: float = 60) -> Said:
    """restore.py (or ``script``) in a bare interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script or restore.__file__), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={},
    )
    return Said(done.returncode, done.stdout, done.stderr)
