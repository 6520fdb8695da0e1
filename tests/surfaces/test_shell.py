"""The lines for a shell's start-up file: silent while the daemon beats, and loud when it does not, whatever is left."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.health.heartbeat import write_heartbeat
from nbguard.model import Heartbeat
from nbguard.notices import write_notice
from nbguard.stops import RecordedStop, Why, record_stop
from nbguard.surfaces.shell import Signs, lines
from tests.helpers import nbguard

SHELLS = [shell for shell in ("bash", "dash", "zsh", "mksh") if shutil.which(shell)]
COUNTING = [shell for shell in SHELLS if shell != "dash"]
NOBODY = 2**22 + 1  # above the greatest pid that Linux gives


class Desk:
    """A state folder, and the lines that look at it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "it's a $(state)"
        self.emergency = folder / "emergency"
        self.note = self.emergency / "ALERT-nbguard-check.service"
        for made in (self.state, self.emergency):
            made.mkdir(mode=0o700)
        self.beat(os.getpid())
        signs = Signs(
            state=str(self.state),
            heartbeat=str(self.state / "heartbeat.json"),
            notice=str(self.state / "notice"),
            stop=str(self.state / "stop.json"),
            notes=[str(self.note)],
            emergency=str(self.emergency),
            stale_seconds=180,
        )
        self.lines = folder / "lines.sh"
        self.lines.write_text(lines(signs, login=False))

    def beat(self, pid: int, *, age_seconds: float = 0.0) -> None:
        now = datetime.now(UTC)
        beat = Heartbeat(
            pid=pid, boot="b", since=now, beat_at=now, beat_boottime_ns=1, version="1", roots=(), problems=()
        )
        path = str(self.state / "heartbeat.json")
        write_heartbeat(path, beat)
        os.utime(path, (time.time() - age_seconds,) * 2)

    def look(self, shell: str, *commands: str) -> str:
        """What a prompt says, after ``commands`` if there are any; the shell complains of nothing else."""
        script = "\n".join(["set -u", '. "$1" 2>/dev/null', *(commands or ("nbguard_look",))])
        done = subprocess.run(
            [shell, "-c", script, shell, str(self.lines)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done
        assert done.stdout == ""
        return done.stderr.strip()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_while_the_daemon_beats_nothing_is_said(desk: Desk, shell: str) -> None:
    assert desk.look(shell) == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_daemon_that_is_gone_is_missed_at_once(desk: Desk, shell: str) -> None:
    desk.beat(NOBODY, age_seconds=400)
    assert "no sign of life for 3 minutes" in desk.look(shell)
    (desk.state / "heartbeat.json").unlink()
    assert "no sign of life" in desk.look(shell)


@pytest.mark.parametrize("shell", SHELLS)
def test_when_all_of_nbguard_is_gone_it_still_speaks(desk: Desk, shell: str) -> None:
    shutil.rmtree(desk.state)
    said = desk.look(shell)
    assert f"{desk.state} is gone" in said
    assert str(desk.emergency) in said


@pytest.mark.parametrize("shell", COUNTING)
def test_a_daemon_that_has_just_woken_gets_a_moment_and_one_that_hangs_does_not_get_more(
    desk: Desk, shell: str
) -> None:
    desk.beat(os.getpid(), age_seconds=400)
    assert desk.look(shell) == ""
    assert "no sign of life" in desk.look(shell, "SECONDS=100", "nbguard_look", "SECONDS=120", "nbguard_look")


@pytest.mark.parametrize("shell", COUNTING)
def test_a_beat_that_is_another_one_is_fresh_only_when_the_last_look_is_not_long_ago(desk: Desk, shell: str) -> None:
    """What a shell remembers saves it a program, and must not make it believe a beat of long ago."""
    desk.beat(NOBODY, age_seconds=400)
    path, old = desk.state / "heartbeat.json", desk.emergency / "old.json"
    path.rename(old)
    desk.beat(os.getpid())
    first = ("SECONDS=50", "nbguard_look", shlex.join(["cp", "-p", str(old), str(path)]))
    assert desk.look(shell, *first, "SECONDS=150", "nbguard_look") == ""
    assert "no sign of life" in desk.look(shell, *first, "SECONDS=150", "nbguard_look", "SECONDS=170", "nbguard_look")
    desk.beat(os.getpid())
    assert "no sign of life" in desk.look(shell, *first, "SECONDS=350", "nbguard_look")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_was_uninstalled_is_not_missed_and_an_upgrade_that_never_ended_is(desk: Desk, shell: str) -> None:
    desk.beat(NOBODY, age_seconds=400)
    for why, is_missed in ((Why.UNINSTALLED, False), (Why.UPGRADE, True)):
        stop = RecordedStop(why=why, at=datetime.now(UTC), boot="b", boottime_ns=1)
        record_stop(str(desk.state / "stop.json"), stop)
        assert bool(desk.look(shell)) is is_missed


@pytest.mark.parametrize("shell", SHELLS)
def test_a_notice_and_a_failed_unit_are_shown_by_their_first_line(desk: Desk, shell: str) -> None:
    write_notice(str(desk.state / "notice"), "stalled since 14:00 \x1b[31m\nmore of it")
    assert desk.look(shell) == "nbguard: stalled since 14:00 ?[31m"
    desk.note.write_text("the program that it starts is gone\nx\n")
    assert desk.look(shell).splitlines() == [
        "nbguard: nbguard-check.service failed: the program that it starts is gone",
        "nbguard: stalled since 14:00 ?[31m",
    ]
    write_notice(str(desk.state / "notice"), "")
    desk.note.unlink()
    assert desk.look(shell) == ""


@pytest.mark.root
@pytest.mark.parametrize("shell", SHELLS)
def test_a_note_that_somebody_else_left_there_is_not_shown(desk: Desk, shell: str) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: a file of somebody else's")
    desk.note.write_text("\x1b]0;evil\x07\n")
    os.chown(desk.note, 1, 1)
    assert desk.look(shell) == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_exit_status_that_a_prompt_shows_stays_as_it_was(desk: Desk, shell: str) -> None:
    assert desk.look(shell, "(exit 7)", "nbguard_look", '[ "$?" = 7 ] || echo lost >&2') == ""


@pytest.mark.parametrize("shell", COUNTING)
def test_it_looks_every_ten_seconds_and_says_the_same_every_five_minutes(desk: Desk, shell: str) -> None:
    desk.beat(NOBODY, age_seconds=400)
    looks = [word for at in (50, 55, 70, 340, 360) for word in (f"SECONDS={at}", "nbguard_look", f"echo {at} >&2")]
    said = desk.look(shell, *looks).splitlines()
    assert [line for line in said if line.isdigit()] == ["50", "55", "70", "340", "360"]
    assert [said.index(at) - 1 for at in ("50", "360")] == [at for at, line in enumerate(said) if not line.isdigit()]


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        (shell, words)
        for shell, words in (("bash", ["--noprofile", "--rcfile"]), ("dash", []), ("zsh", []), ("mksh", []))
        if shell in SHELLS
    ],
)
def test_added_to_a_start_up_file_it_speaks_before_the_prompt(
    desk: Desk, tmp_path: Path, shell: str, words: list[str]
) -> None:
    desk.beat(NOBODY, age_seconds=400)
    command = [shell, *words, *([str(desk.lines)] if words else []), "-i"]
    (tmp_path / ".zshrc").symlink_to(desk.lines)
    environment = {"PATH": os.environ["PATH"], "ENV": str(desk.lines), "ZDOTDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        command, input=b"true\nexit 0\n", capture_output=True, env=environment, timeout=30, check=False
    )
    assert b"no sign of life" in done.stderr


def test_the_command_prints_lines_that_know_where_things_are_and_edits_nothing(home: Path) -> None:
    answer = nbguard("service", "prompt")
    assert answer.code == 0
    assert not Path(os.environ["NBGUARD_HOME"]).exists()
    done = subprocess.run(["sh", "-c", answer.out + "nbguard_look"], capture_output=True, text=True, check=False)
    assert f"{os.environ['NBGUARD_HOME']}/state is gone" in done.stderr
    login = nbguard("service", "prompt", "--login").out
    assert "PROMPT_COMMAND" not in login
    assert "state is gone" in subprocess.run(["sh", "-c", login], capture_output=True, text=True, check=False).stderr


def test_where_the_daemon_writes_its_pid_is_where_the_shell_reads_it(desk: Desk) -> None:
    text = (desk.state / "heartbeat.json").read_text()
    assert text.splitlines()[1].split() == ['"pid":', f"{json.loads(text)['pid']},"]
