"""One installation with its daemon as a process of its own: what whole journeys are told with."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nbguard.app import open_store
from nbguard.cli.context import Context
from nbguard.errors import NbguardError
from tests.helpers import REPOSITORY, Answer, poll

# Everything that a user may wait minutes for, in a second or two.
QUICK = {
    "intervals": {"sweep_seconds": 2.0, "guard_seconds": 1.0, "heartbeat_seconds": 0.5, "poll_seconds": 2.0},
    "limits": {"slow_interval_seconds": 3.0},
}
_Answer = TypeVar("_Answer")
Tables = Mapping[str, Mapping[str, float | int]]


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def configuration(roots: Sequence[Path], *, tables: Tables | None = None, **top: str | list[str]) -> str:
    """A configuration file's text: quick intervals, unless ``tables`` say otherwise."""
    values: dict[str, object] = {"schema": 1, "roots": [str(root) for root in roots], **top}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    merged = {name: {**QUICK.get(name, {}), **(tables or {}).get(name, {})} for name in {*QUICK, *(tables or {})}}
    for name, numbers in merged.items():
        lines += ["", f"[{name}]", *(f"{key} = {number!r}" for key, number in numbers.items())]
    return "\n".join(lines) + "\n"


@dataclass
class Guarded:
    """``home`` is NBGUARD_HOME; ``before`` are words put before every command (setpriv, prlimit …)."""

    home: Path
    roots: Sequence[Path]
    environment: dict[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    configured: Mapping[str, str | list[str]] = field(default_factory=dict)

    @property
    def archive(self) -> Path:
        return Path(str(self.configured.get("archive", self.home / "archive.git")))

    @property
    def log_of_daemon(self) -> str:
        """What the daemon said so far, for messages of failed tests."""
        with contextlib.suppress(OSError):
            return (self.home.parent / f"{self.home.name}.said").read_text(errors="replace")[-3000:]
        return ""

    def configure(self, *, tables: Tables | None = None, **top: str | list[str]) -> None:
        """Write the configuration."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.configured = top
        text = configuration(self.roots, tables=tables, **top)
        (self.home / "config.toml").write_text(text, encoding="utf-8")

    def env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), "NBGUARD_HOME": str(self.home), **self.environment}

    def words(self, *arguments: str) -> list[str]:
        return [*self.before, sys.executable, "-m", "nbguard", *arguments]

    def start(self, *arguments: str, ready: bool = True) -> None:
        """Start the daemon; ``ready`` waits until its workers run and its roots are watched."""
        assert self.process is None or self.process.poll() is not None, "a daemon runs already"
        self.starts += 1
        with open(self.home.parent / f"{self.home.name}.said", "ab") as said:
            self.process = subprocess.Popen(
                self.words("run", *arguments),
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        if ready:
            self.until_ready()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def until_ready(self, seconds: float = 30.0) -> None:
        """Until a heartbeat of this process says that every root was swept."""

        def ready() -> bool:
            assert self.process is not None
            code = self.process.poll()
            assert code is None, f"the daemon ended with {code}: {self.log_of_daemon}"
            beat = self.heartbeat()
            return beat.get("pid") == self.pid and all(
                root["last_sweep_at"] is not None or not os.path.isdir(root["path"]) for root in beat["roots"]
            )

        poll(ready, seconds, every=0.05)

    def heartbeat(self) -> dict[str, Any]:
        """What the daemon last wrote of itself; empty before it did."""
        try:
            found = json.loads((self.home / "state" / "heartbeat.json").read_bytes())
        except (OSError, ValueError):
            return {}
        assert isinstance(found, dict)
        return found

    def kill(self) -> None:
        """End daemon and children at once, as the power button would end them."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.wait(20) in (-signal.SIGKILL, 0)

    def stop(self) -> int:
        """End the daemon politely; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(40)

    def nbguard(self, *arguments: str, cwd: Path | None = None, seconds: float = 120.0) -> Answer:
        """Any other command, as a process."""
        done = subprocess.run(
            self.words(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            env=self.env(),
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def show(self, notebook: Path | str, *when: str) -> bytes:
        """The exact bytes of one version."""
        done = subprocess.run(
            self.words("show", str(notebook), *when),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env=self.env(),
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def log(self, notebook: Path | str) -> list[dict[str, Any]]:
        """``log --json``, newest first; empty while nothing is kept of it."""
        answer = self.nbguard("log", str(notebook), "--json")
        if answer.code in (1, 10):
            return []
        assert answer.code == 0, answer.talk
        rows = answer.json
        assert isinstance(rows, list)
        return rows

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        """``list --json``."""
        answer = self.nbguard("list", "--json", *arguments)
        assert answer.code == 0, answer.talk
        rows = answer.json
        assert isinstance(rows, list)
        return rows

    def status(self) -> dict[str, Any]:
        """``status --json``, whatever its exit code."""
        answer = self.nbguard("status", "--json")
        found = answer.json
        assert isinstance(found, dict)
        return {**found, "exit_code": answer.code}

    def codes(self) -> set[str]:
        """The problem codes that status names now."""
        return {problem["code"] for problem in self.status()["problems"]}

    def problem(self, code: str, below: Path | None = None) -> dict[str, Any] | None:
        """The problem of that code, about anything or about something in that folder."""
        for problem in self.status()["problems"]:
            if problem["code"] == code and (below is None or Path(problem["subject"]).is_relative_to(below)):
                assert isinstance(problem, dict)
                return problem
        return None

    def until_code(self, code: str, seconds: float = 60.0, *, below: Path | None = None) -> dict[str, Any]:
        """Until status names that problem; gives it."""
        found = poll(self._now_and_then(lambda: self.problem(code, below)), seconds, every=0.05)
        assert found is not None
        assert found["message"]
        assert found["hint"]
        return found

    def until_no_code(self, code: str, seconds: float = 60.0, *, below: Path | None = None) -> None:
        """Until status does not name that problem (any more)."""
        poll(self._now_and_then(lambda: self.problem(code, below) is None), seconds, every=0.05)

    def _now_and_then(self, ask: Callable[[], _Answer]) -> Callable[[], _Answer | None]:
        """Ask when the daemon has something else to tell, and once in two seconds: commands cost more than looks."""
        told: object = None
        due = 0.0

        def asked() -> _Answer | None:
            nonlocal told, due
            news = self.heartbeat().get("problems")
            if news == told and time.monotonic() < due:
                return None
            told, due = news, time.monotonic() + 2.0
            return ask()

        return asked

    def until_kept(self, notebook: Path | str, data: bytes, seconds: float = 20.0) -> None:
        """Until the newest version of a notebook (its absolute path) is these bytes."""
        wanted = sha256(data)
        poll(lambda: self.newest(os.fspath(notebook)) == wanted, seconds, every=0.05)

    def newest(self, path: str) -> str | None:
        """The sha256 of the newest version; what `log` would say first, without a process for every look."""
        context = Context(home=str(self.home), config=None)
        try:
            store = open_store(context)
            try:
                store.folder.catch_up()
                for _, notebook in store.catalog.named(path)[:1]:
                    return store.catalog.log(notebook)[0].sha256
            finally:
                store.catalog.close()
        except (NbguardError, sqlite3.Error):
            return None
        return None

    def spooled(self) -> dict[str, dict[str, Any]]:
        """The acknowledged drafts by their ids, read as anybody could: a JSON line, then the bytes."""
        found: dict[str, dict[str, Any]] = {}
        for folder in (self.home / "spool" / "new", self.home / "emergency" / "spool" / "new"):
            with contextlib.suppress(FileNotFoundError):
                for path in list(folder.iterdir()):
                    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                        header = json.loads(file.readline())
                        found[header["id"]] = {**header, "file": path, "actual": sha256(file.read())}
        return found

    def git(self, *arguments: str) -> bytes:
        """Stock git on the archive, without the user's configuration."""
        environment = {**self.env(), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        for name in ("GIT_DIR", "GIT_WORK_TREE"):
            environment.pop(name, None)
        done = subprocess.run(
            ["git", "-C", str(self.archive), *arguments], capture_output=True, env=environment, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def fsck(self) -> None:
        """The archive is sound by git's strictest check."""
        self.git("fsck", "--strict", "--full", "--no-dangling")

    def close(self) -> None:
        """Whatever runs ends."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def path_of(row: Mapping[str, Any]) -> bytes:
    """The exact path of a row of JSON."""
    if "path_b64" in row:
        return base64.b64decode(row["path_b64"])
    return os.fsencode(row["path"])


@contextmanager
def guarding(
    base: Path,
    *roots: Path,
    tables: Tables | None = None,
    start: bool = True,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    **top: str | list[str],
) -> Generator[Guarded]:
    """A configured installation below ``base`` with a running daemon, until the block ends."""
    for root in roots:
        root.mkdir(parents=True, exist_ok=True)
    guarded = Guarded(base / "guard", roots, dict(environment or {}), before)
    guarded.configure(tables=tables, **top)
    try:
        if start:
            guarded.start()
        yield guarded
    finally:
        guarded.close()


def pause_until(moment: float) -> None:
    """Wait for a point in monotonic time: the pace of a person who saves, not a way to wait for nbguard."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)
