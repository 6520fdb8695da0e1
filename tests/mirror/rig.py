"""An installation that mirrors: real archive, real git, and a clock that tests hold."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbguard import app, app_mirror
from nbguard.archive.packer import Packer
from nbguard.archive.spool import Reserve
from nbguard.cli.context import Context
from nbguard.mirror.folder import make_mirror
from nbguard.mirror.layout import Namespace
from nbguard.mirror.standing import MirrorState
from nbguard.mirror.state import Known, StateFile, key_of
from nbguard.mirror.worker import Rounds
from nbguard.settings import Mirror, Settings
from tests.helpers import notebook_bytes


class MirrorClock:
    """The wall where tests set it; boot time goes with it, and the boot was long ago."""

    def __init__(self) -> None:
        self.wall = datetime.now(UTC)
        self.passed = 0.0

    def now(self) -> datetime:
        return self.wall

    def boottime_ns(self) -> int:
        return int((10_000_000 + self.passed) * 1e9)

    def monotonic(self) -> float:
        return 10_000_000 + self.passed

    def move(self, seconds: float) -> None:
        self.passed += seconds
        self.wall += timedelta(seconds=seconds)


@dataclass
class Rig:
    """``base`` holds everything: notebooks, nbguard's home, and mirrors as a test makes them."""

    base: Path
    urls: list[str] = field(default_factory=list)
    clock: MirrorClock = field(default_factory=MirrorClock)
    stop: threading.Event = field(default_factory=threading.Event)
    count: int = 0
    network: str = "at home"

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        return self.base / "notebooks"

    @property
    def home(self) -> Path:
        return self.base / "nbguard"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def archive(self) -> Path:
        return self.home / "archive.git"

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        return tuple(Mirror(name=f"m{number}", url=url) for number, url in enumerate(self.urls))

    @property
    def context(self) -> Context:
        context = Context(home=str(self.home), config=None)
        context.__dict__["settings"] = Settings(roots=(str(self.root),), mirrors=self.mirrors)
        return context

    def keep(self, *texts: str) -> None:
        """A new notebook for each text, and its first version, in the archive."""
        for text in texts:
            self.count += 1
            (self.root / f"{self.count}.ipynb").write_bytes(notebook_bytes(text))
            app.ensure_archive(self.context)
            report = app.import_roots(self.context, (str(self.root),), lambda done, total: None)
            assert report.versions == 1
            self.pack()

    def pack(self) -> None:
        """What was kept by way of the spool."""
        store = app.open_store(self.context)
        Packer(
            archive=store.archive,
            spool=store.spool,
            catalog=store.catalog,
            folder=store.folder,
            reserve=Reserve(bytes=0, percent=0.0),
        ).pack()
        store.catalog.close()

    def disk(self, name: str = "disk/mirror.git") -> Path:
        """A new mirror on a path of ours, and configured."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_mirror(str(path))
        self.urls.append(str(path))
        return path

    def rounds(self) -> Rounds:
        """As a daemon that has just been started would make them."""
        made = app_mirror.rounds_of(self.context, clock=self.clock, stop=self.stop)
        object.__setattr__(made._sources, "network", lambda: self.network)
        return made

    def push(self, number: int = 0, *, whole: bool = False) -> MirrorState:
        """One try at one mirror, now."""
        return self.rounds().try_one(self.mirrors[number], whole=whole)

    def known(self, number: int = 0) -> MirrorState:
        """What is remembered of a mirror."""
        mirror = self.mirrors[number]
        return StateFile(str(self.state)).of(key_of(mirror.name, mirror.url))

    def all_known(self) -> Known:
        return StateFile(str(self.state)).read()

    @property
    def space(self) -> Namespace:
        return Namespace(self.all_known().namespace)

    def tip(self) -> str:
        return git(self.archive, "rev-parse", "main")


def git(folder: Path, *words: str, data: bytes | None = None) -> str:
    """Stock git on a repository, as a person would run it; its answer. AssertionError where it fails."""
    done = subprocess.run(
        ["git", f"--git-dir={folder}", *words],
        input=data,
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "somebody",
            "GIT_AUTHOR_EMAIL": "else@localhost",
            "GIT_COMMITTER_NAME": "somebody",
            "GIT_COMMITTER_EMAIL": "else@localhost",
        },
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def refs(folder: Path) -> dict[str, str]:
    """Every ref of a repository."""
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


def commit_of(folder: Path, name: str, text: bytes) -> str:
    """A commit by somebody else, with one file."""
    blob = git(folder, "hash-object", "-w", "--stdin", data=text)
    tree = git(folder, "mktree", data=f"100644 blob {blob}\t{name}\n".encode())
    return git(folder, "commit-tree", tree, "-m", "not ours")
