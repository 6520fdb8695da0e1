"""The check and real faults: each is made on a real disk or process, and must be found by what it does to us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from nbguard import app
from nbguard.alerting import Weight
from nbguard.app_check import check_sources, run_check
from nbguard.cli.context import Context
from nbguard.durable import FileLock
from nbguard.errors import Busy
from nbguard.health.check import Checked, picks, seen_by_full
from nbguard.health.gather import gather
from nbguard.health.memory import read_memory
from nbguard.health.sources import allowances
from nbguard.health.verdict import assess
from nbguard.health.weighing import STANDING
from nbguard.model import Signature
from nbguard.places import Places
from tests.helpers import REPOSITORY, nbguard, notebook_bytes, poll


@dataclass
class Kept:
    """A folder with three kept notebooks, and no daemon."""

    work: Path

    @property
    def places(self) -> Places:
        return Context.from_environment(None).places

    @property
    def pack(self) -> Path:
        (pack,) = Path(self.places.archive, "objects/pack").glob("*.pack")
        return pack

    def check(self, *, light: bool = False, sends: bool = False) -> Checked:
        context = Context.from_environment(None)
        bad = context.look_past_settings()
        return run_check(context, bad, light=light, sends=sends, say=lambda text: None)

    def found(self, *, light: bool = False) -> dict[str, Weight]:
        """What a check finds but for what is always so here: code of each finding → the heaviest weight."""
        found = self.check(light=light).report.verdict.weighed
        usual = {*STANDING, "daemon-down", "home-wiped"}  # another test's home: its package lies in /var/tmp
        return {each.problem.code: each.weight for each in reversed(found) if each.problem.code not in usual}


def set_up(work: Path, text: str = "") -> Kept:
    ours = Path(os.environ["NBGUARD_HOME"])
    ours.mkdir(mode=0o700, exist_ok=True)
    config = ours / "config.toml"
    config.write_text(f'schema = 1\nroots = ["{work}"]\n{text}')
    config.chmod(0o600)
    context = Context.from_environment(None)
    app.ensure_archive(context)
    app.import_roots(context, [str(work)], lambda done, total: None)
    return Kept(work)


@pytest.fixture
def kept(home: Path) -> Kept:
    work = home / "work"
    work.mkdir()
    for number in range(3):
        (work / f"{number}.ipynb").write_bytes(notebook_bytes(f"a = {number}" * 50))
    return set_up(work)


def flip(path: Path, at: int) -> None:
    """One bit, as a disk that rots; size and times stay, and nothing of it is in memory."""
    before = path.stat()
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(0o400)


def test_where_all_is_well_everything_is_proven_and_nothing_is_left_behind(kept: Kept) -> None:
    checked = kept.check()
    assert kept.found() == {}
    assert checked.is_proven
    memory = read_memory(f"{kept.places.state}/checks.json")
    assert memory.full
    assert memory.canary_at
    assert memory.drill_at
    assert memory.connected_at
    assert (memory.notebooks, memory.protected, memory.runs) == (3, 3, 2)
    assert not os.path.exists(f"{kept.places.state}/drill")
    assert os.listdir(f"{kept.places.spool}/canary/new") == []
    assert [entry.versions for entry in app.open_library(Context.from_environment(None)).entries(deleted=False)] == [
        1,
        1,
        1,
    ]


def test_what_checks_that_were_killed_left_behind_goes_in_time(kept: Kept) -> None:
    names = (".nbguard-0123456789ab.tmp", ".nbguard-ba9876543210.tmp", "mine.tmp")
    old, fresh, other = (Path(kept.places.state, name) for name in names)
    for path in (old, fresh, other):
        path.touch()
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    kept.check()
    assert (old.exists(), fresh.exists(), other.exists()) == (False, True, True)


def test_a_home_without_nbguard_gains_nothing_by_being_checked(home: Path) -> None:
    assert nbguard("check").code == 0
    assert nbguard("check", "--light", "--json").json["problems"][0]["code"] == "daemon-down"
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("at", [20, -30])
def test_a_bit_that_flips_in_an_old_object_is_found_and_stays_found_until_it_is_mended(kept: Kept, at: int) -> None:
    at = at if at >= 0 else kept.pack.stat().st_size + at
    assert kept.found() == {}
    whole = kept.pack.read_bytes()
    flip(kept.pack, at)
    assert kept.found()["archive-damaged"] in (Weight.GAP, Weight.STALL)

    def since() -> set[datetime]:
        return {each.since for each in kept.check().report.verdict.problems if ".pack" in each.subject}

    assert len(since()) == 1
    assert since() == since()
    kept.pack.chmod(0o600)
    kept.pack.write_bytes(whole)
    assert kept.found() == {}


def test_a_pack_whose_index_rots_or_goes_is_found(kept: Kept) -> None:
    assert kept.found() == {}
    index = kept.pack.with_suffix(".idx")
    flip(index, 1100)
    assert "archive-damaged" in kept.found()
    index.unlink()
    assert "archive-damaged" in kept.found()


@pytest.mark.parametrize("data", [b"", b"f" * 40 + b"\n", b"not a commit"])
def test_a_branch_that_names_no_commit_is_a_stall(kept: Kept, data: bytes) -> None:
    Path(kept.places.archive, "refs/heads/main").write_bytes(data)
    assert kept.found()["archive-damaged"] is Weight.STALL


def test_a_catalog_that_is_gone_or_garbage_is_made_anew_without_a_word(kept: Kept) -> None:
    for path in Path(kept.places.state).glob("catalog.sqlite*"):
        path.unlink()
    assert kept.found() == {}
    Path(kept.places.catalog).write_bytes(os.urandom(5000))
    assert kept.found() == {}


def test_an_archive_that_vanished_is_a_stall_and_what_is_there_is_still_checked(kept: Kept) -> None:
    shutil.rmtree(kept.places.archive)
    checked = kept.check()
    assert checked.report.verdict.exit_code == 20
    assert checked.memory.canary_at is not None
    assert not checked.is_proven


def test_a_spool_that_is_gone_is_not_made_anew(kept: Kept) -> None:
    shutil.rmtree(kept.places.spool)
    assert "own-files-removed" in kept.found()
    assert not os.path.exists(kept.places.spool)


@pytest.mark.parametrize(("share", "runs"), [(0.01, 100), (0.5, 2), (1.0, 1)])
def test_each_notebook_is_read_again_once_in_so_many_runs(share: float, runs: int) -> None:
    paths = [f"/home/ada/{number}.ipynb" for number in range(500)]
    picked = [[path for path in paths if picks(share, run)(path)] for run in range(runs)]
    assert sorted(path for each in picked for path in each) == sorted(paths)
    assert max(map(len, picked)) < 5 * len(paths) * share


def test_a_mount_that_hangs_is_named_and_hides_nothing_else(kept: Kept) -> None:
    hangs, released = threading.Event(), threading.Event()
    other = kept.work.with_name("other")
    other.mkdir()
    kept = set_up_again(kept.work, other)
    sources = check_sources(Context.from_environment(None))

    def walk(roots: Sequence[str]) -> Mapping[str, Signature]:
        if roots == [str(other)]:
            hangs.set()
            released.wait(20)
        return sources.walk(roots)

    began = time.monotonic()
    facts = gather(replace(sources, walk=walk, deadline_seconds=0.1))
    took = time.monotonic() - began
    released.set()
    assert hangs.is_set()
    assert took < 5
    assert facts.notebooks == 3
    assert facts.unprotected == ()
    assert [each.what for each in facts.unseen] == [str(other)]
    verdict = assess(facts, allowances(None))
    told = {each.problem.code: each.weight for each in verdict.weighed}
    assert told["not-looked-at"] is Weight.WARNING
    assert "coverage-fell" not in told
    assert "not-kept" not in seen_by_full(facts, verdict, ())


def set_up_again(*roots: Path) -> Kept:
    config = Path(os.environ["NBGUARD_HOME"], "config.toml")
    listed = ", ".join(f'"{root}"' for root in roots)
    config.write_text(f"schema = 1\nroots = [{listed}]\n")
    return Kept(roots[0])


def test_most_notebooks_gone_without_a_word_is_told_and_a_deletion_that_was_believed_is_not(kept: Kept) -> None:
    assert kept.found() == {}
    hidden = kept.work.with_name("hidden")
    hidden.mkdir()
    for path in kept.work.iterdir():
        path.rename(hidden / path.name)
    assert kept.found() == {"coverage-fell": Weight.WARNING}
    assert kept.found() == {"coverage-fell": Weight.WARNING}
    for path in hidden.iterdir():
        path.rename(kept.work / path.name)
    assert kept.found() == {}
    for path in kept.work.iterdir():
        path.unlink()
    assert nbguard("run", "--once").code in (0, 3)
    assert kept.found() == {}


def test_a_lock_of_git_that_nobody_holds_is_told_once_it_is_old(kept: Kept) -> None:
    lock = Path(kept.places.archive, "refs/heads/main.lock")
    lock.touch()
    assert kept.found() == {}
    os.utime(lock, (1, 1))
    assert kept.found() == {"stale-lock": Weight.WARNING}
    with FileLock(f"{kept.places.archive}/nbguard.lock"):
        assert kept.found() == {}


def test_two_checks_at_once_take_turns_or_leave_and_a_light_one_waits_for_no_whole_one(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbguard.app_check._PATIENCE_SECONDS", 0.3)
    with FileLock(f"{kept.places.state}/check.lock"):
        kept.check(light=True)
        with pytest.raises(Busy) as refused:
            kept.check()
    assert refused.value.exit_code == 11
    kept.check()


def test_no_send_records_no_incident_and_without_it_one_is_recorded(kept: Kept) -> None:
    alerts = Path(kept.places.state, "alerts.json")
    Path(kept.places.archive, "refs/heads/main").write_bytes(b"")
    kept.check()
    assert not alerts.exists()
    kept.check(sends=True)
    assert "archive-damaged" in alerts.read_text()


@pytest.mark.parametrize("name", ["checks.json", "config-last-good.toml", "install-id", "heartbeat.json"])
def test_a_pipe_or_folder_in_the_place_of_our_files_stops_no_check(kept: Kept, name: str) -> None:
    path = Path(kept.places.state, name)
    for put in (os.mkfifo, os.mkdir):
        path.unlink(missing_ok=True)
        put(path)
        ended = nbguard("check", "--json")
        assert ended.code in (0, 20), ended
        assert '"problems"' in ended.out
    assert name != "checks.json" or "could not be remembered" in ended.talk


def test_with_a_broken_configuration_people_are_reached_by_the_last_good_one(home: Path) -> None:
    heard, work = home / "heard", home / "work"
    work.mkdir()
    command = f'command = ["/bin/sh", "-c", "cat >> {heard}; echo >> {heard}"]'
    quick = "[alerts]\nnext_channel_seconds = 1\n"
    kept = set_up(work, f'{quick}[[channels]]\nname = "file"\nhuman = "ada"\n{command}\n')
    kept.check(sends=True)
    assert not heard.exists() or "nonsense" not in heard.read_text()
    with open(kept.places.config, "a") as file:
        file.write("\nnonsense = 1\n")
    answer = nbguard("check", "--json")
    assert answer.code == 78
    assert "config-invalid" in {each["code"] for each in answer.json["problems"]}

    def is_told() -> bool:
        nbguard("check", "--light")
        return heard.exists() and "nonsense" in heard.read_text()

    poll(is_told, 40, every=0.5)


@pytest.mark.root
@pytest.mark.parametrize(
    ("fault", "code"), [("bytes", "no-space"), ("inodes", "no-inodes"), ("read-only", "read-only")]
)
def test_a_disk_that_takes_nothing_is_a_stall_with_its_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: str
) -> None:
    disk, work = home / "disk", home / "work"
    disk.mkdir()
    work.mkdir()
    (work / "a.ipynb").write_bytes(notebook_bytes("a = 1"))
    with small_disk(disk):
        monkeypatch.setenv("NBGUARD_HOME", str(disk / "ours"))
        assert nbguard("setup", "--yes", "--no-service", "--watch", str(work)).code == 0
        assert nbguard("check").code == 0
        if fault == "bytes":
            with open(disk / "fill", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(1 << 16))
        elif fault == "inodes":
            with pytest.raises(OSError, match="No space"):
                for number in range(1000):
                    (disk / str(number)).touch()
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        answer = nbguard("check", "--json")
        assert (answer.code, answer.json["state"]) == (20, "stalled"), answer.out
        assert [each["code"] for each in answer.json["problems"]][:2] == [code, code]
        if fault == "read-only":
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        for path in disk.glob("[f0-9]*"):
            path.unlink()
        assert nbguard("check").code == 0


@contextmanager
def small_disk(folder: Path) -> Generator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,nr_inodes=200", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_light_check_sees_a_daemon_that_was_killed_or_hangs(kept: Kept) -> None:
    quick = "[intervals]\nheartbeat_seconds = 0.5\n[checks]\ndown_seconds = 2\n"
    kept = set_up(kept.work, quick)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "run"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def exit_code() -> int:
        return kept.check(light=True).report.verdict.exit_code

    def is_running() -> bool:
        return kept.check(light=True).report.verdict.running

    try:
        poll(is_running, 30, every=0.2)
        daemon.send_signal(signal.SIGSTOP)
        poll(lambda: exit_code() == 20, 10, every=0.2)
        daemon.send_signal(signal.SIGCONT)
        poll(is_running, 10, every=0.2)
        assert exit_code() == 0
        assert {"daemon-down", "watch-limit"} <= (kept.check(light=True).observation.sees or set())
        daemon.kill()
        daemon.wait()
        poll(lambda: exit_code() == 20, 10, every=0.2)
        assert "watch-limit" not in (kept.check(light=True).observation.sees or ())
    finally:
        daemon.kill()
        daemon.wait()
