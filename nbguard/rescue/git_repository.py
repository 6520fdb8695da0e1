"""One git repository, asked hermetically: no hooks, filters, monitors, signatures or network, whatever its own
configuration says.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbguard.cat_file import CatFile
from nbguard.errors import ArchiveTrouble
from nbguard.git import find_git, hermetic_environment
from nbguard.names import SUFFIX
from nbguard.rescue.findings import Wanted

_TIMEOUT_SECONDS = 60.0
_SETTINGS = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", os.devnull),
    ("log.showSignature", "false"),
    ("diff.external", ""),
    ("gc.auto", "0"),
)


@dataclass(frozen=True, slots=True)
class State:
    """One blob, where it stood in the repository, and when (seconds since 1970; None: not in any commit)."""

    blob: str
    path: str
    commit: str
    seconds: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """``folder`` is the git folder, ``top`` what paths in it are relative to."""

    folder: str
    top: str

    def committed(self, wanted: Wanted) -> Iterator[State]:
        """States on any branch, tag, stash or in any reflog, the newest first."""
        arguments = ["log", "--all", "--reflog", "-m", "--root", "--full-history", "--raw", "--no-abbrev", "-z"]
        arguments += ["--no-renames", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--no-mailmap"]
        arguments += ["--diff-filter=AMT", "--format=%x01%H %ct", "--", *_pathspecs(wanted)]
        stashed = self._stashed()
        commit, seconds = "", 0
        fields = iter(self._ask(*arguments).split(b"\0"))
        for field in fields:
            text = field.lstrip(b"\n")
            if text.startswith(b"\x01"):
                commit, _, stamp = text[1:].decode("ascii").partition(" ")
                seconds = int(stamp)
            elif text.startswith(b":"):
                blob, path = text.split(b" ")[3].decode("ascii"), os.fsdecode(next(fields, b""))
                yield State(blob, path, commit, seconds, "stashed" if commit in stashed else "")

    def _stashed(self) -> frozenset[str]:
        """Commits that stashes are made of: the work tree's, the index's and the untracked files'."""
        try:
            answer = self._ask("log", "-g", "--format=%H %P", "--no-show-signature", "refs/stash", "--")
        except ArchiveTrouble:
            return frozenset()
        lines = [line.split() for line in answer.decode("ascii", "replace").splitlines()]
        return frozenset(commit for line in lines for number, commit in enumerate(line) if number != 1)

    def staged(self, wanted: Wanted) -> list[State]:
        """What is in the index."""
        try:
            answer = self._ask("ls-files", "--stage", "-z", "--full-name", "--", *_pathspecs(wanted))
        except ArchiveTrouble:
            return []  # a bare repository
        states = []
        for field in answer.split(b"\0"):
            about, tab, path = field.partition(b"\t")
            if tab and len(about.split()) == 3:
                states.append(State(about.split()[1].decode("ascii"), os.fsdecode(path), "", None, "staged"))
        return states

    def dangling(self, most_seconds: float) -> list[str]:
        """Blobs that nothing leads to. Raises ArchiveTrouble, SubprocessError when it takes too long."""
        options = ("--unreachable", "--no-progress", "--connectivity-only")
        answer = self._ask("fsck", *options, seconds=most_seconds)
        words = [line.split() for line in answer.decode("ascii", "replace").splitlines()]
        return [line[2] for line in words if line[:2] == ["unreachable", "blob"]]

    def sizes(self, blobs: Sequence[str]) -> dict[str, int]:
        """The sizes, in bytes, of those that are there."""
        asked = "".join(f"{blob}\n" for blob in blobs).encode("ascii")
        answer = self._ask("cat-file", "--batch-check", data=asked)
        words = [line.split() for line in answer.decode("ascii", "replace").splitlines()]
        return {line[0]: int(line[2]) for line in words if len(line) == 3 and line[1] == "blob"}

    def reader(self) -> CatFile:
        """Reads many objects, one after the other."""
        return CatFile(self._command("cat-file", "--batch"), self._environment())

    def read(self, blob: str) -> bytes:
        """A blob's bytes. Raises ArchiveTrouble."""
        return self._ask("cat-file", "blob", blob)

    def _ask(self, *arguments: str, data: bytes = b"", seconds: float = _TIMEOUT_SECONDS) -> bytes:
        """git's answer. Raises ArchiveTrouble, SubprocessError, BadConfiguration."""
        done = subprocess.run(
            self._command(*arguments),
            input=data,
            capture_output=True,
            env=self._environment(),
            timeout=seconds,
            cwd="/",
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise ArchiveTrouble(f"git {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        settings = [part for key, value in _SETTINGS for part in ("-c", f"{key}={value}")]
        trust = ("-c", f"safe.directory={self.folder}", f"--git-dir={self.folder}")
        return [find_git(), *settings, *trust, *arguments]

    @staticmethod
    def _environment() -> dict[str, str]:
        # A partial clone would fetch what it lacks, by a program of its configuration's choice.
        return {**hermetic_environment(os.devnull), "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


def repositories_around(paths: Sequence[str], met: Sequence[str]) -> tuple[str, ...]:
    """The repositories that a walk has met, and those in the folders above the wanted paths."""
    above: list[str] = []
    for path in paths:
        folder = os.path.dirname(path)
        while True:
            candidate = os.path.join(folder, ".git")
            if os.path.lexists(candidate):
                above.append(candidate)
            if folder == os.path.dirname(folder):
                break
            folder = os.path.dirname(folder)
    return tuple(dict.fromkeys([*above, *met]))


def repository_at(path: str) -> Repository | None:
    """The repository of a `.git` folder or file (worktree, submodule), or a bare one; None when it is none."""
    if os.path.isfile(path) and os.path.getsize(path) < 1 << 16:
        with open(path, "rb") as file:
            told = file.read().strip()
        if not told.startswith(b"gitdir:"):
            return None
        folder = os.path.normpath(os.path.join(os.path.dirname(path), os.fsdecode(told[7:].strip())))
        return Repository(folder, os.path.dirname(path)) if os.path.isdir(folder) else None
    if not os.path.isfile(os.path.join(path, "HEAD")):
        return None
    return Repository(path, os.path.dirname(path) if os.path.basename(path) == ".git" else path)


def _pathspecs(wanted: Wanted) -> list[str]:
    """The notebooks meant, by name, wherever they lie in the repository."""
    names = {path.rpartition("/")[2] for path in wanted.paths} or {f"*{SUFFIX}"}
    escaped = [name if wanted.is_everything else _literally(name) for name in sorted(names)]
    return [f":(top,glob)**/{name}" for name in escaped]


def _literally(name: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in name)
