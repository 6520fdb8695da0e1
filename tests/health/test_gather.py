"""Facts are what the disk says, not what a component says of itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbguard.durable import FileLock
from nbguard.errors import ArchiveTrouble
from nbguard.health.check import check_light
from nbguard.health.compare import digest_file
from nbguard.health.facts import Facts, SpoolFacts
from nbguard.health.gather import gather
from nbguard.health.memory import CheckMemory
from nbguard.health.places_seen import is_locked, refuses_share
from nbguard.health.sources import Sources, allowances, system_sources, watched_roots
from nbguard.health.verdict import Verdict, assess
from nbguard.health.weighing import STANDING
from nbguard.model import Head, Heartbeat, Moment, RootReport, Signature, Status
from nbguard.places import Places, find_places
from nbguard.settings import Intervals, Settings


@dataclass
class StillClock:
    """Clocks that stand where they are put. ``asleep_seconds`` is the time the machine slept since boot."""

    wall: datetime = field(default_factory=lambda: datetime.now(UTC))
    awake_seconds: float = 10_000.0
    asleep_seconds: float = 0.0

    def now(self) -> datetime:
        return self.wall

    def boottime_ns(self) -> int:
        return int((self.awake_seconds + self.asleep_seconds) * 1e9)

    def monotonic(self) -> float:
        return self.awake_seconds


@dataclass
class Scene:
    """A root with notebooks on a real disk, and everything else said."""

    root: Path
    places: Places
    clock: StillClock = field(default_factory=StillClock)
    kept: dict[str, Head] = field(default_factory=dict)
    beat: Heartbeat | None = None
    digested: list[str] = field(default_factory=list)
    memory: CheckMemory = field(default_factory=CheckMemory)
    oldest_draft: float | None = None

    def write(self, name: str, data: bytes = b"one") -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def keep(self, path: str, status: Status = Status.OK) -> None:
        self.kept[path] = Head(
            path=path,
            notebook="n",
            version="v",
            sha256=digest_file(path),
            signature=signature(path),
            moment=Moment(0, 0, 0),
            status=status,
        )

    def begin_daemon(self, *, ago: float = 5_000.0, swept_ago: float = 10.0) -> None:
        self.beat = Heartbeat(
            pid=os.getpid(),
            boot="this boot",
            since=self.clock.wall - timedelta(seconds=ago),
            beat_at=self.clock.wall,
            beat_boottime_ns=self.clock.boottime_ns(),
            beat_monotonic=self.clock.monotonic(),
            version="0",
            roots=(
                RootReport(
                    path=str(self.root),
                    mode="events",
                    notebooks=0,
                    watches=1,
                    last_sweep_at=self.clock.wall - timedelta(seconds=swept_ago),
                ),
            ),
            problems=(),
        )

    def sources(self) -> Sources:
        def digest(path: str) -> str | None:
            self.digested.append(path)
            return digest_file(path)

        base = system_sources(
            self.places,
            Settings(roots=(str(self.root),)),
            walk=walk,
            heads=lambda: list(self.kept.values()),
            spool=lambda: SpoolFacts(drafts=1, oldest_seconds=self.oldest_draft),
        )
        return replace(
            base,
            clock=self.clock,
            boot="this boot",
            heartbeat=lambda: self.beat,
            digest=digest,
            memory=lambda: self.memory,
            pid_alive=lambda pid: True,
            lock_held=lambda: True,
        )

    def look_as_a_check(self) -> Verdict:
        """A light check, which remembers that it looked, and what a full one would say."""
        verdict = assess(self.look(), allowances(None))
        self.memory = check_light(self.sources()).memory
        return verdict

    def look(self) -> Facts:
        return gather(self.sources())

    def beat_again(self) -> None:
        assert self.beat is not None
        self.beat = replace(
            self.beat,
            beat_at=self.clock.wall,
            beat_boottime_ns=self.clock.boottime_ns(),
            beat_monotonic=self.clock.monotonic(),
        )

    def passes(self, seconds: float, *, asleep: bool = False, set_by: float = 0.0) -> None:
        self.clock.wall += timedelta(seconds=seconds + set_by)
        if asleep:
            self.clock.asleep_seconds += seconds
        else:
            self.clock.awake_seconds += seconds


def signature(path: str) -> Signature:
    status = os.stat(path)
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def walk(roots: Sequence[str]) -> dict[str, Signature]:
    paths = [str(path) for root in roots for path in Path(root).rglob("*.ipynb")]
    return {path: signature(path) for path in paths}


@pytest.fixture
def scene(tmp_path: Path, home: Path) -> Scene:
    root = tmp_path / "work"
    root.mkdir()
    return Scene(root, find_places(home=str(tmp_path / "ours")))


def test_a_kept_notebook_is_protected_and_is_not_read_again(scene: Scene) -> None:
    scene.keep(scene.write("a.ipynb"))
    assert scene.look().unprotected == ()
    assert scene.digested == []


def test_a_touched_notebook_is_read_and_found_protected(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path)
    os.utime(path, (1, 1))
    assert scene.look().unprotected == ()
    assert scene.digested == [path]


@pytest.mark.parametrize("data", [b"two", b"longer", b""])
def test_other_bytes_are_unprotected_whatever_their_size(scene: Scene, data: bytes) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path)
    scene.write("a.ipynb", data)
    assert [each.path for each in scene.look().unprotected] == [path]


def test_bytes_replaced_behind_equal_times_and_size_are_unprotected(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path)
    before = os.stat(path)
    scene.write("other", b"two")
    os.rename(scene.root / "other", path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [each.path for each in scene.look().unprotected] == [path]


def test_a_notebook_without_any_version_is_unprotected(scene: Scene) -> None:
    path = scene.write("new.ipynb")
    (each,) = scene.look().unprotected
    assert (each.path, each.size) == (path, 3)


def test_what_was_there_before_the_daemon_waits_only_since_it_began(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.clock.wall += timedelta(hours=2)
    scene.begin_daemon(ago=30)
    (each,) = scene.look().unprotected
    assert each.path == path
    assert each.quiet_seconds == pytest.approx(7200, abs=60)
    assert each.waiting_seconds == pytest.approx(30, abs=1)


def test_a_folder_moved_in_since_the_last_sweep_is_not_late(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "old.ipynb"
    path.write_bytes(b"old")
    changed = os.stat(path).st_ctime
    os.rename(tmp_path / "elsewhere", scene.root / "project")
    moved = os.stat(scene.root / "project").st_ctime
    assert moved >= changed
    scene.clock.wall = datetime.fromtimestamp(moved, UTC) + timedelta(seconds=20)
    scene.begin_daemon(swept_ago=100)
    (each,) = scene.look().unprotected
    assert each.waiting_seconds == pytest.approx(20, abs=1)


def test_a_busy_folder_is_no_excuse_for_a_notebook_that_sweeps_have_seen(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path)
    scene.write("a.ipynb", b"two")
    scene.clock.wall += timedelta(seconds=900)
    os.utime(scene.root)
    scene.begin_daemon(swept_ago=5)
    (each,) = scene.look().unprotected
    assert each.waiting_seconds == pytest.approx(900, abs=5)


def test_a_deleted_head_protects_nothing(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path)
    scene.kept[path] = replace(scene.kept[path], sha256=None, signature=None)
    assert [each.path for each in scene.look().unprotected] == [path]


def test_emptied_and_slow_notebooks_are_told(scene: Scene) -> None:
    path = scene.write("a.ipynb")
    scene.keep(path, Status.EMPTIED)
    big = scene.write("big.ipynb", b"x" * 20_000_001)
    scene.keep(big)
    facts = scene.look()
    assert (facts.emptied, facts.slow) == ((path,), (big,))


def test_an_archive_that_cannot_be_read_makes_no_claims_about_notebooks(scene: Scene) -> None:
    scene.write("a.ipynb")

    def refuse() -> Sequence[Head]:
        raise ArchiveTrouble("git said no")

    facts = gather(replace(scene.sources(), heads=refuse))
    assert facts.unread is not None
    assert facts.unread.code == "archive-damaged"
    assert "git said no" in facts.unread.message
    assert facts.unprotected == ()


def test_a_root_that_is_gone_or_a_file_is_named_and_not_walked(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    scene.root.rmdir()
    walked: list[str] = []

    def spy(roots: Sequence[str]) -> dict[str, Signature]:
        walked.extend(roots)
        return {}

    (root,) = gather(replace(scene.sources(), walk=spy)).roots
    assert root.trouble == "root-gone"
    assert walked == []


def test_sleep_does_not_age_a_heartbeat_but_hanging_does(scene: Scene) -> None:
    scene.begin_daemon()
    scene.clock.asleep_seconds = 30_000.0
    scene.clock.awake_seconds += 4.0
    daemon = scene.look().daemon
    assert daemon.awake_seconds == pytest.approx(4.0)
    assert daemon.age_seconds == pytest.approx(30_004.0)


def test_a_clock_set_back_does_not_make_an_old_heartbeat_fresh(scene: Scene) -> None:
    scene.begin_daemon()
    scene.clock.awake_seconds += 500.0
    scene.clock.wall -= timedelta(days=1)
    assert scene.look().daemon.awake_seconds == pytest.approx(500.0)


def test_a_heartbeat_of_another_boot_is_known_as_such(scene: Scene) -> None:
    scene.begin_daemon()
    facts = gather(replace(scene.sources(), boot="the next boot"))
    assert not facts.daemon.same_boot
    assert facts.daemon.up_seconds == pytest.approx(10_000.0)


def test_a_held_lock_is_seen_and_looking_never_takes_it(tmp_path: Path) -> None:
    path = str(tmp_path / "daemon.lock")
    assert not is_locked(path)
    with FileLock(path):
        assert is_locked(path)
    assert not is_locked(path)
    with FileLock(path):
        pass


def test_where_there_is_no_list_of_locks_the_lock_is_asked_itself(tmp_path: Path) -> None:
    path = tmp_path / "daemon.lock"
    lock = FileLock(str(path))
    lock.acquire()
    fd = os.open(path, os.O_RDONLY)
    assert refuses_share(fd)
    lock.release()
    assert not refuses_share(fd)
    os.close(fd)


def test_roots_are_the_configured_ones_and_those_the_running_daemon_was_given(scene: Scene) -> None:
    scene.begin_daemon()
    assert scene.beat is not None
    settings = Settings(roots=("/a", str(scene.root)))
    assert watched_roots(settings, scene.beat) == ("/a", str(scene.root))
    assert watched_roots(None, scene.beat) == (str(scene.root),)
    assert watched_roots(None, replace(scene.beat, stopped=True)) == ()


def test_allowances_follow_the_configured_intervals() -> None:
    usual, quick = allowances(None), allowances(Settings(intervals=Intervals(sweep_seconds=24, heartbeat_seconds=1)))
    assert (usual.heartbeat_seconds, usual.quiet_seconds, usual.stalled_seconds) == (60, 60, 600)
    assert (quick.heartbeat_seconds, quick.quiet_seconds, quick.stalled_seconds) == (6, 6, 60)


def test_of_folders_that_cannot_be_read_those_count_that_hold_notebooks_of_ours(scene: Scene) -> None:
    path = scene.write("mine/a.ipynb")
    scene.keep(path)
    mine, theirs = os.path.dirname(path), str(scene.root / "theirs")
    sources = replace(scene.sources(), unreadable=lambda: [mine, theirs])
    assert gather(sources).unreadable == (mine,)


def beating_scene(scene: Scene) -> list[str]:
    """All is kept, the daemon runs, checks looked a while ago; the path that was saved just now, not kept yet."""
    scene.clock.wall = datetime.now(UTC) - timedelta(seconds=60)
    scene.begin_daemon(swept_ago=100)
    scene.look_as_a_check()
    scene.passes(60)
    scene.beat_again()
    scene.oldest_draft = 20.0
    scene.write("a.ipynb", b"saved just now")
    return codes(scene.look_as_a_check())


def codes(verdict: Verdict) -> list[str]:
    """But for what is always so here: there is no archive in these scenes."""
    return [each.code for each in verdict.problems if each.code not in {*STANDING, "archive-missing"}]


@pytest.mark.parametrize("set_by", [-7_200.0, 86_400.0, 3_600.0])
def test_a_clock_that_is_set_is_named_and_nothing_else_is_found_for_it(scene: Scene, set_by: float) -> None:
    assert beating_scene(scene) == []
    scene.passes(10, set_by=set_by)
    scene.beat_again()
    assert scene.oldest_draft is not None
    scene.oldest_draft = max(0.0, scene.oldest_draft + 10 + set_by)
    assert codes(scene.look_as_a_check()) == ["clock-jumped"]
    scene.passes(3_700)
    scene.beat_again()
    scene.oldest_draft = None
    scene.keep(str(scene.root / "a.ipynb"))
    assert codes(scene.look_as_a_check()) == []


@pytest.mark.parametrize("hours", [8, 60])
def test_what_was_saved_just_before_a_night_asleep_is_not_late_at_waking(scene: Scene, hours: float) -> None:
    assert beating_scene(scene) == []
    scene.passes(hours * 3_600, asleep=True)
    scene.passes(5)
    scene.oldest_draft = hours * 3_600 + 25
    assert codes(scene.look_as_a_check()) == []
    scene.passes(40)
    scene.beat_again()
    assert codes(scene.look_as_a_check()) == []
    scene.passes(60)
    scene.beat_again()
    late = scene.look_as_a_check()
    assert codes(late) == ["not-kept"]
    assert late.exit_code == 22
