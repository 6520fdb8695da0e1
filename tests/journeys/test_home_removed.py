"""A home that is removed, or only nbguard's folders in it, where nothing is configured and no kernel runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from nbguard.places import open_to_all
from tests.helpers import REPOSITORY, notebook_bytes, poll


class Installation:
    """Default places in a home of its own; the emergency place is the real one, and removed afterwards."""

    def __init__(self, base: Path) -> None:
        self.home = base / "home"
        self.work = self.home / "work"
        self.work.mkdir(parents=True)
        for other in ("music", "mail", "photos"):
            (self.home / other).mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NBGUARD_"))}
        self.environment = {**kept, "HOME": str(self.home), "PYTHONPATH": str(REPOSITORY)}
        self.said = base / "said"
        self.process: subprocess.Popen[bytes] | None = None
        (self.work / "first.ipynb").write_bytes(notebook_bytes("first = 1"))
        done = self.nbguard("setup", "--watch", str(self.work), "--no-service", "--yes")
        assert done.returncode == 0, done.stderr
        with open(self.home / ".config/nbguard/config.toml", "a", encoding="utf-8") as config:
            config.write("\n[intervals]\nheartbeat_seconds = 0.5\n")
        identity = (self.state / "archive-made").read_text()[:12]
        self.name = f"nbguard-{os.getuid()}-{identity}"
        self.foreseen = Path(open_to_all()) / self.name

    @property
    def state(self) -> Path:
        return self.home / ".local/state/nbguard"

    @property
    def spool(self) -> Path:
        return self.home / ".local/share/nbguard/spool"

    @property
    def emergency(self) -> Path:
        """The one that is used."""
        (found,) = [path for path in self.places() if path.is_dir() and path.stat().st_mode & 0o077 == 0]
        return found

    def places(self) -> list[Path]:
        return sorted(Path(open_to_all()).glob(f"{self.name}*"))

    def nbguard(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nbguard", *words],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> None:
        with open(self.said, "ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nbguard", "run"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        poll(lambda: any((place / "kept").is_dir() for place in self.places()), 30, every=0.1)
        poll(self._is_swept, 30, every=0.1)

    def _is_swept(self) -> bool:
        try:
            beat = json.loads((self.state / "heartbeat.json").read_bytes())
        except (OSError, ValueError):
            return False
        return all(root["last_sweep_at"] is not None for root in beat["roots"])

    def save(self, name: str, *sources: str) -> bytes:
        """Save, and wait until it is kept."""
        data = notebook_bytes(*sources)
        (self.work / name).write_bytes(data)
        folders = (self.spool / "new", self.emergency / "spool" / "new")
        poll(lambda: any(path.read_bytes().endswith(data) for each in folders for path in files(each)), 20)
        return data

    def problems(self, **more: str) -> list[dict[str, Any]]:
        found = json.loads(self.nbguard("status", "--json", **more).stdout)["problems"]
        assert isinstance(found, list)
        return found

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        for place in self.places():
            if place.is_symlink():
                place.unlink()
            else:
                shutil.rmtree(place)


def files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


@pytest.fixture
def installed(tmp_path: Path) -> Generator[Installation]:
    made = Installation(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_where_somebody_made_the_emergency_place_first_another_takes_all(
    installed: Installation, tmp_path: Path
) -> None:
    (tmp_path / "trap").mkdir()
    installed.foreseen.symlink_to(tmp_path / "trap")
    installed.start()
    (refused,) = [one for one in installed.problems() if one["code"] == "emergency-refused"]
    assert f"{installed.foreseen} is a symlink" in refused["message"]
    data = installed.save("first.ipynb", "first = 2")

    subprocess.run(f"rm -rf {installed.home}", shell=True, check=True)
    assert not installed.home.exists()
    package = installed.emergency / "nbguard-recovery.zip"
    poll(package.exists, 30, every=0.1)
    assert installed.emergency != installed.foreseen
    with zipfile.ZipFile(package) as opened:
        contents = [opened.read(name) for name in opened.namelist()]
    assert data in contents
    assert notebook_bytes("first = 1") in contents
    assert files(tmp_path / "trap") == []
    assert not installed.home.exists(), "nothing is made anew"
    elsewhere = {"HOME": str(tmp_path / "new home")}
    (wiped,) = [one for one in installed.problems(**elsewhere) if one["code"] == "home-wiped"]
    assert str(package) in wiped["message"]

    there = {**elsewhere, "NBGUARD_HOME": str(installed.emergency)}
    shown = installed.nbguard("show", str(installed.work / "first.ipynb"), **there)
    assert shown.stdout.encode() == data, shown.stderr
    assert installed.process is not None
    installed.process.terminate()
    assert installed.process.wait(30) == 0


@pytest.mark.long
def test_a_spool_that_is_removed_loses_no_version(installed: Installation) -> None:
    installed.start()
    first = installed.save("first.ipynb", "first = 'spooled only'")
    shutil.rmtree(installed.spool)
    assert not installed.spool.exists()
    second = installed.save("second.ipynb", "second = 1")
    assert not installed.spool.exists(), "not while somebody may be removing more"

    def shows(name: str, data: bytes) -> bool:
        return installed.nbguard("show", str(installed.work / name)).stdout.encode() == data

    poll(lambda: shows("first.ipynb", first), 20, every=0.5)
    poll(lambda: shows("second.ipynb", second), 20, every=0.5)
    (problem,) = poll(
        lambda: [one for one in installed.problems() if one["code"] == "own-files-removed"], 15, every=0.5
    )
    assert str(installed.spool) in problem["message"]
