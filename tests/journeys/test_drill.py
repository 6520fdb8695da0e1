"""The drill: the whole home is removed under running kernels and the running daemon, and everything is in the package.

Python itself, its packages and nbguard lie in that home, as do archive, spool and state. Nothing is simulated.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from nbguard.app_history import executed_library
from nbguard.archive.executed_library import ExecutedArchive
from nbguard.cli.context import Context
from nbguard.places import open_to_all
from tests.helpers import REPOSITORY, poll
from tests.journeys.guarded import configuration
from tests.journeys.jupyter_server import JupyterServer, notebook
from tests.journeys.python_inside import python_inside

WITHIN_SECONDS = 60.0
MOST_PSS_BYTES = 130_000_000
NAMES = ("eda.ipynb", "model.ipynb", "päper 1.ipynb")


@dataclass
class Tab:
    """A notebook with its kernel, as an open tab: cells run in order, saved now and then."""

    name: str
    client: BlockingKernelClient
    cells: list[dict[str, Any]] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)

    def run(self, source: str) -> None:
        """Run a cell; it has its outputs afterwards."""
        outputs: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(
            source, timeout=60, output_hook=lambda message: outputs.append(_as_output(message)), allow_stdin=False
        )
        cell = dict(notebook(source)["cells"][0])
        number = reply["content"]["execution_count"]
        found = [output for output in outputs if output]
        self.cells.append({**cell, "id": f"cell-{number}", "execution_count": number, "outputs": found})

    def save(self, server: JupyterServer) -> None:
        self.saved.append(server.save(self.name, {**notebook(), "cells": self.cells}))


def _as_output(message: dict[str, Any]) -> dict[str, Any]:
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        return {"output_type": "stream", "name": content["name"], "text": content["text"]}
    if kind == "execute_result":
        return {"output_type": kind, **{key: content[key] for key in ("data", "metadata", "execution_count")}}
    return {}


class Scratch:
    """A home with Python, a server, a daemon and three open notebooks in it."""

    def __init__(self, base: Path, *, configured: bool) -> None:
        self.home = base / "home"
        self.home.mkdir(mode=0o700)
        for other in ("music", "mail", ".config"):
            (self.home / other).mkdir()
        self.said = base / "said"
        self.python = python_inside(self.home / "python")
        self.server = JupyterServer(self.home, self.home / "work")
        self.server.python = str(self.python)
        self.tabs: list[Tab] = []
        self.daemon: subprocess.Popen[bytes] | None = None
        self.nbguard = self.home / ".nb"
        self.more = {"NBGUARD_HOME": str(self.nbguard)}
        self.nbguard.mkdir(mode=0o700)
        self.emergency = base / "emergency"
        self.is_configured = configured
        top = {"emergency": str(self.emergency)} if configured else {}
        text = configuration([self.server.root], tables=None, **top)
        (self.nbguard / "config.toml").write_text(text, encoding="utf-8")

    def begin(self) -> None:
        self.server.start()
        for name in NAMES:
            self.server.save(name, notebook("import math"))
        with open(self.said, "ab") as said:
            self.daemon = subprocess.Popen(
                [self.python, "-m", "nbguard", "run"],
                env={**self.server.environment(), **self.more},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        poll(self._is_swept, 60, every=0.1)
        if not self.is_configured:
            identity = (self.nbguard / "state" / "archive-made").read_text().strip()
            self.emergency = Path(open_to_all()) / f"nbguard-{os.getuid()}-{identity[:12]}"
            assert not self.emergency.exists()
        for name in NAMES:
            self.tabs.append(Tab(name, self._client(name)))

    def _is_swept(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, self.said.read_text()[-3000:]
        with contextlib.suppress(OSError, ValueError):
            beat = json.loads((self.nbguard / "state" / "heartbeat.json").read_bytes())
            return all(root["last_sweep_at"] is not None for root in beat["roots"]) and bool(beat["kept"])
        return False

    def _client(self, name: str) -> BlockingKernelClient:
        self.server.open(name)
        (kernel,) = [one["kernel"]["id"] for one in self.server.ask("GET", "/api/sessions") if one["path"] == name]
        client = BlockingKernelClient(connection_file=str(self.server.runtime / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()

        def is_ready() -> bool:
            try:
                client.wait_for_ready(timeout=60)
            except RuntimeError:  # "died": its heart does not beat yet
                return False
            return True

        poll(is_ready, 60)
        return client

    def until_heard(self) -> None:
        """Until the daemon knows whose each kernel is, and records what they run. Busy ones are not asked: we wait."""
        for tab in self.tabs:
            tab.run("import math")
        poll(lambda: all(self._asks(lambda known, path: path in {link.path for link in known.links()})), 60, every=0.5)

        def are_heard() -> bool:
            for tab in self.tabs:
                tab.run("'are you there?'")
            return all(self._asks(lambda known, path: bool(known.runs(path=path))))

        poll(are_heard, 60, every=0.5)

    def _asks(self, ask: Callable[[ExecutedArchive, str], bool]) -> list[bool]:
        """The answers to a question about each tab's path, from what the daemon kept."""
        with contextlib.closing(executed_library(Context(home=str(self.nbguard), config=None))) as known:
            return [ask(known, str(self.server.root / tab.name)) for tab in self.tabs]

    @property
    def words(self) -> str:
        """What the daemon said, for messages of failed tests."""
        return self.said.read_text(errors="replace")[-3000:]

    def status(self) -> dict[str, Any]:
        """What `nbguard status` says afterwards, from an installation that knows nothing of this one."""
        elsewhere = self.home.parent / "another home"
        fresh = elsewhere / "fresh"
        fresh.mkdir(parents=True)
        if self.is_configured:  # in the folder that anybody finds there is nothing to be found
            text = configuration([elsewhere], emergency=str(self.emergency))
            (fresh / "config.toml").write_text(text, encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NBGUARD_"))}
        done = subprocess.run(
            [sys.executable, "-m", "nbguard", "status", "--json"],
            env={**kept, "HOME": str(elsewhere), "NBGUARD_HOME": str(fresh), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def made_anew(self) -> list[str]:
        """Whatever lies in the home now."""
        return [os.path.join(base, name) for base, _, names in os.walk(self.home) for name in names]

    @property
    def package(self) -> Path:
        return self.emergency / "nbguard-recovery.zip"

    def wipe(self) -> None:
        """`rm -rf` of all that the home holds, and again what was made meanwhile; AssertionError unless it is gone."""
        assert (self.python.parent.parent / f"lib/{self.python.name}/site-packages/nbguard").is_dir()
        for _ in range(3):
            subprocess.run(f"rm -rf '{self.home}'/* '{self.home}'/.[!.]*", shell=True, check=False)
        for gone in (self.python, self.server.root, self.nbguard, *self.home.rglob("nbguard*")):
            assert not gone.exists(), f"{gone} is still there: the fault did not fire"

    def memory_bytes(self) -> int:
        """PSS of the daemon with its children."""
        assert self.daemon is not None
        daemon = psutil.Process(self.daemon.pid)
        return sum(process.memory_full_info().pss for process in (daemon, *daemon.children(recursive=True)))

    def end(self) -> None:
        for tab in self.tabs:
            tab.client.stop_channels()
        if self.daemon is not None and self.daemon.poll() is None:
            os.killpg(self.daemon.pid, signal.SIGKILL)
            self.daemon.wait(20)
        if self.server.process is not None and self.server.process.poll() is None:
            self.server.kill()
        _end_kernels_of(self.home)
        shutil.rmtree(self.emergency, ignore_errors=True)


def _end_kernels_of(home: Path) -> None:
    """Kernels have sessions of their own; ours are known by their home."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("HOME") == str(home):
                process.kill()


@pytest.fixture(
    params=[True, pytest.param(False, marks=pytest.mark.long)], ids=["held by links", "held by descriptors"]
)
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Scratch]:
    """With an emergency place outside of the home; and without one, where it has to be found once all is gone."""
    made = Scratch(tmp_path, configured=request.param)
    try:
        made.begin()
        yield made
    finally:
        made.end()


def test_after_the_whole_home_was_removed_everything_is_in_the_package(scratch: Scratch) -> None:
    scratch.until_heard()
    for number, tab in enumerate(scratch.tabs):
        tab.run(f"import math\nprint('kept in the file {number}', math.sqrt({number}))")
        tab.run(f"{number} + 0.5")
        tab.save(scratch.server)
        tab.run(f"print('never saved:', {number} * 7)")
        tab.run(f"answer_{number} = dict(a={number})")
    assert scratch.memory_bytes() <= MOST_PSS_BYTES
    at = time.monotonic()
    scratch.wipe()
    for number, tab in enumerate(scratch.tabs):
        tab.run(f"print('after the end of the world', {number} * 11)")
        tab.run(f"[{number}] * 3")

    found = Package(scratch.package)
    while missing := found.lacks(scratch):
        assert time.monotonic() - at < WITHIN_SECONDS, f"after a minute: {missing}\n{scratch.words}"
        found.wait()
    assert scratch.memory_bytes() <= MOST_PSS_BYTES
    found.verify()
    assert stat.S_IMODE(scratch.emergency.stat().st_mode) == 0o700
    assert scratch.made_anew() == []
    (problem,) = [one for one in scratch.status()["problems"] if one["code"] == "home-wiped"]
    assert str(scratch.home) in problem["message"]
    assert str(scratch.package) in problem["message"]


class Package:
    """What lies at the emergency place, whenever it does; each one that is seen is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None

    def lacks(self, scratch: Scratch) -> str:
        """What is not in it (yet); empty when everything is."""
        if not self.path.exists():
            return "there is no package"
        with zipfile.ZipFile(self.path) as opened:
            assert opened.testzip() is None
            members = {name: opened.read(name) for name in opened.namelist()}
        manifest = json.loads(members["MANIFEST.json"])
        contents = set(members.values())
        for tab in scratch.tabs:
            path = str(scratch.server.root / tab.name)
            if any(saved not in contents for saved in tab.saved):
                return f"a saved version of {tab.name}"
            sessions = [one for one in manifest["sessions"] if one["path"] == path and one["confidence"] == "exact"]
            notebooks = [
                json.loads(members[name]) for one in sessions for name in one["members"] if name.endswith(".ipynb")
            ]
            executed = {_key(cell) for each in notebooks for cell in each["cells"]}
            for cell in tab.cells:
                if _key(cell) not in executed:
                    return f"of {tab.name}, {_key(cell)}; there are {sorted(executed)}"
        return ""

    def wait(self) -> None:
        """Until there is another one."""
        seen = self._seen

        def is_another() -> bool:
            with contextlib.suppress(FileNotFoundError):
                status = self.path.stat()
                self._seen = status.st_ino, status.st_mtime_ns
            return self._seen != seen

        with contextlib.suppress(AssertionError):
            poll(is_another, 5, every=0.2)

    def verify(self) -> None:
        """By its own means, without nbguard."""
        done = subprocess.run(
            [sys.executable, "-I", str(self.path), "--verify"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _key(cell: dict[str, Any]) -> tuple[str, str]:
    """A cell by its source and the text that it showed (of a print, what was asked for: others may print too)."""
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {}).get("text/plain")
        if data is not None:
            texts.append("".join(data))
        elif output["output_type"] == "stream":
            texts.append("".join(output["text"]))
    return "".join(cell["source"]), "".join(texts)
