"""The floor, and other tools doing the same work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Protocol

from bench.measure import folder_bytes


class Peer(Protocol):
    """Keeps one save of one file."""

    def keep(self, name: str) -> None:
        """Keep the file ``name`` as it is now under the desk."""


class Floor:
    """What durability costs by itself: copy to a temporary file, fsync, rename, fsync the folder."""

    def __init__(self, desk: str, folder: str) -> None:
        self._desk = desk
        self._folder = folder
        self._count = 0
        os.makedirs(folder)

    def keep(self, name: str) -> None:
        with open(os.path.join(self._desk, name), "rb") as file:
            data = file.read()
        self._count += 1
        temporary = os.path.join(self._folder, f"tmp-{self._count}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, os.path.join(self._folder, f"{self._count:08d}"))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Pygit2:
    """libgit2 in this process as its manual has it (add, write the index, commit), with its fsyncs on."""

    def __init__(self, desk: str) -> None:
        import pygit2

        self._repository = pygit2.init_repository(desk, initial_head="main")
        self._repository.config["core.fsyncObjectFiles"] = True
        self._who = pygit2.Signature("bench", "bench@localhost")
        self._parents: list[pygit2.Oid] = []

    def keep(self, name: str) -> None:
        index = self._repository.index
        index.add(name)
        index.write()
        commit = self._repository.create_commit(
            "refs/heads/main", self._who, self._who, f"{name}\n", index.write_tree(), self._parents
        )
        self._parents = [commit]


class Git:
    """`git add` and `git commit` in a working tree, with core.fsync=all and nobody's configuration."""

    def __init__(self, desk: str, folder: str | None = None) -> None:
        self._desk = desk
        self.folder = folder or os.path.join(desk, ".git")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.path.dirname(self.folder),
            "GIT_DIR": self.folder,
            "GIT_WORK_TREE": desk,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "bench",
            "GIT_AUTHOR_EMAIL": "bench@localhost",
            "GIT_COMMITTER_NAME": "bench",
            "GIT_COMMITTER_EMAIL": "bench@localhost",
        }
        self._run("init", "--quiet", "--initial-branch=main", "--template=")
        for key, value in (("core.fsync", "all"), ("gc.auto", "0"), ("maintenance.auto", "false")):
            self._run("config", key, value)

    def keep(self, name: str) -> None:
        self._spawn("add", "--", name)
        self._spawn("commit", "--message=save")

    def keep_all(self) -> None:
        """Everything under the desk in one commit."""
        self._run("add", "-A")
        self._run("commit", "--quiet", "--message=import")

    def _spawn(self, *arguments: str) -> None:
        """Run git and wait for it, with as little ado as a shell."""
        quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        pid = os.posix_spawnp("git", ["git", "-C", self._desk, *arguments], self._environment, file_actions=quiet)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in (0, 1):  # 1: there was nothing to commit
            raise RuntimeError(f"git {' '.join(arguments)} ended with {status}")

    def _run(self, *arguments: str) -> None:
        run(["git", *arguments], self._environment, folder=self._desk)


class Restic:
    """`restic backup` of the desk."""

    def __init__(self, desk: str, folder: str) -> None:
        self._desk = desk
        self.folder = folder
        self._environment = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": folder + ".cache"}
        self._run("init")

    def keep(self, name: str) -> None:
        self._run("backup", self._desk)

    def list(self) -> None:
        """What it has."""
        self._run("snapshots")

    def _run(self, *arguments: str) -> None:
        run(["restic", "--quiet", "--repo", self.folder, *arguments], self._environment)


class Borg:
    """`borg create` of the desk."""

    def __init__(self, desk: str, folder: str) -> None:
        self._desk = desk
        self.folder = folder
        self._count = 0
        self._environment = {**os.environ, "BORG_BASE_DIR": folder + ".base"}
        self._run("init", "--encryption=none", folder)

    def keep(self, name: str) -> None:
        self._count += 1
        self._run("create", f"{self.folder}::{self._count:06d}", self._desk)

    def list(self) -> None:
        """What it has."""
        self._run("list", self.folder)

    def _run(self, *arguments: str) -> None:
        run(["borg", *arguments], self._environment)


def run(
    command: Sequence[str], environment: dict[str, str], *, folder: str | None = None, fine: tuple[int, ...] = (0, 1)
) -> None:
    """Run a peer; `git commit` with nothing to commit ends with 1, which is no failure. Raises RuntimeError."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        check=False,
    )
    if done.returncode not in fine:
        said = done.stderr.decode(errors="replace")[-600:]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {said}")


def repacked_bytes(repository: str, copy: str) -> int:
    """The bytes of a copy of a bare repository after the best that `git repack` can do."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": copy,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    run(["cp", "-a", repository, copy], environment)
    run(
        ["git", "-c", "pack.windowMemory=0", f"--git-dir={copy}", "repack", "-adfq", "--window=50", "--depth=50"],
        environment,
    )
    return folder_bytes(copy)
