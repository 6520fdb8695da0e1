"""State on a network home belongs to one machine at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.errors import Busy
from nbguard.mirror.lease import Held, Lease, LeaseLost, Machine, SeenLease, Whose, judge, this_machine
from nbguard.mirror.look import Look
from tests.helpers import REPOSITORY, notebook_bytes, poll
from tests.mirror.places import Machine as Installation

HERE = Machine(machine="a" * 32, boot="boot-1", user=1000, host="here")
THERE = Machine(machine="b" * 32, boot="boot-9", user=1000, host="there")
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class Clock:
    """One machine's own clocks."""

    def __init__(self, began: float = 0.0, wall: datetime = NOW) -> None:
        self.seconds = began
        self.wall = wall

    def now(self) -> datetime:
        return self.wall + timedelta(seconds=self.seconds)

    def boottime_ns(self) -> int:
        return int(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds


def _lease(folder: Path, machine: Machine, clock: Clock, wait: Callable[[float], object] = lambda _: None) -> Lease:
    return Lease(str(folder), machine, clock=clock, wait=wait)


def _at(seconds: float) -> Look:
    return Look(NOW + timedelta(seconds=seconds), HERE.boot, seconds)


@pytest.mark.parametrize(
    ("held", "seen_seconds_ago", "whose"),
    [
        (None, None, Whose.FREE),
        (Held(holder=THERE, count=3, is_released=True), None, Whose.FREE),
        (Held(holder=HERE, count=3), None, Whose.OURS),
        (Held(holder=replace(HERE, boot="boot-0"), count=3), None, Whose.FREE),  # this machine before its restart
        (Held(holder=replace(HERE, boot="boot-0", host="clone"), count=3), None, Whose.HELD),
        (Held(holder=replace(HERE, user=1001), count=3), None, Whose.HELD),
        (Held(holder=THERE, count=3), None, Whose.HELD),
        (Held(holder=THERE, count=3), 599.0, Whose.HELD),
        (Held(holder=THERE, count=3), 600.0, Whose.ABANDONED),
    ],
)
def test_whose_it_is(held: Held | None, seen_seconds_ago: float | None, whose: Whose) -> None:
    seen = None if seen_seconds_ago is None or held is None else SeenLease(held, _at(1000 - seen_seconds_ago))
    assert judge(held, HERE, seen, _at(1000), 600.0) is whose


def test_a_laptop_that_got_another_name_need_not_wait_for_itself() -> None:
    before = Held(holder=replace(HERE, boot="boot-0", host="name-in-another-network"), count=3)
    assert judge(before, HERE, None, _at(0), 600.0, is_network=False) is Whose.FREE
    assert judge(replace(before, holder=THERE), HERE, None, _at(0), 600.0, is_network=False) is Whose.HELD


def test_a_lease_that_moved_since_it_was_seen_is_held_however_long_ago_that_was() -> None:
    seen = SeenLease(Held(holder=THERE, count=3), _at(0))
    assert judge(Held(holder=THERE, count=4), HERE, seen, _at(9000), 600.0) is Whose.HELD


def test_the_second_machine_waits_until_the_first_one_ends(tmp_path: Path) -> None:
    first, second = _lease(tmp_path, HERE, Clock()), _lease(tmp_path, THERE, Clock(50_000.0))
    first.take()
    with pytest.raises(Busy, match="nbguard runs on here"):
        second.take()
    first.release()
    second.take()
    with pytest.raises(LeaseLost, match="there has taken over"):
        _lease_at(first, 61.0).refresh()


def _lease_at(lease: Lease, seconds: float) -> Lease:
    clock = lease._clock
    assert isinstance(clock, Clock)
    clock.seconds += seconds
    return lease


def test_a_machine_that_died_is_followed_once_it_was_seen_to_stand_still(tmp_path: Path) -> None:
    ours = Clock()
    _lease(tmp_path, THERE, Clock(777.0, NOW + timedelta(days=300))).take()
    for minute in range(10):
        ours.seconds = minute * 60.0
        with pytest.raises(Busy):
            _lease(tmp_path, HERE, ours).take()  # each time a process of its own
    ours.seconds = 601.0
    waited: list[float] = []
    lease = _lease(tmp_path, HERE, ours, waited.append)
    lease.take()
    assert waited and lease.is_ours()
    assert not list(tmp_path.glob("lease-seen-*"))


def test_a_machine_that_lives_is_never_followed_whatever_the_clocks_say(tmp_path: Path) -> None:
    theirs, ours = Clock(5.0), Clock(90_000.0, NOW + timedelta(days=9))
    holder, waiting = _lease(tmp_path, THERE, theirs), _lease(tmp_path, HERE, ours)
    holder.take()
    for _ in range(60):
        theirs.seconds += 60.0
        ours.seconds += 60.0
        ours.wall += timedelta(days=1)  # our wall clock runs mad; the boot clock counts
        holder.refresh()
        with pytest.raises(Busy):
            waiting.take()


def test_of_two_that_take_over_at_once_one_finds_out_that_it_is_not_the_one(tmp_path: Path) -> None:
    third = replace(THERE, machine="c" * 32, host="third")
    _lease(tmp_path, THERE, Clock()).take()
    clock = Clock()
    for machine in (HERE, third):
        with pytest.raises(Busy):
            _lease(tmp_path, machine, clock).take()
    clock.seconds = 700.0
    rival = _lease(tmp_path, third, clock)
    with pytest.raises(LeaseLost):
        _lease(tmp_path, HERE, clock, lambda _: rival._write()).take()
    assert rival.is_ours()


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"holder": 1}', b"\xff" * 100, b"[" * 60_000])
def test_a_lease_that_makes_no_sense_holds_nobody_up(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "lease.json").write_bytes(garbage)
    _lease(tmp_path, HERE, Clock()).take()
    assert json.loads((tmp_path / "lease.json").read_text())["host"] == "here"


