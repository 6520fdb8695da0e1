"""A user's git set up against us: bytes stay as they are, and nothing of what is configured is executed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import guarding, sha256


def test_nothing_of_a_hostile_git_setup_is_run_and_no_byte_changes(tmp_path: Path, home: Path) -> None:
    traces, tools = tmp_path / "traces", tmp_path / "tools"
    traces.mkdir()
    tools.mkdir()
    for name in ("hook", "fsmonitor", "filter", "sign", "editor", "pager", "ssh", "credential", "alternate", "askpass"):
        script = tools / name
        script.write_text(f"#!/bin/sh\ntouch {traces}/{name}\ncat >/dev/null 2>&1 </dev/null\nexit 1\n")
        script.chmod(0o755)
    hooks = home / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "reference-transaction", "post-index-change", "post-checkout", "pre-auto-gc", "update"):
        (hooks / name).symlink_to(tools / "hook")
    (home / "attributes").write_text("*.ipynb filter=strip diff=strip text eol=crlf working-tree-encoding=UTF-16\n")
    (home / ".gitconfig").write_text(
        f"""[core]
    hooksPath = {hooks}
    autocrlf = true
    safecrlf = true
    eol = crlf
    fsmonitor = {tools}/fsmonitor
    attributesFile = {home}/attributes
    editor = {tools}/editor
    pager = {tools}/pager
    sshCommand = {tools}/ssh
    alternateRefsCommand = {tools}/alternate
    askPass = {tools}/askpass
    compression = 0
    abbrev = 4
    quotePath = false
[filter "strip"]
    clean = {tools}/filter
    smudge = {tools}/filter
    process = {tools}/filter
    required = true
[diff "strip"]
    textconv = {tools}/filter
    command = {tools}/filter
[commit]
    gpgSign = true
[tag]
    gpgSign = true
[gpg]
    program = {tools}/sign
[credential]
    helper = {tools}/credential
[user]
    useConfigOnly = true
[log]
    showSignature = true
[init]
    templateDir = {home}/hooks
    defaultBranch = elsewhere
    defaultObjectFormat = sha256
    defaultRefFormat = reftable
[extensions]
    objectFormat = sha256
[gc]
    auto = 1
[i18n]
    commitEncoding = UTF-16
[color]
    ui = always
[safe]
    bareRepository = explicit
"""
    )
    users = tmp_path / "users"
    users.mkdir()
    subprocess.run(
        ["git", "init", "-q", str(users)], check=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    )
    proven = subprocess.run(
        ["git", "-c", "init.defaultObjectFormat=sha1", "commit", "--allow-empty", "-m", "x"],
        cwd=users,
        check=False,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )
    assert proven.returncode != 0, "the setup is as hostile as it looks"
    for trace in traces.iterdir():
        trace.unlink()
    environment = {
        "GIT_DIR": str(users / ".git"),
        "GIT_WORK_TREE": str(users),
        "GIT_INDEX_FILE": str(users / "index"),
        "GIT_OBJECT_DIRECTORY": str(users / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(users / "alternates"),
        "GIT_NAMESPACE": "hostile",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(hooks),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={tools}/fsmonitor'",
        "GIT_EXTERNAL_DIFF": str(tools / "filter"),
        "GIT_EDITOR": str(tools / "editor"),
        "GIT_PAGER": str(tools / "pager"),
        "GIT_TEMPLATE_DIR": str(hooks),
        "GIT_LITERAL_PATHSPECS": "0",
        "GIT_AUTHOR_DATE": "not a date",
        "GIT_DEFAULT_HASH": "sha256",
        "EMAIL": "",
        "PAGER": str(tools / "pager"),
        "LC_ALL": "C",
    }
    root = tmp_path / "work"
    before = {path: path.stat().st_mtime_ns for path in users.rglob("*")}
    with guarding(tmp_path, root, environment=environment, tables={"packing": {"drafts": 2}}) as guard:
        path = root / "a.ipynb"
        saved = [notebook_bytes("x = 1").replace(b"\n", b"\r\n"), notebook_bytes("x = 'é'"), notebook_bytes("x", "y")]
        for data in saved:
            path.write_bytes(data)
            guard.until_kept(path, data)
        (root / ".gitattributes").write_text("* text eol=crlf filter=strip\n")
        assert guard.nbguard("diff", str(path), "~1").code == 0
        assert guard.nbguard("doctor").code in (0, 1, 3)
        assert guard.stop() == 0
        assert guard.nbguard("run", "--once").code == 0
        poll(lambda: not guard.spooled(), 20)
        rows = guard.log(path)
        assert [row["sha256"] for row in reversed(rows)] == [sha256(data) for data in saved]
        for row, data in zip(reversed(rows), saved, strict=True):
            assert guard.show(path, row["id"]) == data
        (guard.home / "state" / "catalog.sqlite").unlink()
        assert guard.log(path) == rows, "rebuilt from git, to the same answers"
    assert [trace.name for trace in traces.iterdir()] == [], "executed"
    assert {path: path.stat().st_mtime_ns for path in users.rglob("*")} == before, "the user's repository is untouched"
    plain = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    for command in (["fsck", "--strict"], ["show", f"main:notebooks{path}"]):
        done = subprocess.run(["git", "-C", str(guard.archive), *command], check=True, capture_output=True, env=plain)
    assert done.stdout == saved[-1]
