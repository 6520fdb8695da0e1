"""Mirrors over ssh: a real server on loopback, a real client, nobody to be asked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbguard.errors import ArchiveTrouble
from nbguard.mirror.child import MirrorTrouble
from tests.helpers import poll
from tests.mirror.rig import Rig, git, refs

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    _SSHD is None or shutil.which("ssh") is None or os.geteuid() != 0, reason="needs sshd, ssh and root"
)


@dataclass
class Server:
    """``port`` on 127.0.0.1; ``forced`` is the only command that it runs, where there is one."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self, forced: str = "") -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/keys",
            f"PidFile {self.folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            *([f"ForceCommand {forced}"] if forced else []),
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        assert _SSHD is not None
        self.process = subprocess.Popen(
            [_SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        )
        poll(lambda: self.answers() and "Server listening" in (self.folder / "log").read_text())
        assert self.process.poll() is None, (self.folder / "log").read_text()

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """sshd, and an `ssh` on PATH that is the real one with keys of this test alone."""
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    os.makedirs("/run/sshd", exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = Server(folder, probe.getsockname()[1])
    (folder / "config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nStrictHostKeyChecking accept-new\n"
        f"UserKnownHostsFile {folder}/known\n"
    )
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >>{folder}/calls\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n'
    )
    wrapper.chmod(0o700)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    made.start()
    yield made
    made.stop()


def _mirror(rig: Rig, server: Server) -> Path:
    path = rig.disk("served/mirror.git")
    rig.urls = [f"ssh://root@127.0.0.1:{server.port}{path}"]
    return path


def test_a_mirror_over_ssh_is_pushed_and_versions_come_back_from_it(rig: Rig, server: Server) -> None:
    rig.keep("one", "two")
    path = _mirror(rig, server)
    state = rig.push()
    assert refs(path)[rig.space.main] == rig.tip() == state.main
    assert state.verified_by.startswith("tips and ")
    assert "BatchMode=yes" in (server.folder / "calls").read_text()
    rig.keep("three")
    assert rig.push().main == rig.tip() == refs(path)[rig.space.main]


@pytest.mark.long
def test_a_server_that_runs_nothing_but_git_leaves_it_at_the_tips(rig: Rig, server: Server) -> None:
    rig.keep("one")
    path = _mirror(rig, server)
    server.stop()
    server.start(forced='git-shell -c "$SSH_ORIGINAL_COMMAND"')
    assert rig.push().verified_by == "tips"
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    rig.keep("two")
    rig.clock.move(3_700)
    assert rig.push().verified_by.startswith("tips and ")


@pytest.mark.long
def test_a_version_that_is_damaged_there_is_found(rig: Rig, server: Server) -> None:
    rig.keep("x" * 400)
    path = _mirror(rig, server)
    rig.push()
    (pack,) = path.glob("objects/pack/*.pack")
    pack.chmod(0o600)
    raw = bytearray(pack.read_bytes())
    for at in range(20, len(raw) - 40, 7):
        raw[at] ^= 0x5A
    pack.write_bytes(raw)
    with pytest.raises(ArchiveTrouble):
        rig.push(whole=True)
    assert rig.known().trouble


def test_a_server_that_is_gone_is_told_within_a_moment_and_returns(rig: Rig, server: Server) -> None:
    rig.keep("one")
    path = _mirror(rig, server)
    server.stop()
    with pytest.raises(MirrorTrouble, match=r"[Cc]onnection refused"):
        rig.push()
    server.start()
    rounds = rig.rounds()
    rounds.step()
    assert not refs(path)
    rig.network = "elsewhere"  # another network: tried at once
    rounds.step()
    assert refs(path)[rig.space.main] == rig.tip()


def test_what_a_server_says_reaches_no_terminal_raw(rig: Rig, server: Server) -> None:
    rig.keep("one")
    _mirror(rig, server)
    server.stop()
    server.start(forced="printf '\\033]0;owned\\007go away' >&2; exit 1")
    with pytest.raises(MirrorTrouble, match="go away"):
        rig.push()
    assert rig.known().trouble.isprintable()


def test_an_unknown_key_is_refused_without_asking(rig: Rig, server: Server) -> None:
    rig.keep("one")
    _mirror(rig, server)
    (server.folder / "keys").write_text("")
    with pytest.raises(MirrorTrouble, match="Permission denied"):
        rig.push()
