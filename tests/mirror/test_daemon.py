"""The daemon mirrors by itself: real processes, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from nbguard.mirror.standing import MirrorState
from nbguard.mirror.state import StateFile, key_of
from nbguard.mirror.there import heartbeat_in
from tests.helpers import REPOSITORY, nbguard, notebook_bytes, poll
from tests.mirror.rig import Rig, git, refs


def _main(mirror: Path) -> str:
    return next((commit for ref, commit in refs(mirror).items() if ref.endswith("/main")), "")


def test_what_is_saved_while_the_daemon_runs_is_soon_in_a_mirror_that_was_added_meanwhile(home: Path) -> None:
    root = home / "work"
    root.mkdir()
    (root / "a.ipynb").write_bytes(notebook_bytes("one"))
    config = home / ".nbguard" / "config.toml"
    config.parent.mkdir()
    config.write_text(
        f'schema = 1\nroots = ["{root}"]\n[intervals]\npack_seconds = 1.0\nheartbeat_seconds = 0.5\n'
        "[recorder]\nenabled = false\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    daemon = subprocess.Popen(
        [sys.executable, "-c", _QUICK_DAEMON], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        archive = home / ".nbguard" / "archive.git"
        poll((archive / "refs/nbguard/last-verified").exists, 30)
        mirror = home / "disk.git"
        added = nbguard("mirror", "add", str(mirror), "--yes")
        assert added.code == 0, added.talk
        first = _main(mirror)
        (root / "a.ipynb").write_bytes(notebook_bytes("one", "two"))
        poll(lambda: _main(mirror) not in ("", first), 30)
        assert _main(mirror) == (archive / "refs/nbguard/last-verified").read_text().strip()
        (ref,) = [ref for ref in refs(mirror) if ref.endswith("/heartbeat")]
        beat = heartbeat_in(git(mirror, "show", f"{ref}:heartbeat.json").encode())
        assert beat.beat_at is not None and beat.sequence >= 2
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    assert not [name for name in os.listdir(home / ".nbguard" / "state") if name.endswith(".scratch")]


# The daemon as it is, which looks at its configuration every half second instead of every half minute.
_QUICK_DAEMON = """
import sys
from nbguard import app_mirroring
app_mirroring._LOOK_SECONDS = 0.5
from nbguard.cli.start import run
sys.argv = ["nbguard", "run"]
run()
"""

_PUSHING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.mirror.rig import Rig
from nbguard.mirror import backoff
rig = Rig(Path(sys.argv[2]), urls=[sys.argv[3]])
backoff.MOST_STEP = 1
def told(done, total):
    print(done, total, flush=True)
rig.rounds().try_one(rig.mirrors[0], progress=told)
"""


def test_a_push_killed_at_any_moment_goes_on_and_leaves_a_sound_mirror(rig: Rig) -> None:
    rig.keep(*(f"text {number}" for number in range(8)))
    mirror = rig.disk()
    key = key_of(rig.mirrors[0].name, rig.mirrors[0].url)
    StateFile(str(rig.state)).put(key, MirrorState(step_commits=1))
    words = [sys.executable, "-c", _PUSHING, str(REPOSITORY), str(rig.base), rig.urls[0]]
    arrived = []
    for kill_after in (1, 3):
        rig.clock.move(4_000)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as push:
            assert push.stdout is not None
            for _ in range(kill_after):
                push.stdout.readline()
            os.killpg(push.pid, signal.SIGKILL)
        assert push.returncode == -signal.SIGKILL
        git(mirror, "fsck", "--connectivity-only")
        arrived.append(_main(mirror))
    assert all(arrived) and arrived[-1] != rig.tip()
    assert rig.push(whole=True).main == rig.tip() == _main(mirror)
    for commit in arrived:
        git(mirror, "merge-base", "--is-ancestor", commit, rig.tip())
