"""The verdict, as a table: these facts, that state, this exit code, those problems."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.health.facts import Allowances, ArchiveFacts, DaemonFacts, Facts, RootFacts, SpoolFacts, Unprotected
from nbguard.health.verdict import State, assess
from nbguard.health.weighing import MOST_LISTED
from nbguard.model import Heartbeat, Problem, RootReport

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
ALLOWED = Allowances()
BEAT = Heartbeat(
    pid=4711,
    boot="this",
    since=NOW - timedelta(days=1),
    beat_at=NOW - timedelta(seconds=3),
    beat_boottime_ns=0,
    version="0",
    roots=(),
    problems=(),
)
RUNNING = DaemonFacts(
    heartbeat=BEAT, age_seconds=3.0, awake_seconds=3.0, same_boot=True, up_seconds=1e6, pid_alive=True, lock_held=True
)
WELL = Facts(
    now=NOW,
    daemon=RUNNING,
    configured=True,
    roots=(RootFacts(path="/home/ada/work"),),
    notebooks=3,
    unprotected=(),
    slow=(),
    emptied=(),
    spool=SpoolFacts(),
    archive=ArchiveFacts(made=True, present=True),
)


def late(seconds: float, *, size: int = 1000, path: str = "/home/ada/work/a.ipynb", waiting: float = -1) -> Unprotected:
    return Unprotected(path=path, size=size, quiet_seconds=seconds, waiting_seconds=seconds if waiting < 0 else waiting)


def beating(**changes: object) -> DaemonFacts:
    return replace(RUNNING, heartbeat=replace(BEAT, **changes))  # type: ignore[arg-type]


def problem(code: str, subject: str = "") -> Problem:
    return Problem(code=code, message="m", hint="h", since=NOW, subject=subject)


def polled(path: str) -> RootReport:
    return RootReport(path=path, mode="polling", notebooks=1, watches=0, last_sweep_at=NOW, note="nfs is polled")


STOPPED = replace(beating(stopped=True), pid_alive=False, lock_held=False, awake_seconds=9e5, age_seconds=9e5)
DEAD = replace(RUNNING, pid_alive=False, lock_held=False)

CASES: list[tuple[str, Facts, str, int, list[str]]] = [
    ("all is well", WELL, "ok", 0, []),
    ("idle for a month is not stalled", replace(WELL, now=NOW + timedelta(days=30)), "ok", 0, []),
    (
        "a laptop that slept for a night is not stalled",
        replace(WELL, daemon=replace(RUNNING, age_seconds=30_000.0, awake_seconds=4.0)),
        "ok",
        0,
        [],
    ),
    (
        "killed 5 s ago: degraded, not yet a stall",
        replace(WELL, daemon=replace(DEAD, awake_seconds=5.0)),
        "degraded",
        0,
        ["daemon-down"],
    ),
    (
        "killed 61 s ago: stalled",
        replace(WELL, daemon=replace(DEAD, awake_seconds=61.0)),
        "stalled",
        20,
        ["daemon-down"],
    ),
    (
        "hung for 61 s: stalled",
        replace(WELL, daemon=replace(RUNNING, awake_seconds=61.0)),
        "stalled",
        20,
        ["daemon-down"],
    ),
    (
        "another process took its number: not running",
        replace(WELL, daemon=replace(RUNNING, lock_held=False, awake_seconds=90.0)),
        "stalled",
        20,
        ["daemon-down"],
    ),
    (
        "booted 20 s ago, not started yet",
        replace(WELL, daemon=replace(DEAD, same_boot=False, up_seconds=20.0)),
        "degraded",
        0,
        ["daemon-down"],
    ),
    (
        "booted 2 minutes ago, not started: stalled",
        replace(WELL, daemon=replace(DEAD, same_boot=False, up_seconds=120.0)),
        "stalled",
        20,
        ["daemon-down"],
    ),
    ("stopped on purpose: degraded", replace(WELL, daemon=STOPPED), "degraded", 0, ["daemon-down"]),
    (
        "stopped on purpose, and a notebook changed since: a gap",
        replace(WELL, daemon=STOPPED, unprotected=(late(1),)),
        "degraded",
        22,
        ["not-kept", "daemon-down"],
    ),
    ("never ran, set up", replace(WELL, daemon=DaemonFacts()), "degraded", 0, ["daemon-down"]),
    (
        "nothing set up at all",
        replace(WELL, daemon=DaemonFacts(), configured=False, roots=(), notebooks=0, archive=ArchiveFacts()),
        "degraded",
        0,
        ["daemon-down"],
    ),
    ("saved 30 s ago: still on its way", replace(WELL, unprotected=(late(30),)), "ok", 0, []),
    ("not kept after 61 s: a gap", replace(WELL, unprotected=(late(61),)), "degraded", 22, ["not-kept"]),
    ("not kept after 10 minutes: stalled", replace(WELL, unprotected=(late(601),)), "stalled", 20, ["not-kept"]),
    (
        "old, but moved into the root just now",
        replace(WELL, unprotected=(late(1e6, waiting=20),)),
        "ok",
        0,
        [],
    ),
    (
        "not kept because the disk is full: stalled at once",
        replace(WELL, unprotected=(late(61),), daemon=beating(problems=(problem("no-space"),))),
        "stalled",
        20,
        ["not-kept", "no-space"],
    ),
    (
        "over 20 MB: one version in ten minutes is the rule",
        replace(WELL, unprotected=(late(500, size=30_000_000),)),
        "ok",
        0,
        [],
    ),
    (
        "over 20 MB and later than that: a gap",
        replace(WELL, unprotected=(late(700, size=30_000_000),)),
        "degraded",
        22,
        ["not-kept"],
    ),
    (
        "over 20 MB and twice too late: stalled",
        replace(WELL, unprotected=(late(1300, size=30_000_000),)),
        "stalled",
        20,
        ["not-kept"],
    ),
    (
        "over 512 MB: a gap with its reason, never a stall",
        replace(WELL, unprotected=(late(9e6, size=600_000_000),)),
        "degraded",
        22,
        ["too-large"],
    ),
    (
        "over 512 MB, just saved: waiting changes nothing, so the gap is told at once",
        replace(WELL, unprotected=(late(1, size=600_000_000),)),
        "degraded",
        22,
        ["too-large"],
    ),
    (
        "a configuration that cannot be used: told, whatever else holds",
        replace(WELL, configured=False, bad_configuration=problem("config-invalid")),
        "degraded",
        0,
        ["config-invalid"],
    ),
    (
        "the archive vanished, and the daemon met it too: told once",
        replace(
            WELL,
            archive=ArchiveFacts(made=True, present=False),
            daemon=beating(problems=(problem("archive-missing", "packer"),)),
        ),
        "stalled",
        20,
        ["archive-missing"],
    ),
    (
        "the archive vanished",
        replace(WELL, archive=ArchiveFacts(made=True, present=False)),
        "stalled",
        20,
        ["archive-missing"],
    ),
    (
        "configured, archive not made yet",
        replace(WELL, archive=ArchiveFacts()),
        "degraded",
        0,
        ["archive-missing"],
    ),
    (
        "a root is unmounted",
        replace(WELL, roots=(RootFacts(path="/mnt/x", trouble="root-gone", reason="No such file"),)),
        "degraded",
        0,
        ["root-gone"],
    ),
    (
        "the daemon and we see the same root gone: said once",
        replace(
            WELL,
            roots=(RootFacts(path="/mnt/x", trouble="root-gone", reason="No such file"),),
            daemon=beating(problems=(problem("root-gone", "/mnt/x"),)),
        ),
        "degraded",
        0,
        ["root-gone"],
    ),
    ("no folder is watched", replace(WELL, roots=(), notebooks=0), "degraded", 0, ["coverage-fell"]),
    (
        "the daemon's problems are passed on",
        replace(WELL, daemon=beating(problems=(problem("watch-limit", "/a"), problem("clock-jumped")))),
        "degraded",
        0,
        ["watch-limit", "clock-jumped"],
    ),
    (
        "a dead daemon's last words are not",
        replace(WELL, daemon=replace(beating(problems=(problem("watch-limit"),)), pid_alive=False)),
        "degraded",
        0,
        ["daemon-down"],
    ),
    (
        "a folder was added to the configuration, and the daemon does not know",
        replace(WELL, roots=(*WELL.roots, RootFacts(path="/new")), daemon=beating(roots=(polled(WELL.roots[0].path),))),
        "degraded",
        0,
        ["coverage-fell", "polling"],
    ),
    ("polling is said", replace(WELL, daemon=beating(roots=(polled(WELL.roots[0].path),))), "degraded", 0, ["polling"]),
    (
        "packing is late",
        replace(WELL, spool=SpoolFacts(drafts=9, bytes=9, oldest_seconds=2000.0)),
        "degraded",
        0,
        ["packer-behind"],
    ),
    ("a spool of ten minutes is normal", replace(WELL, spool=SpoolFacts(drafts=9, oldest_seconds=600.0)), "ok", 0, []),
    (
        "an emptied notebook",
        replace(WELL, emptied=("/home/ada/work/a.ipynb",)),
        "degraded",
        0,
        ["emptied"],
    ),
    (
        "the catalog cannot be read: not a word about single notebooks",
        replace(WELL, unread=problem("archive-damaged"), unprotected=()),
        "degraded",
        22,
        ["archive-damaged"],
    ),
]


@pytest.mark.parametrize(
    ("facts", "state", "exit_code", "codes"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_these_facts_give_this_verdict(facts: Facts, state: str, exit_code: int, codes: list[str]) -> None:
    verdict = assess(facts, ALLOWED)
    assert (str(verdict.state), verdict.exit_code, [each.code for each in verdict.problems]) == (
        state,
        exit_code,
        codes,
    )


def test_what_cannot_be_told_is_not_counted_as_protected() -> None:
    assert assess(WELL, ALLOWED).protected == WELL.notebooks > 0
    assert assess(replace(WELL, unread=problem("archive-damaged"), unprotected=()), ALLOWED).protected == 0


@pytest.mark.parametrize("facts", [case[1] for case in CASES], ids=[c[0] for c in CASES])
def test_every_problem_says_what_to_do(facts: Facts) -> None:
    for each in assess(facts, ALLOWED).problems:
        assert each.message
        assert each.hint
        assert each.since <= facts.now


def test_ten_thousand_unprotected_notebooks_are_not_ten_thousand_lines() -> None:
    many = tuple(late(61, path=f"/w/{number}.ipynb") for number in range(10_000))
    verdict = assess(replace(WELL, notebooks=10_000, unprotected=many), ALLOWED)
    assert len(verdict.problems) == MOST_LISTED + 1
    assert verdict.problems[-1].message.startswith(f"{10_000 - MOST_LISTED} more")
    assert verdict.protected == 0


def test_the_longest_wait_is_told_even_while_it_is_allowed() -> None:
    verdict = assess(replace(WELL, unprotected=(late(5), late(30, path="/b"))), ALLOWED)
    assert verdict.oldest_unprotected_seconds == 30
    assert verdict.protected == 1


@given(
    awake=st.floats(0, 1e6),
    same_boot=st.booleans(),
    alive=st.booleans(),
    locked=st.booleans(),
    stopped=st.booleans(),
    up=st.floats(0, 1e6),
)
def test_a_daemon_down_for_over_a_minute_is_a_stall_unless_it_was_stopped(
    awake: float, same_boot: bool, alive: bool, locked: bool, stopped: bool, up: float
) -> None:
    daemon = replace(
        beating(stopped=stopped),
        awake_seconds=awake,
        same_boot=same_boot,
        pid_alive=alive,
        lock_held=locked,
        up_seconds=up,
    )
    verdict = assess(replace(WELL, daemon=daemon), ALLOWED)
    down = awake if same_boot else up
    works = same_boot and alive and locked and awake <= 60 and not stopped
    assert verdict.running == works
    assert (verdict.state is State.STALLED) == (not works and not stopped and down > 60)
