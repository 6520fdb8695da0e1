"""A mirror on a git host: TLS, a password, and nobody who looks at the machine's commands learns it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nbguard.mirror.child import MirrorTrouble
from tests.mirror.https_server import PASSWORD, git_host
from tests.mirror.rig import Rig, git, refs

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def test_a_mirror_over_https_is_pushed_and_read_back_and_the_password_stays_inside(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.keep("one", "x" * 1_200_000)  # over git's http.postBuffer: sent in chunks
    path = rig.disk("served/mirror.git")
    with git_host(tmp_path / "host") as host:
        path.rename(host.folder / "mirror.git")
        git(host.folder / "mirror.git", "config", "http.receivepack", "true")
        rig.urls = [f"https://ada:{PASSWORD}@127.0.0.1:{host.port}/mirror.git"]
        with pytest.raises(MirrorTrouble, match="certificate"):
            rig.push()  # nobody vouches for it
        assert PASSWORD not in rig.known().trouble
        monkeypatch.setenv("SSL_CERT_FILE", str(host.certificate))
        state = rig.push()
        assert state.verified_by.startswith("tips and ")
        assert refs(host.folder / "mirror.git")[rig.space.main] == rig.tip()
        assert host.asked and not host.leaks
        rig.urls = [f"https://ada:wrong@127.0.0.1:{host.port}/mirror.git"]
        with pytest.raises(MirrorTrouble, match=r"[Aa]uthentication failed"):
            rig.push()
    assert not [file for file in rig.state.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
