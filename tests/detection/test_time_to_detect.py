"""How long each fault goes unseen: real faults on a real installation, at a thirtieth of the usual pace.

``python -m bench detection`` writes docs/detection.md from what these tests measure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.detection import faults
from tests.detection.machine import PACE, Machine

_REPORT = os.environ.get("NBGUARD_DETECTION_REPORT")  # asked here: tests begin without variables of ours
_SLACK_SECONDS = 8.0  # at the test's own pace: processes start slowly on a machine with other work
_DAEMON, _REST = 4.0, 20.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table. ``on`` makes the machine; a fault that is only advice is shown, and not told."""

    name: str
    strike: faults.Strike
    codes: frozenset[str]
    minutes: float
    on: Callable[[Path], AbstractContextManager[Machine]]
    is_told: bool

    def __str__(self) -> str:
        return self.name


def row(
    name: str,
    strike: faults.Strike,
    *codes: str,
    minutes: float = _REST,
    on: Callable[[Path], AbstractContextManager[Machine]] = faults.plain,
    is_told: bool = True,
) -> Fault:
    return Fault(name=name, strike=strike, codes=frozenset(codes), minutes=minutes, on=on, is_told=is_told)


FAULTS = [
    row("daemon killed", faults.killed, "daemon-down", minutes=_DAEMON),
    row("daemon hung", faults.hung, "daemon-down", minutes=_DAEMON),
    row("daemon crash-looping", faults.crash_looping, "crash-loop", minutes=_DAEMON),
    row("checker dead", faults.checks_stopped, "checker-late"),
    *(
        row(
            f"thread ended: {what}",
            faults.thread_ended(name),
            "worker-failed",
            on=faults.with_a_way_in,
        )
        for what, name in {
            "scheduler": "APScheduler",
            "watcher": "watcher",
            "saves": "saves",
            "packer": "packer",
        }.items()
    ),
    row(
        "thread ended: watchdog",
        faults.thread_ended("InotifyObserver"),
        "watcher-dead",
        on=faults.with_a_way_in,
    ),
    row("watched folder renamed", faults.root_renamed, "root-gone"),
    row("watched folder removed", faults.root_removed, "root-gone"),
    row("watched folder unreadable", faults.root_unreadable, "root-unreadable", on=faults.as_a_plain_user),
    row(
        "disk of the notebooks unmounted",
        faults.root_unmounted,
        "root-gone",
        "coverage-fell",
        on=faults.with_notebooks_on_a_disk,
        is_told=False,
    ),
    row("events lost", faults.events_lost, "watch-overflow", is_told=False),
    row("watches exhausted", faults.watches_exhausted, "watch-limit", on=faults.with_few_watches),
    row("coverage collapsed", faults.half_removed, "mass-deletion", "coverage-fell"),
    row("watch list emptied", faults.watch_list_emptied, "coverage-fell"),
    row("a notebook cannot be read", faults.saves_unseen, "not-kept", on=faults.as_a_plain_user),
    row("packer locked out", faults.packer_locked_out, "packer-behind"),
    row("archive removed", faults.archive_removed, "archive-missing"),
    row("archive: tip garbled", faults.tip_garbled, "archive-damaged"),
    row("archive: pack index garbled", faults.pack_index_garbled, "archive-damaged"),
    row("archive: old object garbled", faults.old_object_garbled, "archive-damaged"),
    row("archive: stale git lock", faults.stale_git_lock, "stale-lock", "archive-damaged", "packer-behind"),
    row("disk full", faults.disk_full, "no-space", on=faults.on_a_small_disk),
    row("inodes full", faults.inodes_full, "no-inodes", on=faults.on_a_small_disk),
    row("disk read-only", faults.disk_read_only, "read-only", on=faults.on_a_small_disk),
    row("disk failing", faults.disk_failing, "io-error", on=faults.on_a_breakable_disk),
    row("mirror unreachable", faults.mirror_unreachable, "mirror-late", on=faults.with_a_mirror, is_told=False),
    row("mail refused", faults.mail_refused, "daemon-down", minutes=_DAEMON, on=faults.with_mail_first),
    row("mail accepted and unread", faults.mail_unread, "daemon-down", minutes=34.0, on=faults.with_mail_first),
    row("clock set back 2 h", faults.clock_set("-7200s"), "clock-jumped", on=faults.with_a_clock, is_told=False),
    row("clock set forward 1 d", faults.clock_set("+86400s"), "clock-jumped", on=faults.with_a_clock, is_told=False),
]


@pytest.mark.long
@pytest.mark.root
@needs_root
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_fault_is_seen_and_told_in_time(fault: Fault, tmp_path: Path) -> None:
    with fault.on(tmp_path) as made, fault.strike(made) as moment:
        seconds = fault.minutes * 60.0 / PACE + _SLACK_SECONDS
        told = made.until(lambda: made.told_after(moment, fault.codes), seconds) if fault.is_told else None
        seen = made.until(lambda: made.seen_after(moment, fault.codes), seconds)
        made.stop_checking()  # the check that told has ended, too: what it took is known
        told = told and made.told_after(moment, fault.codes)
        report(fault, seen, told)
        last = [(look.light, look.code, sorted(look.codes()), look.talk[-300:]) for look in made.looks[-3:]]
        if fault.is_told:
            assert told is not None, (seen, last, made.letters(), made.guard.log_of_daemon)
        else:
            assert seen is not None, (last, made.guard.log_of_daemon)


def report(fault: Fault, seen: float | None, told: float | None) -> None:
    """Keep what was measured, where NBGUARD_DETECTION_REPORT names a file."""
    if _REPORT:
        measured = {"fault": fault.name, "codes": sorted(fault.codes), "minutes": fault.minutes}
        with open(_REPORT, "a", encoding="utf-8") as file:
            file.write(json.dumps({**measured, "seen": seen, "told": told}) + "\n")
