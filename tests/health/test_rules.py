"""What each finding weighs, as a table; and that advice never adds up to more than advice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alerting import ChannelReport, ChannelState, MirrorReport, Weight
from nbguard.health.facts import (
    Choices,
    ClockFacts,
    DaemonFacts,
    Facts,
    Failed,
    Proof,
    RootFacts,
    ServiceFacts,
    SpaceFacts,
    Unseen,
)
from nbguard.health.status import Report, as_lines
from nbguard.health.verdict import State, Verdict, assess
from nbguard.health.weighing import STANDING, weight_of
from tests.health.test_verdict import ALLOWED, DEAD, NOW, RUNNING, STOPPED, WELL, beating, late, problem

INSTALLED = ServiceFacts(
    manager="systemd",
    enabled=True,
    active=True,
    state="active (running)",
    executable_exists=True,
    lingers=True,
)
ROOT = WELL.roots[0]
DISK = SpaceFacts(
    path="/d",
    roles=("archive", "root"),
    free_bytes=10**10,
    total_bytes=10**11,
    free_inodes=10**6,
    reserve_bytes=10**8,
)
TOLD = Choices(channels=2, mirrors=1, has_service=True, shares_disk=True)
OTHER_BOOT = replace(STOPPED, same_boot=False, up_seconds=300.0)


def of(*failed: Proof, code: str = "archive-damaged") -> tuple[Failed, ...]:
    return tuple(Failed(proof=proof, problem=problem(code, proof)) for proof in failed)


def channel(state: ChannelState, name: str = "mail") -> ChannelReport:
    return ChannelReport(name=name, human="ada", address="mailto://…", state=state)


def mirror(**changes: object) -> MirrorReport:
    return replace(MirrorReport(name="usb", address="/media/usb", tried_at=NOW), **changes)  # type: ignore[arg-type]


def ago(seconds: float) -> object:
    return NOW - timedelta(seconds=seconds)


# what is the case · facts · the finding and its weight (None: nothing) · exit code
CASES: list[tuple[str, Facts, tuple[str, Weight] | None, int]] = [
    # the daemon
    (
        "killed, and not yet for a minute",
        replace(WELL, daemon=replace(DEAD, awake_seconds=50.0)),
        ("daemon-down", Weight.ADVICE),
        0,
    ),
    (
        "killed over a minute ago",
        replace(WELL, daemon=replace(DEAD, awake_seconds=61.0)),
        ("daemon-down", Weight.STALL),
        20,
    ),
    (
        "taken down by an upgrade",
        replace(WELL, daemon=replace(DEAD, awake_seconds=200.0, is_excused=True)),
        ("daemon-down", Weight.ADVICE),
        0,
    ),
    ("stopped by its owner", replace(WELL, daemon=STOPPED), ("daemon-down", Weight.ADVICE), 0),
    (
        "stopped by its owner, and the machine was started since",
        replace(WELL, daemon=OTHER_BOOT),
        ("daemon-down", Weight.WARNING),
        0,
    ),
    (
        "stopped with the machine, and the service did not start it again",
        replace(WELL, daemon=OTHER_BOOT, service=INSTALLED),
        ("daemon-down", Weight.STALL),
        20,
    ),
    (
        "stopped, though a service should keep it going",
        replace(WELL, daemon=STOPPED, service=replace(INSTALLED, active=False, state="inactive (dead)")),
        ("daemon-down", Weight.WARNING),
        0,
    ),
    (
        "stopped, and the service failed to start it again",
        replace(WELL, daemon=STOPPED, service=replace(INSTALLED, active=False, state="failed (failed)")),
        ("daemon-down", Weight.STALL),
        20,
    ),
    (
        "installed, and never came up",
        replace(WELL, daemon=DaemonFacts(), service=replace(INSTALLED, active=False, state="failed (failed)")),
        ("daemon-down", Weight.STALL),
        20,
    ),
    (
        "six bad starts in an hour",
        replace(WELL, daemon=replace(RUNNING, bad_starts=6)),
        ("crash-loop", Weight.WARNING),
        0,
    ),
    ("five are not many", replace(WELL, daemon=replace(RUNNING, bad_starts=5)), None, 0),
    (
        "saved while its manager starts it again",
        replace(WELL, daemon=replace(DEAD, awake_seconds=9.0), unprotected=(late(5),)),
        ("daemon-down", Weight.ADVICE),
        0,
    ),
    (
        "saved during an upgrade",
        replace(WELL, daemon=replace(STOPPED, is_excused=True), unprotected=(late(5),)),
        ("daemon-down", Weight.ADVICE),
        0,
    ),
    (
        "saved a minute before its manager starts it again",
        replace(WELL, daemon=replace(DEAD, awake_seconds=9.0), unprotected=(late(61),)),
        ("not-kept", Weight.GAP),
        22,
    ),
    # its manager
    ("all is well with the service", replace(WELL, service=INSTALLED), None, 0),
    ("not enabled", replace(WELL, service=replace(INSTALLED, enabled=False)), ("unit-inactive", Weight.WARNING), 0),
    ("no linger", replace(WELL, service=replace(INSTALLED, lingers=False)), ("linger-off", Weight.WARNING), 0),
    ("nothing like linger exists", replace(WELL, service=replace(INSTALLED, lingers=None)), None, 0),
    (
        "its program is gone",
        replace(WELL, service=replace(INSTALLED, executable_exists=False)),
        ("executable-missing", Weight.WARNING),
        0,
    ),
    (
        "a timer is off",
        replace(WELL, service=replace(INSTALLED, checks_off=("check --light",))),
        ("unit-inactive", Weight.WARNING),
        0,
    ),
    (
        "uninstalled by nbguard: nothing of it is missed",
        replace(WELL, daemon=replace(RUNNING, is_excused=True), service=replace(INSTALLED, enabled=False)),
        None,
        0,
    ),
    # the clock
    ("set back, just now", replace(WELL, clock=ClockFacts(jump_seconds=-7200.0)), ("clock-jumped", Weight.ADVICE), 0),
    ("set forward, over an hour ago", replace(WELL, clock=ClockFacts(jump_seconds=86_400, ago_seconds=3601)), None, 0),
    # what the daemon says
    (
        "a kernel whose history is lost",
        replace(WELL, daemon=beating(problems=(problem("kernel-history-lost", "k"),))),
        ("kernel-history-lost", Weight.GAP),
        22,
    ),
    (
        "the checker is late",
        replace(WELL, daemon=beating(problems=(problem("checker-late"),))),
        ("checker-late", Weight.WARNING),
        0,
    ),
    (
        "a worker without which nothing is kept",
        replace(WELL, daemon=beating(problems=(problem("worker-failed", "saves"),))),
        ("worker-failed", Weight.GAP),
        22,
    ),
    (
        "another worker",
        replace(WELL, daemon=beating(problems=(problem("worker-failed", "links"),))),
        ("worker-failed", Weight.WARNING),
        0,
    ),
    (
        "the watch limit",
        replace(WELL, daemon=beating(problems=(problem("watch-limit"),))),
        ("watch-limit", Weight.WARNING),
        0,
    ),
    (
        "a unit that failed, by its note",
        replace(WELL, noted=(problem("unit-failed"),)),
        ("unit-failed", Weight.WARNING),
        0,
    ),
    # proofs
    (
        "the canary went elsewhere",
        replace(WELL, failed=of(Proof.CANARY, code="no-space")),
        ("no-space", Weight.WARNING),
        0,
    ),
    (
        "no place takes a canary: nothing is kept any more",
        replace(WELL, failed=of(Proof.CANARY, Proof.EMERGENCY, code="no-space")),
        ("no-space", Weight.STALL),
        20,
    ),
    ("the tip", replace(WELL, failed=of(Proof.TIP)), ("archive-damaged", Weight.STALL), 20),
    ("a restore", replace(WELL, failed=of(Proof.DRILL)), ("archive-damaged", Weight.GAP), 22),
    ("an old object", replace(WELL, failed=of(Proof.OBJECTS)), ("archive-damaged", Weight.GAP), 22),
    ("an object that is missing", replace(WELL, failed=of(Proof.CONNECTIVITY)), ("archive-damaged", Weight.GAP), 22),
    ("no room to drill", replace(WELL, failed=of(Proof.DRILL, code="no-space")), ("no-space", Weight.WARNING), 0),
    (
        "a lock of git's that nobody holds",
        replace(WELL, archive=replace(WELL.archive, stale_locks=("refs/heads/main.lock",))),
        ("stale-lock", Weight.WARNING),
        0,
    ),
    (
        "something hung",
        replace(WELL, unseen=(Unseen(what="/nfs", reason="no answer"),)),
        ("not-looked-at", Weight.WARNING),
        0,
    ),
    # room
    ("much room", replace(WELL, space=(DISK,)), None, 0),
    ("none left", replace(WELL, space=(replace(DISK, free_bytes=10**8),)), ("no-space", Weight.WARNING), 0),
    (
        "full within a day",
        replace(WELL, space=(replace(DISK, full_in_seconds=80_000.0),)),
        ("no-space", Weight.WARNING),
        0,
    ),
    ("full in a week", replace(WELL, space=(replace(DISK, full_in_seconds=600_000.0),)), None, 0),
    ("no inodes", replace(WELL, space=(replace(DISK, free_inodes=0),)), ("no-inodes", Weight.WARNING), 0),
    (
        "inodes run out within a day",
        replace(WELL, space=(replace(DISK, no_inodes_in_seconds=100.0),)),
        ("no-inodes", Weight.WARNING),
        0,
    ),
    # coverage
    (
        "none in sight where there were some",
        replace(WELL, roots=(replace(ROOT, notebooks=0, before=3, living=3),)),
        ("coverage-fell", Weight.WARNING),
        0,
    ),
    (
        "over half gone",
        replace(WELL, roots=(replace(ROOT, notebooks=4, before=10, living=10),)),
        ("coverage-fell", Weight.WARNING),
        0,
    ),
    ("half of them", replace(WELL, roots=(replace(ROOT, notebooks=5, before=10, living=10),)), None, 0),
    (
        "deleted, and that was believed",
        replace(WELL, roots=(replace(ROOT, notebooks=0, before=10, living=0),)),
        None,
        0,
    ),
    ("two became one", replace(WELL, roots=(replace(ROOT, notebooks=1, before=2, living=2),)), None, 0),
    (
        "a disk that was taken away",
        replace(WELL, roots=(RootFacts(path="/mnt/x", trouble="root-gone", is_unmounted=True, before=9),)),
        ("root-gone", Weight.ADVICE),
        0,
    ),
    (
        "a folder that is gone",
        replace(WELL, roots=(RootFacts(path="/home/x", trouble="root-gone", before=9),)),
        ("root-gone", Weight.WARNING),
        0,
    ),
    (
        "bytes that changed behind equal times",
        replace(WELL, unprotected=(replace(late(61), is_hidden=True),)),
        ("not-kept", Weight.GAP),
        22,
    ),
    # who hears of it
    (
        "channels, and nobody proven",
        replace(WELL, choices=TOLD, channels=(channel(ChannelState.UNPROVEN),)),
        None,
        21,
    ),
    ("one is due: still proven", replace(WELL, choices=TOLD, channels=(channel(ChannelState.DUE),)), None, 0),
    ("all overdue", replace(WELL, choices=TOLD, channels=(channel(ChannelState.OVERDUE),)), None, 21),
    (
        "unproven, and that was accepted",
        replace(WELL, choices=replace(TOLD, without_channels=True), channels=(channel(ChannelState.UNPROVEN),)),
        None,
        0,
    ),
    ("no channel", replace(WELL, choices=replace(TOLD, channels=0)), ("no-channel", Weight.ADVICE), 0),
    # mirrors
    ("a mirror in order", replace(WELL, mirrors=(mirror(verified_at=NOW),)), None, 0),
    (
        "it has lacked something for three days",
        replace(WELL, mirrors=(mirror(behind_since=ago(259_201), trouble="x"),), awake_since=NOW.timestamp() - 7_201),
        ("mirror-late", Weight.WARNING),
        0,
    ),
    (
        "for days, and the machine woke an hour ago",
        replace(WELL, mirrors=(mirror(behind_since=ago(900_000), trouble="x"),), awake_since=NOW.timestamp() - 3_600),
        ("mirror-late", Weight.ADVICE),
        0,
    ),
    (
        "away for a day",
        replace(WELL, mirrors=(mirror(behind_since=ago(90_000), trouble="x"),)),
        ("mirror-late", Weight.ADVICE),
        0,
    ),
    (
        "it lacks something, and nobody tries it",
        replace(WELL, mirrors=(mirror(behind_since=ago(8_000), tried_at=ago(8_000)),)),
        ("mirror-late", Weight.WARNING),
        0,
    ),
    (
        "nobody tries it, for the daemon was stopped by its owner",
        replace(WELL, daemon=STOPPED, mirrors=(mirror(tried_at=ago(8_000)),)),
        ("daemon-down", Weight.ADVICE),
        0,
    ),
    (
        "late over the night, and the machine woke five minutes ago",
        replace(WELL, mirrors=(mirror(behind_since=ago(40_000)),), awake_since=NOW.timestamp() - 300),
        None,
        0,
    ),
    ("nobody tries it", replace(WELL, mirrors=(mirror(tried_at=ago(8_000)),)), ("mirror-late", Weight.WARNING), 0),
    ("away for an hour", replace(WELL, mirrors=(mirror(behind_since=ago(3_600)),)), ("mirror-late", Weight.ADVICE), 0),
    (
        "out of reach just now",
        replace(WELL, mirrors=(mirror(behind_since=ago(9), trouble="x"),)),
        ("mirror-late", Weight.ADVICE),
        0,
    ),
    (
        "unreachable, and it lacks nothing yet",
        replace(WELL, mirrors=(mirror(trouble="x"),)),
        ("mirror-late", Weight.ADVICE),
        0,
    ),
    ("behind by a minute", replace(WELL, mirrors=(mirror(behind_since=ago(60)),)), None, 0),
    ("somebody else's", replace(WELL, mirrors=(mirror(foreign="h-u-2"),)), ("mirror-foreign", Weight.WARNING), 0),
    (
        "no mirror, and one disk for all",
        replace(WELL, choices=replace(TOLD, mirrors=0)),
        ("no-mirror", Weight.ADVICE),
        0,
    ),
    ("no mirror, and two disks", replace(WELL, choices=replace(TOLD, mirrors=0, shares_disk=False)), None, 0),
    ("no service", replace(WELL, choices=replace(TOLD, has_service=False)), ("no-service", Weight.ADVICE), 0),
]


def judged(facts: Facts) -> Verdict:
    proven = (channel(ChannelState.LIVE),) if not facts.channels else facts.channels
    return assess(replace(facts, channels=proven), ALLOWED)


@pytest.mark.parametrize(("facts", "found", "exit_code"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_each_finding_weighs_this_much(facts: Facts, found: tuple[str, Weight] | None, exit_code: int) -> None:
    verdict = judged(facts)
    assert (verdict.weighed[0].problem.code, verdict.weighed[0].weight) == found if found else not verdict.weighed
    assert verdict.exit_code == exit_code


@pytest.mark.parametrize("facts", [case[1] for case in CASES], ids=[c[0] for c in CASES])
def test_each_finding_says_what_to_do(facts: Facts) -> None:
    for each in judged(facts).problems:
        assert each.message
        assert each.hint
        assert each.since <= facts.now


@given(st.sets(st.sampled_from(range(len(CASES))), max_size=6))
def test_the_worst_finding_decides_whatever_else_is_found(chosen: set[int]) -> None:
    """Findings of several cases together: the state is that of the worst, and nothing is lost."""
    verdicts = [judged(CASES[number][1]) for number in chosen]
    together = WELL
    for number in chosen:
        facts = CASES[number][1]
        together = replace(
            together,
            failed=(*together.failed, *facts.failed),
            unprotected=(*together.unprotected, *facts.unprotected),
            space=(*together.space, *facts.space),
            mirrors=(*together.mirrors, *facts.mirrors),
            noted=(*together.noted, *facts.noted),
        )
    verdict = judged(together)
    alone = [
        judged(replace(WELL, **{name: getattr(together, name)}))
        for name in ("failed", "unprotected", "space", "mirrors", "noted")
    ]
    assert {each.code for each in verdict.problems} == {each.code for one in alone for each in one.problems}
    assert (verdict.state is State.STALLED) == any(one.state is State.STALLED for one in alone)
    assert all(one.exit_code in (0, 20, 21, 22) for one in verdicts)


def test_standing_advice_leaves_the_state_in_peace() -> None:
    bare = Choices(channels=0, mirrors=0, has_service=False, shares_disk=True)
    verdict = assess(replace(WELL, choices=bare), ALLOWED)
    assert {each.code for each in verdict.problems} == STANDING - {"single-channel"}
    assert (verdict.state, verdict.exit_code) == (State.OK, 0)


def test_a_stall_is_told_before_nobody_is_proven_and_that_before_a_gap() -> None:
    nobody = replace(WELL, choices=TOLD, channels=(channel(ChannelState.UNPROVEN),), unprotected=(late(61),))
    assert assess(nobody, ALLOWED).exit_code == 21
    assert assess(replace(nobody, daemon=replace(DEAD, awake_seconds=99.0)), ALLOWED).exit_code == 20


def test_what_is_not_kept_is_never_called_protected() -> None:
    facts = replace(WELL, daemon=replace(DEAD, awake_seconds=9.0), unprotected=(late(5),))
    report = Report(facts=facts, verdict=assess(facts, ALLOWED), slow_interval_seconds=600.0, slow_over_bytes=1)
    assert next(as_lines(report)) == "the daemon is not running, and what was saved since is not kept"


@pytest.mark.parametrize("code", ["no-mirror", "single-channel", "emptied", "clock-jumped", "polling"])
def test_these_are_never_sent(code: str) -> None:
    assert weight_of(code) is Weight.ADVICE


def test_what_the_daemon_says_of_a_disk_that_was_taken_away_is_advice_too() -> None:
    root = RootFacts(path="/mnt/x", trouble="root-gone", is_unmounted=True)
    said = (problem("root-gone", "/mnt/x"), problem("unreachable", "/mnt/x/deep"))
    verdict = assess(replace(WELL, roots=(root,), daemon=beating(problems=said)), ALLOWED)
    assert {each.weight for each in verdict.weighed} == {Weight.ADVICE}
