"""The whole daemon, in any order of writes, renames, deletions, restarts and packings, against a model of the disk.

What was on the disk while things stood still was settled, and every settled state must be kept for good.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from nbguard import app
from nbguard.app_daemon import Assembly
from nbguard.archive.library import ArchiveLibrary
from nbguard.cli.context import Context
from nbguard.clock import SystemClock
from nbguard.errors import NothingMatched
from nbguard.model import Status, Trigger
from nbguard.watch import missing
from tests.helpers import notebook_bytes
from tests.journeys.guarded import sha256

_NAMES = st.sampled_from(
    ["a.ipynb", "b.ipynb", "p/a.ipynb", "p/-rf.ipynb", "p/new\nline.ipynb", "q/\udcff.ipynb", "git~1/c.ipynb"]
)
_FOLDERS = st.sampled_from(["p", "q", "git~1", "r"])
_CONTENTS = st.one_of(
    st.lists(st.text(max_size=20), max_size=4).map(lambda sources: notebook_bytes(*sources)),
    st.sampled_from([b"", b"{", b"[]", b'{"cells": []}', b"\0" * 100, notebook_bytes("same"), notebook_bytes()]),
)
_WAYS = st.sampled_from(["truncate", "replace", "unlink first"])


class HurriedClock(SystemClock):
    """The machine's clocks, but time that only passes can be skipped."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def boottime_ns(self) -> int:
        return super().boottime_ns() + int(self.ahead * 1e9)

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


