"""Reading a mirror that does not answer, or is damaged: nobody waits for ever, and what is said helps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbguard.mirror import reader
from nbguard.mirror.addresses import parse_address
from nbguard.mirror.reader import Mirrored, MirrorUnreachable
from tests.helpers import poll
from tests.mirror.places import git


def _silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirrored:
    """An ssh that connects, and then says nothing more."""
    tools = tmp_path / "tools"
    tools.mkdir()
    ssh = tools / "ssh"
    ssh.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 60\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    address = parse_address("ssh://ada@host.invalid/mirror.git", home=str(tmp_path))
    return Mirrored(address, environment=os.environ, home=str(tmp_path))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("what", ["refs", "fetch"])
def test_a_server_that_falls_silent_is_left_and_nothing_of_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(reader, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(reader, "LIST_SECONDS", 0.5)
    mirror = _silent_server(tmp_path, monkeypatch)
    into = tmp_path / "into.git"
    git(tmp_path, "init", "--bare", "--quiet", str(into))
    with pytest.raises(MirrorUnreachable, match=r"no answer|no end"):
        if what == "refs":
            mirror.refs()
        else:
            mirror.fetch(str(into), {"refs/heads/main": "refs/heads/main"})
    pid = int((tmp_path / "pid").read_text())
    poll(lambda: not _is_running(pid), 5)


def test_a_damaged_mirror_is_not_called_out_of_reach(tmp_path: Path) -> None:
    there = tmp_path / "there.git"
    git(tmp_path, "init", "--bare", "--quiet", str(there))
    blob = git(there, "hash-object", "-w", "-t", "blob", os.devnull).strip()
    raw = tmp_path / "tree"
    raw.write_bytes(b"100644 ..\0" + bytes.fromhex(blob))
    tree = git(there, "hash-object", "-w", "-t", "tree", "--literally", str(raw)).strip()
    commit = git(there, "-c", "user.name=x", "-c", "user.email=x@x", "commit-tree", tree, "-m", "x").strip()
    git(there, "update-ref", "refs/heads/main", commit)
    into = tmp_path / "into.git"
    git(tmp_path, "init", "--bare", "--quiet", str(into))
    mirror = Mirrored(parse_address(str(there), home=str(tmp_path)), environment=os.environ, home=str(tmp_path))
    with pytest.raises(MirrorUnreachable) as told:
        mirror.fetch(str(into), {"refs/heads/main": "refs/heads/main"})
    assert "Enumerating" not in told.value.message and "damaged" in told.value.hint
