"""git: every branch, stash, reflog and index; asked so that nothing of the repository's own choosing is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Answer, notebook_bytes
from tests.rescue.conftest import put

Ask = Callable[..., Answer]


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()


@pytest.fixture
def repository(work: Path) -> Path:
    """A repository with one commit of a notebook."""
    git(work, "init", "-q")
    put(work / "lost.ipynb", notebook_bytes("first = 1"))
    git(work, "add", "-A")
    git(work, "commit", "-qm", "one")
    return work


def notes(answer: Answer) -> set[tuple[str | None, int]]:
    found = [each for each in answer.json["found"] if each["source"] == "git" and each["confidence"] != "ambiguous"]
    return {(each["note"], each["cells"]) for each in found}


def test_branches_stashes_reflogs_and_the_index_are_looked_through(repository: Path, rescue: Ask) -> None:
    """Each state has another number of cells, so that they can be told apart."""
    work = repository
    git(work, "checkout", "-qb", "other")
    put(work / "lost.ipynb", notebook_bytes(*"ab"))
    git(work, "commit", "-qam", "two")
    git(work, "checkout", "-q", "main")
    put(work / "lost.ipynb", notebook_bytes(*"abc"))
    git(work, "commit", "-qam", "to be undone")
    git(work, "reset", "-q", "--hard", "HEAD~1")
    put(work / "lost.ipynb", notebook_bytes(*"abcd"))
    git(work, "stash", "-q")
    put(work / "sub" / "lost.ipynb", notebook_bytes(*"abcdef"))
    git(work, "stash", "-qu")
    put(work / "lost.ipynb", notebook_bytes(*"abcde"))
    git(work, "add", "-A")
    git(work, "rm", "-qf", "--cached", "lost.ipynb")
    put(work / "lost.ipynb", notebook_bytes(*"abcde"))
    git(work, "add", "lost.ipynb")
    (work / "lost.ipynb").unlink()
    before = {path: path.stat().st_mtime_ns for path in (work / ".git").rglob("*")}
    assert notes(rescue("lost.ipynb")) == {(None, 1), (None, 2), (None, 3), ("stashed", 4), ("staged", 5)}
    assert {path: path.stat().st_mtime_ns for path in (work / ".git").rglob("*")} == before, "nothing is written"
    assert notes(rescue("sub/lost.ipynb")) == {("stashed", 6)}


def test_what_was_added_and_never_committed_is_known_by_its_content(repository: Path, rescue: Ask) -> None:
    """A blob without a name, of which most lines stand in the notebook; another one is not taken for it."""
    lines = [f"value_{number} = {number}" for number in range(5)]
    put(repository / "lost.ipynb", notebook_bytes(*lines, "only = 'here'"))
    git(repository, "add", "lost.ipynb")
    put(repository / "lost.ipynb", notebook_bytes(*lines))
    put(repository / "else.ipynb", notebook_bytes("quite = 1", "another = 2"))
    git(repository, "add", "-A")
    git(repository, "rm", "-qf", "--cached", "else.ipynb")
    git(repository, "commit", "-qm", "two")
    answer = rescue("lost.ipynb")
    assert notes(answer) == {(None, 1), (None, 5), ("without a name, by its content", 6)}


def test_a_worktree_and_a_bare_repository_are_repositories(repository: Path, home: Path, rescue: Ask) -> None:
    """A `.git` that is a file, and a folder that is all git's."""
    git(repository, "worktree", "add", "-q", str(home / "tree"), "-b", "side")
    put(home / "tree" / "lost.ipynb", notebook_bytes("a", "b"))
    git(home / "tree", "commit", "-qam", "in the tree")
    git(home, "clone", "-q", "--bare", str(repository), "copy.git")
    assert notes(rescue(str(home / "tree" / "lost.ipynb"))) >= {(None, 2)}
    assert notes(rescue(str(home / "copy.git" / "lost.ipynb"))) == {(None, 1), (None, 2)}


def test_nothing_of_the_repositorys_choosing_is_run(repository: Path, home: Path, rescue: Ask) -> None:
    """Hooks, a monitor, an external diff, a signature checker, a filter, and a remote that is a program."""
    witness = home / "was-run"
    script = put(home / "evil", f"#!/bin/sh\ntouch {witness}\n".encode())
    script.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "diff.external",
        "gpg.program",
        "core.sshCommand",
        "core.pager",
        "filter.x.smudge",
        "filter.x.clean",
        "diff.x.textconv",
        "core.alternateRefsCommand",
    ):
        git(repository, "config", key, str(script))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "remote.origin.url", f"ext::{script}")
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "extensions.partialClone", "origin")
    git(repository, "config", "protocol.ext.allow", "always")
    put(repository / ".git" / "info" / "attributes", b"*.ipynb filter=x diff=x\n")
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        put(repository / ".git" / "hooks" / hook, script.read_bytes()).chmod(0o755)
    witness.unlink(missing_ok=True)
    blob = git(repository, "rev-parse", "HEAD:lost.ipynb")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()  # git would fetch it from the promisor
    answer = rescue("lost.ipynb", "-o", str(home / "out"))
    assert answer.code in (1, 3) and not witness.exists()
    assert notes(answer) == set()


@pytest.mark.parametrize("name", ["a*[b]?.ipynb", ":(top)x.ipynb", "-dash.ipynb", "new\nline.ipynb", "täglich.ipynb"])
def test_any_name_is_taken_literally(work: Path, rescue: Ask, name: str) -> None:
    """git's patterns, options and magic are no part of a name."""
    git(work, "init", "-q")
    put(work / name, notebook_bytes("mine = 1"))
    put(work / "aXbZ.ipynb", notebook_bytes("other = 1", "b = 2"))
    git(work, "add", "-A")
    git(work, "commit", "-qm", "one")
    answer = rescue("--", name)
    assert [(each["source"], each["path"]) for each in answer.json["found"]] == [("git", str(work / name))]


def test_a_broken_repository_is_named_and_the_rest_goes_on(work: Path, rescue: Ask) -> None:
    """Its HEAD makes no sense."""
    put(work / "one" / ".git" / "HEAD", b"\0\0garbage")
    put(work / ".ipynb_checkpoints" / "lost-checkpoint.ipynb", notebook_bytes("x = 1"))
    answer = rescue("lost.ipynb")
    assert answer.code == 3 and [each["source"] for each in answer.json["unavailable"]] == ["git"]
    assert [each["source"] for each in answer.json["found"]] == ["checkpoint"]
