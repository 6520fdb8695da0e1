"""A hostile user environment: bytes stay identical, nothing of it is executed, and everything is ours alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.archive.rig import Rig, git
from tests.helpers import notebook_bytes

REPOSITORY = Path(__file__).parents[2]

_WORK = """
import os, sys
os.umask(int(sys.argv[2], 8))
from nbguard.archive.maintenance import Maintenance
from tests.archive.rig import NO_RESERVE, Rig
rig = Rig(sys.argv[1])
data = sys.stdin.buffer.read()
for number in range(3):
    draft = rig.save("/w/n.ipynb", data + b"%d" % number)
    rig.packer.pack()
assert rig.read(draft.id) == data + b"2"
Maintenance(rig.archive, reserve=NO_RESERVE).run(full=True)
rig.catalog.discard()
assert rig.read(draft.id) == data + b"2"
rig.save("/w/m.ipynb", data)
rig.close()
print(sorted(name for name in os.environ if name.startswith("GIT_DIR")))
"""


@pytest.fixture
def hostile(tmp_path: Path, home: Path) -> dict[str, str]:
    """What a user's machine may hold: hooks, filters, signing, and variables that point elsewhere."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    fired = tmp_path / "fired"
    names = (
        "reference-transaction", "post-commit", "pre-commit", "post-update", "update", "pre-receive", "post-receive",
        "post-index-change", "pre-auto-gc", "post-rewrite", "fsmonitor", "filter", "gpg", "pager", "editor",
    )  # fmt: skip
    for name in names:
        script = hooks / name
        script.write_text(f"#!/bin/sh\necho {name} >> {fired}\ncat\nexit 1\n")
        script.chmod(0o755)
    attributes = tmp_path / "attributes"
    attributes.write_text("*.ipynb filter=strip diff=strip text eol=crlf\n* text=auto ident\n")
    configuration = f"""
[core]
    hooksPath = {hooks}
    autocrlf = true
    fsmonitor = {hooks}/fsmonitor
    attributesFile = {attributes}
    pager = {hooks}/pager
    editor = {hooks}/editor
    compression = 9
    fsync = none
    sharedRepository = world
[filter "strip"]
    clean = {hooks}/filter
    smudge = {hooks}/filter
    required = true
[commit]
    gpgSign = true
[gpg]
    program = {hooks}/gpg
[log]
    showSignature = true
[gc]
    auto = 1
[init]
    templateDir = {hooks}
    defaultBranch = hostile
[pack]
    packSizeLimit = 1m
[transfer]
    hideRefs = refs
[alias]
    log = !{hooks}/filter
"""
    (home / ".gitconfig").write_text(configuration)
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "config").write_text(configuration)
    elsewhere = tmp_path / "elsewhere.git"
    git(str(elsewhere), "init", "-q", "--bare", str(elsewhere))
    return {
        **os.environ,
        "GIT_DIR": str(elsewhere),
        "GIT_INDEX_FILE": str(tmp_path / "no-index"),
        "GIT_OBJECT_DIRECTORY": str(elsewhere / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(tmp_path / "nowhere"),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_NAMESPACE": "hostile",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(hooks),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={hooks}/fsmonitor'",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_TEMPLATE_DIR": str(hooks),
        "GIT_EXTERNAL_DIFF": str(hooks / "filter"),
        "GIT_PAGER": str(hooks / "pager"),
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_PYTHON_GIT_EXECUTABLE": str(hooks / "filter"),
        "GIT_PYTHON_TRACE": "full",
        "PAGER": str(hooks / "pager"),
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
    }


def run(folder: Path, data: bytes, environment: dict[str, str], umask: str = "022") -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WORK, str(folder), umask],
        input=data,
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_bytes_are_identical_and_nothing_is_executed(tmp_path: Path, hostile: dict[str, str]) -> None:
    data = notebook_bytes("x = 1", "line\r\nline\n$Id$\n", outputs=True)
    run(tmp_path / "home", data, hostile)
    assert not (tmp_path / "fired").exists()
    assert not (tmp_path / "trace").exists()
    assert not (tmp_path / "elsewhere.git" / "refs" / "heads" / "main").exists()
    rig = Rig(tmp_path / "home")
    assert git(rig.archive.folder, "-c", "log.showSignature=false", "show", "main:notebooks/w/n.ipynb") == data + b"2"
    said = git(rig.archive.folder, "--no-pager", "log", "-1", "--format=%an <%ae> %cn <%ce>%d", "main").decode()
    assert said.startswith("nbguard <nbguard@localhost> nbguard <nbguard@localhost>")
    for key, value in {"core.fsync": "all", "core.hooksPath": "/dev/null", "gc.auto": "0"}.items():
        assert git(rig.archive.folder, "config", "--local", key).decode().strip() == value
    for name in ("hooks", "fsmonitor", "filter"):
        assert not (Path(rig.archive.folder) / name).exists(), "nothing of the user's template"


def test_the_trap_is_live(tmp_path: Path, hostile: dict[str, str]) -> None:
    """The same environment does run those hooks for plain git: the test above would notice."""
    environment = {key: value for key, value in hostile.items() if key != "GIT_TRACE"}
    folder = tmp_path / "plain"
    plain = {key: value for key, value in environment.items() if not key.startswith("GIT_") or "CONFIG" in key}
    subprocess.run(["git", "init", "-q", str(folder)], env=plain, capture_output=True, check=False)
    (folder / "n.ipynb").write_bytes(b"{}")
    subprocess.run(["git", "-C", str(folder), "add", "n.ipynb"], env=plain, capture_output=True, check=False)
    assert (tmp_path / "fired").exists()


def test_with_an_open_umask_everything_is_ours_alone(tmp_path: Path) -> None:
    base = tmp_path / "deep" / "below" / "home"
    run(base, notebook_bytes("secret = 1"), dict(os.environ), umask="000")
    seen = 0
    for folder, folders, names in os.walk(tmp_path / "deep"):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode & 0o777
            assert mode & 0o077 == 0, f"{path} is {mode:o}"
            seen += 1
    assert seen > 20
    assert os.stat(tmp_path / "deep").st_mode & 0o777 == 0o700


def test_without_a_name_a_home_or_a_locale_it_works(tmp_path: Path) -> None:
    bare = {"PATH": os.environ["PATH"]}
    run(tmp_path / "home", notebook_bytes("x = 1"), bare)
    Rig(tmp_path / "home").fsck()
