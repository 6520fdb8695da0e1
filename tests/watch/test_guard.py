"""What the guard makes of what it sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbguard.watch.guard import EventState, Pulse, Repair, RootLook, RootState, diagnose

HERE = RootLook(RootState.THERE, (1, 2))
WELL = Pulse(
    look=HERE,
    was_identity=(1, 2),
    polled=False,
    polled_kind=None,
    mounts_changed=False,
    events=EventState(True, watches=10),
    was_faults=0,
    overflowed=False,
    folders=10,
    unwatched_folders=0,
    tried_to_watch_them=False,
)


def test_all_well_is_no_finding() -> None:
    assert diagnose(WELL) == ()
    assert diagnose(replace(WELL, polled=True, polled_kind="nfs4", events=None)) == ()


@pytest.mark.parametrize(
    ("pulse", "repair", "code"),
    [
        pytest.param(
            replace(WELL, look=RootLook(RootState.GONE, reason="x")), Repair.UNWATCH, "root-gone", id="root gone"
        ),
        pytest.param(
            replace(WELL, look=RootLook(RootState.UNREADABLE)), Repair.UNWATCH, "root-unreadable", id="chmod 0"
        ),
        pytest.param(replace(WELL, look=RootLook(RootState.THERE, (1, 3))), Repair.REBUILD, "", id="recreated"),
        pytest.param(replace(WELL, look=RootLook(RootState.THERE, (9, 2))), Repair.REBUILD, "", id="mounted over"),
        pytest.param(replace(WELL, mounts_changed=True), Repair.REBUILD, "", id="sub-mount"),
        pytest.param(replace(WELL, polled_kind="nfs4"), Repair.REBUILD, "", id="now on a network"),
        pytest.param(
            replace(WELL, events=EventState(False, "the emitter thread has ended")),
            Repair.REBUILD,
            "watcher-dead",
            id="dead thread",
        ),
        pytest.param(replace(WELL, events=None), Repair.REBUILD, "watcher-dead", id="never begun"),
        pytest.param(
            replace(WELL, events=EventState(False, "no space", at_limit=True)),
            Repair.REBUILD,
            "watch-limit",
            id="no watch at all",
        ),
        pytest.param(replace(WELL, overflowed=True), Repair.SWEEP, "watch-overflow", id="overflow"),
        pytest.param(replace(WELL, events=EventState(True, faults=1)), Repair.SWEEP, "", id="handler raised"),
        pytest.param(replace(WELL, unwatched_folders=3), Repair.REBUILD, "", id="unwatched: try once"),
        pytest.param(
            replace(WELL, unwatched_folders=3, tried_to_watch_them=True),
            Repair.NOTHING,
            "watch-limit",
            id="unwatched still",
        ),
    ],
)
def test_every_silent_failure_is_named_and_answered(pulse: Pulse, repair: Repair, code: str) -> None:
    (finding,) = diagnose(pulse)
    assert (finding.repair, finding.code) == (repair, code)
    assert finding.message


def test_of_a_lost_root_nothing_else_is_said() -> None:
    lost = replace(WELL, look=RootLook(RootState.GONE), events=None, mounts_changed=True, overflowed=True)
    assert [finding.code for finding in diagnose(lost)] == ["root-gone"]


def test_a_polled_root_needs_no_events() -> None:
    assert diagnose(replace(WELL, polled=True, polled_kind="fuse.sshfs", events=None, overflowed=True)) == ()