class Life(RuleBasedStateMachine):
    """One installation from its first day."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="nbguard-life-"))
        self.root = self.base / "work"
        self.clock = HurriedClock()
        self.settled: set[tuple[str, str]] = set()
        self.promised: dict[str, str] = {}
        self.written: dict[str, bytes] = {}
        self.assembly: Assembly | None = None

    @initialize()
    def first_day(self) -> None:
        self.root.mkdir()
        (self.base / "guard").mkdir(mode=0o700)
        (self.base / "guard" / "config.toml").write_text(f'schema = 1\nroots = ["{self.root}"]\n')
        app.ensure_archive(self.context)
        self.start()

    @property
    def context(self) -> Context:
        return Context(home=str(self.base / "guard"), config=None)

    # -- the user --------------------------------------------------------------------------------------------------

    @rule(name=_NAMES, data=_CONTENTS, way=_WAYS)
    def write(self, name: str, data: bytes, way: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            return
        self.written[sha256(data)] = data
        if way == "replace":
            path.with_name(".tmp").write_bytes(data)
            path.with_name(".tmp").replace(path)
            return
        if way == "unlink first":
            path.unlink(missing_ok=True)
        path.write_bytes(data)

    @rule(names=st.lists(_NAMES, max_size=4), data=_CONTENTS, pause=st.booleans())
    def work(self, names: list[str], data: bytes, pause: bool) -> None:
        """Most of a day is this."""
        for number, name in enumerate(names):
            self.write(name, data + b" " * number, "truncate")
            if pause and self.assembly is not None:
                self.stand_still()

    @rule(name=_NAMES)
    def delete(self, name: str) -> None:
        if (self.root / name).is_file():
            (self.root / name).unlink()

    @rule(name=_NAMES, new=_NAMES, copy=st.booleans())
    def rename(self, name: str, new: str, copy: bool) -> None:
        source, target = self.root / name, self.root / new
        if not source.is_file() or source == target:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(source, target)
        else:
            source.rename(target)

    @rule(name=_FOLDERS, new=_FOLDERS)
    def rename_folder(self, name: str, new: str) -> None:
        if (self.root / name).is_dir() and not (self.root / new).exists():
            (self.root / name).rename(self.root / new)

    @precondition(lambda self: self.assembly is not None)
    @rule(name=_NAMES)
    def snapshot(self, name: str) -> None:
        """As the command does: in a process of its own, while the daemon runs."""
        path = os.path.normpath(self.root / name)
        if not os.path.isfile(path):
            return
        try:
            version = app.keeper(self.context)(path, Trigger.SNAPSHOT)
        except NothingMatched:
            return
        assert version.sha256 == sha256(Path(path).read_bytes())
        self.promised[version.id] = version.sha256

    # -- the daemon ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.assembly is not None)
    @rule()
    def stand_still(self) -> None:
        """Until the daemon has seen everything there is to see; then look at what it made of it."""
        assembly = self.assembly
        assert assembly is not None
        assembly.watcher.sweep_now()
        for _ in range(40):
            assembly.watcher.step(self.clock.monotonic())
            assembly.saves.step(0.0)
            self.clock.ahead += 2.0
            if not assembly.saves.pending() and not assembly.saves._missing.is_gathering:
                break
        self.clock.ahead += 2 * missing._LOOK_AGAIN_SECONDS  # what was out of reach before is judged only now and then
        assembly.saves.step(0.0)
        assembly.recorder.drain()
        on_disk = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.endswith(".ipynb"):
                    path = os.path.join(folder, name)
                    on_disk[path] = sha256(Path(path).read_bytes())
        library = self.library()
        for path, digest in on_disk.items():
            ((_, notebook), *_) = library.named(path)
            assert next(v for v in library.log(notebook) if v.tip).sha256 == digest, path
        alive = {entry.path for entry in library.entries(deleted=False)}
        absent = {path for path, _ in self.settled if path in alive and path not in on_disk}
        # Not there, and not believed deleted, only where the folder is gone with it.
        assert all(not os.path.isdir(os.path.dirname(path)) for path in absent), absent
        self.settled |= set(on_disk.items())

    @precondition(lambda self: self.assembly is not None)
    @rule()
    def hear_events(self) -> None:
        assert self.assembly is not None
        self.assembly.saves.step(0.0)
        self.assembly.recorder.drain()

    @precondition(lambda self: self.assembly is not None)
    @rule()
    def pack(self) -> None:
        assert self.assembly is not None
        self.assembly.packer.pack()
        self.assembly.recorder.count_spool()

    @precondition(lambda self: self.assembly is not None)
    @rule(politely=st.booleans())
    def stop(self, politely: bool) -> None:
        """SIGTERM, or not."""
        assert self.assembly is not None
        if politely:
            self.assembly.end()
        else:
            self.assembly.watcher.stop()
        self.close()

    @precondition(lambda self: self.assembly is None)
    @rule(without_catalog=st.booleans())
    def start(self, without_catalog: bool = False) -> None:
        if without_catalog:
            for path in (self.base / "guard" / "state").glob("catalog.sqlite*"):
                path.unlink()
        self.assembly = Assembly(self.context, [str(self.root)], self.clock)
        self.assembly.begin()
        self.assembly.import_first()

    def close(self) -> None:
        assert self.assembly is not None
        for store in (self.assembly.recording, self.assembly.packing):
            store.catalog.close()
        self.assembly = None

    def library(self) -> ArchiveLibrary:
        assert self.assembly is not None
        store = self.assembly.recording
        store.folder.catch_up()
        return ArchiveLibrary(catalog=store.catalog, archive=store.archive, spool=store.spool)

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if (self.base / "guard").exists():
                if self.assembly is None:
                    self.start()
                self.stand_still()
                self.nothing_is_lost()
                self.pack()
                self.nothing_is_lost()
        finally:
            if self.assembly is not None:
                self.assembly.watcher.stop()
                self.close()
            shutil.rmtree(self.base)

    def nothing_is_lost(self) -> None:
        library = self.library()
        kept: set[tuple[str, str]] = set()
        versions = {}
        for deleted in (False, True):
            for entry in library.entries(deleted=deleted):
                for version in library.log(entry.notebook):
                    versions[version.id] = version
                    if version.status is not Status.DELETED:
                        data = library.read(version)
                        assert data == self.written[sha256(data)], "bytes that nobody wrote"
                        kept.add((version.path, sha256(data)))
        library.close()
        assert self.settled <= kept
        for identity, digest in self.promised.items():
            assert versions[identity].sha256 == digest
        assert {version.saved_at <= datetime.now(UTC) + timedelta(days=2) for version in versions.values()} <= {True}
        git = ["git", "-C", str(self.base / "guard" / "archive.git"), "fsck", "--strict", "--no-dangling"]
        assert subprocess.run(git, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("lives", "steps"),
    [(8, 30), pytest.param(150, 60, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
)
def test_every_settled_state_is_kept_whatever_happens_in_whatever_order(
    lives: int, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
