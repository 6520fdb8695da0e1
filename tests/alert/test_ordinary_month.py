"""A month of an ordinary laptop, judged by the real rules and told by the real desk: nobody is disturbed.

It sleeps, travels without its disk, is idle at weekends, has its clock set, its folders renamed, is upgraded, crashes
once, and saves notebooks all day. The same month with a daemon that dies is told of within minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from nbguard.alerting import Observation, Observer, Weight
from nbguard.health.check import seen_by_full
from nbguard.health.facts import (
    Allowances,
    ArchiveFacts,
    Choices,
    ClockFacts,
    DaemonFacts,
    Facts,
    RootFacts,
    ServiceFacts,
    SpoolFacts,
    Unprotected,
)
from nbguard.health.verdict import Verdict, assess
from nbguard.health.weighing import ONLY_THE_DAEMON_SEES, SEEN_BY_LIGHT
from nbguard.model import Heartbeat, Problem
from tests.alert.town import DAY, HOUR, MINUTE, Town, swift_folder

WORK, DISK = "/home/ada/work", "/media/ada/disk/notebooks"


@dataclass
class Laptop:
    """What a check would see of it at each moment; ``minute`` looks happen every two minutes while it is awake."""

    town: Town
    chance: random.Random
    awake_seconds: float = 0.0
    woke_true: float = 0.0
    booted_true: float = -30 * MINUTE
    daemon_since: float = -29 * MINUTE
    daemon_ended: float | None = None
    excused_until: float = float("-inf")
    is_disk_there: bool = True
    jumped: tuple[float, float] | None = None
    bad_starts: int = 0
    is_dead: bool = False
    renamed_at: float = float("-inf")
    seen: frozenset[str] = frozenset()

    # -- its days ------------------------------------------------------------------------------------------------------

    def month(self) -> None:
        for day in range(30):
            if day % 7 == 5:
                self.sleep(HOUR)  # left open on Saturday, idle
            self.day(day, is_idle=day % 7 in (5, 6))
            self.sleep(DAY - (self.town.clock.true % DAY))

    def day(self, day: int, *, is_idle: bool) -> None:
        town, chance = self.town, self.chance
        for hour in range(9):
            if day % 7 == 1 and hour == 0:
                self.boot()
            if hour == 4:
                self.sleep(chance.uniform(10, 90) * MINUTE)
            if hour == chance.randrange(9):
                self.is_disk_there = not self.is_disk_there
            if day in (8, 9, 17) and hour == 2:
                jump = {8: -2 * HOUR, 9: 2 * HOUR, 17: DAY}[day]
                town.clock.wall_skew += jump
                self.jumped = (jump, town.clock.true)
            if day == 12 and hour == 3:
                self.stop(3 * MINUTE, is_upgrade=True)
            if day == 20 and hour == 5:
                self.stop(6.0, is_upgrade=False)
                self.bad_starts = 1
            if hour == 6:
                self.renamed_at = town.clock.true
            self.live(HOUR, is_idle=is_idle)

    def live(self, seconds: float, *, is_idle: bool = False) -> None:
        end, number = self.town.clock.true + seconds, 0
        while self.town.clock.true < end:
            passed = 2 * MINUTE + self.chance.uniform(0, 5)
            self.town.clock.true += passed
            self.awake_seconds += passed
            if self.daemon_ended is not None and self.town.clock.true >= self.excused_until:
                self.daemon_ended, self.daemon_since = None, self.town.clock.true
            number += 1
            self.check(is_full=number % 8 == 0, is_idle=is_idle)

    def sleep(self, seconds: float) -> None:
        """The boot clock goes on; the daemon's waking time does not. A check runs right after waking."""
        self.town.clock.true += seconds
        self.woke_true = self.town.clock.true
        self.check(is_full=self.chance.random() < 0.5, is_idle=True)

    def boot(self) -> None:
        self.town.clock.true += 40
        self.town.reboot()
        self.booted_true = self.woke_true = self.town.clock.true - 5
        for late in (20.0, 35.0):  # the light check may come before the daemon is up
            self.town.clock.true = self.booted_true + late
            self.check(is_full=False, is_idle=True)
        self.daemon_since = self.booted_true + 40
        self.town.clock.true = self.booted_true + 2 * MINUTE
        self.check(is_full=True, is_idle=True)

    def stop(self, seconds: float, *, is_upgrade: bool) -> None:
        """The daemon is down for so long: taken down by an upgrade, or killed and begun again by its service."""
        self.daemon_ended = self.town.clock.true
        self.excused_until = self.town.clock.true + seconds
        self.check(is_full=is_upgrade, is_idle=True)
        if is_upgrade:
            self.town.clock.true += 90
            self.check(is_full=False, is_idle=True)

    # -- what is seen of it --------------------------------------------------------------------------------------------

    def check(self, *, is_full: bool, is_idle: bool) -> None:
        facts = self.facts(is_full=is_full, is_idle=is_idle)
        verdict = assess(facts, Allowances())
        self.seen |= {each.problem.code for each in verdict.weighed}
        observation = Observation(
            observer=Observer.FULL if is_full else Observer.LIGHT,
            at=facts.now,
            boot=self.town.clock.boot,
            boottime_ns=self.town.clock.boottime_ns(),
            found=verdict.weighed,
            sees=self.sees(facts, verdict, is_full=is_full),
        )
        self.town.desk.observe(observation)
        self.town.desk.step()

    def sees(self, facts: Facts, verdict: Verdict, *, is_full: bool) -> frozenset[str]:
        if is_full:
            return seen_by_full(facts, verdict, sorted(self.seen))
        return SEEN_BY_LIGHT | (ONLY_THE_DAEMON_SEES if verdict.running else frozenset())

    def facts(self, *, is_full: bool, is_idle: bool) -> Facts:
        now = self.town.clock.now()
        return Facts(
            now=now,
            daemon=self.daemon(now),
            configured=True,
            roots=tuple(self.roots()),
            notebooks=40,
            unprotected=tuple(self.unprotected(is_idle=is_idle)) if is_full else (),
            slow=(),
            emptied=(f"{WORK}/emptied.ipynb",) if is_full and self.chance.random() < 0.1 else (),
            spool=SpoolFacts(drafts=12, bytes=90_000, oldest_seconds=self.chance.uniform(0, 910)),
            archive=ArchiveFacts(made=True, present=True),
            service=ServiceFacts(
                manager="systemd",
                enabled=True,
                active=self.daemon_ended is None or not self.is_excused,
                state="active",
                executable_exists=True,
                lingers=True,
            ),
            clock=self.clock(),
            choices=Choices(channels=2, shares_disk=True, has_service=True),
        )

    @property
    def is_excused(self) -> bool:
        return self.daemon_ended is not None and self.excused_until - self.daemon_ended > MINUTE

    def daemon(self, now: datetime) -> DaemonFacts:
        clock = self.town.clock
        begun = self.daemon_since >= self.booted_true
        down_since = self.daemon_ended if self.daemon_ended is not None else clock.true - self.chance.uniform(0, 12)
        if self.is_dead:
            down_since = min(down_since, self.died_at)
        slept = max(0.0, self.woke_true - down_since)  # the time asleep is not its fault
        age = clock.true - down_since
        is_up = self.daemon_ended is None and not self.is_dead
        return DaemonFacts(
            heartbeat=Heartbeat(
                pid=4711,
                boot=clock.boot if begun else "before",
                since=now - timedelta(seconds=max(0.0, clock.true - self.daemon_since)),
                beat_at=now - timedelta(seconds=age),
                beat_boottime_ns=0,
                version="1",
                roots=(),
                problems=tuple(self.said(now)),
                stopped=self.is_excused,
            ),
            age_seconds=age,
            awake_seconds=max(0.0, age - slept),
            same_boot=begun,
            up_seconds=clock.true - self.booted_true,
            pid_alive=is_up and begun,
            lock_held=is_up and begun,
            is_excused=self.is_excused,
            bad_starts=self.bad_starts,
        )

    died_at: float = 0.0

    def said(self, now: datetime) -> Iterator[Problem]:
        """What the daemon itself says in such a life."""
        plain = Problem(code="", message="it is so", hint="", since=now)
        if not self.is_disk_there:
            yield replace(plain, code="root-gone", subject=DISK)
            yield replace(plain, code="unreachable", subject=f"{DISK}/eda.ipynb")
        if self.clock().jump_seconds and self.clock().ago_seconds < HOUR:
            yield replace(plain, code="clock-jumped", subject="clock")
        if self.chance.random() < 0.01:
            yield replace(plain, code="watch-overflow", subject=WORK)

    def roots(self) -> Iterator[RootFacts]:
        yield RootFacts(path=WORK, device=1, notebooks=30, before=30, living=30)
        if self.is_disk_there:
            yield RootFacts(path=DISK, device=2, notebooks=10, before=10, living=10)
        else:
            yield RootFacts(path=DISK, trouble="root-gone", reason="gone", is_unmounted=True, before=10, living=10)

    def unprotected(self, *, is_idle: bool) -> Iterator[Unprotected]:
        """Saved a moment ago; for a while after a folder was renamed, also what was in it."""
        saved = 0 if is_idle else self.chance.randrange(3)
        if self.town.clock.true - self.renamed_at < 30:
            saved += 12
        for number in range(saved):
            seconds = self.chance.uniform(0, 8)
            yield Unprotected(
                path=f"{WORK}/{number}.ipynb", size=90_000, quiet_seconds=seconds, waiting_seconds=seconds
            )

    def clock(self) -> ClockFacts:
        if self.jumped is None or self.jumped[1] < self.booted_true:
            return ClockFacts()
        return ClockFacts(jump_seconds=self.jumped[0], ago_seconds=self.town.clock.true - self.jumped[1])