def test_a_lease_that_is_a_symlink_or_a_pipe_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "lease.json").symlink_to(tmp_path / "elsewhere")
    _lease(tmp_path, HERE, Clock()).take()
    assert (tmp_path / "elsewhere").read_text() == "mine"
    (tmp_path / "lease.json").unlink()
    os.mkfifo(tmp_path / "lease.json")
    _lease(tmp_path, HERE, Clock()).take()


def test_a_state_folder_that_was_removed_is_not_made_anew_for_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    clock = Clock()
    lease = _lease(state, HERE, clock)
    lease.take()
    (state / "lease.json").unlink()
    state.rmdir()
    clock.seconds = 100.0
    lease.refresh()
    assert not state.exists() and lease.is_ours()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ABab"), st.floats(1.0, 400.0)), max_size=60))
def test_two_machines_never_both_believe_to_have_it(steps: list[tuple[str, float]]) -> None:
    """A and B take it or refresh it; a and b die without a word. Whoever holds it refreshes within its time."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        machines = {"A": HERE, "B": THERE}
        running: dict[str, Lease] = {}
        for who, pause in steps:
            clock.seconds += pause
            for lease in running.values():
                lease.refresh()
            name = who.upper()
            if who.islower():
                running.pop(name, None)
            elif name not in running:
                lease = _lease(Path(folder), machines[name], clock)
                try:
                    lease.take()
                except Busy:
                    continue
                running[name] = lease
            assert sum(lease.is_ours() for lease in running.values()) == len(running) <= 1


def test_this_machine_is_known_by_more_than_its_name() -> None:
    machine = this_machine("boot")
    assert machine.user == os.getuid() and machine.boot == "boot" and len(machine.machine) >= 5


def test_a_disk_that_takes_nothing_keeps_no_daemon_from_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease of this machine's run before the restart lies there, and cannot be written over."""
    _lease(tmp_path, replace(HERE, boot="boot-0"), Clock()).take()
    clock, fired = Clock(), []

    def full(*_: object) -> None:
        fired.append(1)
        raise OSError(28, "No space left on device")

    lease = _lease(tmp_path, HERE, clock)
    with monkeypatch.context() as patched:
        patched.setattr("nbguard.mirror.lease.replace_durably", full)
        with pytest.raises(OSError, match="No space"):
            lease.take()
        assert fired and lease.is_ours()
        clock.seconds = 100.0
        with pytest.raises(OSError, match="No space"):
            lease.refresh()
    lease.refresh()
    assert json.loads((tmp_path / "lease.json").read_text())["boot"] == HERE.boot


# -- two machines, as processes ----------------------------------------------------------------------------------------


def _as_another_machine(
    installation: Installation, tmp_path: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The same home, seen from a machine of another id, boot and name: namespaces, with other files in their places."""
    (tmp_path / "machine-id").write_text("c" * 32 + "\n")
    (tmp_path / "boot-id").write_text("00000000-1111-2222-3333-444444444444\n")
    script = (
        f"{{ test ! -e /etc/machine-id || mount --bind {tmp_path}/machine-id /etc/machine-id; }} && "
        f'mount --bind {tmp_path}/boot-id /proc/sys/kernel/random/boot_id && hostname elsewhere && exec "$@"'
    )
    words = ["unshare", "--mount", "--uts", "--propagation", "private"]
    return subprocess.run(
        [*words, "sh", "-c", script, "sh", sys.executable, "-m", "nbguard", *arguments],
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=installation.home,
        check=False,
    )


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_a_second_machine_with_the_same_home_runs_no_second_daemon(tmp_path: Path) -> None:
    here = Installation(tmp_path / "home")
    here.save("eda.ipynb", "one")
    with open(tmp_path / "said", "wb") as said:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "nbguard", "run", "--watch", str(here.work)],
            env={**here.environment, "PYTHONPATH": str(REPOSITORY)},
            stdout=said,
            stderr=said,
        )
    try:
        poll((here.guard / "state" / "heartbeat.json").exists, 30)
        poll((here.guard / "state" / "lease.json").exists, 30)
        refused = _as_another_machine(here, tmp_path, "run")
        assert refused.returncode == 11 and f"nbguard runs on {os.uname().nodename}" in refused.stderr
        assert list((here.guard / "state").glob("lease-seen-*")), "it has begun to watch whether that one lives"
        assert _as_another_machine(here, tmp_path, "setup", "--yes", "--no-service").returncode == 11
        assert _as_another_machine(here, tmp_path, "check", "--light").returncode == 11, "it is checked where it runs"
        seen = json.loads(_as_another_machine(here, tmp_path, "status", "--json").stdout)
        assert seen["daemon"]["running"] is True and "daemon-down" not in [each["code"] for each in seen["problems"]]
        path = here.work / "new.ipynb"
        path.write_bytes(notebook_bytes("kept there"))
        kept = _as_another_machine(here, tmp_path, "snapshot", str(path))
        assert kept.returncode == 0, f"drafts need no lease: {kept.stderr}"
    finally:
        daemon.terminate()
        daemon.wait(30)
    assert json.loads((here.guard / "state" / "lease.json").read_text())["released"] is True
    after = _as_another_machine(here, tmp_path, "run", "--once")
    assert after.returncode == 0, after.stderr
    assert len(here.nbguard("list", "--json").json) == 2
