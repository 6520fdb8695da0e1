"""Two machines and a mirror between them: homes of their own, real archives, real git."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from nbguard.cli.main import run
from nbguard.mirror.layout import MirrorHeartbeat, Namespace, heartbeat_text, namespace_of
from tests.helpers import REPOSITORY, Answer, notebook_bytes

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@dataclass
class Machine:
    """An installation with a home of its own; commands run in it as processes."""

    home: Path
    name: str = "here"

    @property
    def guard(self) -> Path:
        return self.home / ".nbguard"

    @property
    def archive(self) -> Path:
        return self.guard / "archive.git"

    @property
    def work(self) -> Path:
        folder = self.home / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def install(self) -> str:
        return (self.guard / "state" / "install-id").read_text().strip()

    @property
    def namespace(self) -> str:
        return namespace_of(self.name, "ada", self.install)

    @property
    def environment(self) -> dict[str, str]:
        self.home.mkdir(parents=True, exist_ok=True)
        return {**os.environ, "HOME": str(self.home), "NBGUARD_HOME": str(self.guard), "PYTHONPATH": str(REPOSITORY)}

    def nbguard(self, *arguments: str) -> Answer:
        """A command of this machine in a process that is forked: what it has to import is here already."""
        self.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as talk, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child touches nothing of pytest's threads
            pid = os.fork()
            if pid == 0:
                self._become(out.fileno(), talk.fileno(), arguments)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return Answer(code, _text(out), _text(talk))

    def _become(self, out: int, talk: int, arguments: Sequence[str]) -> None:
        code: object = 97
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(talk, 2)
            sys.stdin = os.fdopen(0, closefd=False)
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), "utf-8")
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), "utf-8", write_through=True)
            os.environ.update(self.environment)
            os.chdir(self.home)
            run(arguments)
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 - a forked child must not go on as pytest
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code if isinstance(code, int) else 98)

    def process(self, *arguments: str) -> Answer:
        """The same, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "nbguard", *arguments],
            input="",
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.home,
            env=self.environment,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def save(self, name: str, *texts: str) -> Path:
        """Save a notebook and keep each state of it."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in texts:
            path.write_bytes(notebook_bytes(text))
            assert self.nbguard("snapshot", str(path)).code == 0
        return path

    def pack(self) -> None:
        done = self.nbguard("run", "--once", "--watch", str(self.work))
        assert done.code == 0, done.talk

    def git(self, *arguments: str) -> str:
        return git(self.archive, *arguments)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    """Stock git in a bare repository."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", f"--git-dir={folder}", *arguments],
        input=data,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make_mirror(folder: Path) -> Path:
    subprocess.run(["git", "init", "--bare", "--quiet", str(folder)], check=True)
    return folder


def push(machine: Machine, mirror: Path, *, namespace: str | None = None) -> str:
    """As the pusher does: both branches into the machine's namespace; returns that."""
    namespace = namespace or machine.namespace
    names = Namespace(namespace)
    specs = [f"refs/heads/main:{names.main}"]
    if machine.git("for-each-ref", "refs/heads/records"):
        specs.append(f"refs/heads/records:{names.records}")
    machine.git("push", "--quiet", str(mirror), *specs)
    return namespace


def put_file(mirror: Path, ref: str, name: str, data: bytes) -> str:
    """One small commit with one file, as heartbeats are; returns the commit."""
    blob = git(mirror, "hash-object", "-w", "--stdin", data=data)
    tree = git(mirror, "mktree", data=f"100644 blob {blob}\t{name}\n".encode())
    commit = git(mirror, "-c", "user.name=n", "-c", "user.email=n@l", "commit-tree", "-m", "x", tree)
    git(mirror, "update-ref", ref, commit)
    return commit


def beat(
    mirror: Path,
    namespace: str,
    sequence: int,
    *,
    at: datetime = NOW,
    state: str = "ok",
    exit_code: int = 0,
    raw: bytes | None = None,
) -> None:
    """A heartbeat in a namespace; ``raw`` puts other bytes there."""
    life = MirrorHeartbeat(
        install=namespace.rpartition("-")[2],
        host="far",
        user="ada",
        sequence=sequence,
        boot="b" * 32,
        at=at,
        version="1.0",
        every_seconds=900.0,
        state=state,
        exit_code=exit_code,
    )
    put_file(mirror, Namespace(namespace).heartbeat, "heartbeat.json", raw if raw is not None else heartbeat_text(life))


def problems_of(answer: Answer) -> list[str]:
    return [each["code"] for each in json.loads(answer.out)["problems"]]