def a_month(seed: int) -> Laptop:
    with swift_folder() as folder:
        laptop = Laptop(Town(folder), random.Random(seed))
        laptop.town.prove()
        laptop.month()
        return laptop


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))])
def test_nobody_is_disturbed_in_a_month_of_ordinary_life(seed: int) -> None:
    laptop = a_month(seed)
    assert [laptop.town.sees(each) for each in laptop.town.boxes.all()] == []
    assert laptop.town.line == ""
    assert {"clock-jumped", "root-gone", "watch-overflow", "daemon-down", "emptied"} <= laptop.seen, "it all happened"


def test_in_the_same_life_a_dead_daemon_is_told_within_four_minutes() -> None:
    with swift_folder() as folder:
        laptop = Laptop(Town(folder), random.Random(1))
        laptop.town.prove()
        for day in range(3):
            laptop.day(day, is_idle=False)
        assert laptop.town.boxes.all() == []
        laptop.is_dead, laptop.died_at = True, laptop.town.clock.true
        laptop.live(10 * MINUTE)
        told = laptop.town.boxes.all()
        assert len(told) == 1 and "daemon-down" in laptop.town.sees(told[0])
        assert told[0].at - laptop.died_at <= 4 * MINUTE
        assert [each.weight for each in laptop.town.desk.open_incidents()] == [Weight.STALL]
