"""When a missing notebook is believed deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbguard.watch.absence import Verdict, Witness, is_mass_deletion, judge_absence

DAY = 86_400.0
SEEN = Witness(present=False, root_sound=True, parent_there=True, ancestor="/w/p", ancestor_readable=True, device=7)


@pytest.mark.parametrize(
    ("witness", "missing_seconds", "mass", "verdict"),
    [
        pytest.param(SEEN, 2, False, Verdict.DELETED, id="its folder is there"),
        pytest.param(replace(SEEN, present=True), 2, False, Verdict.BACK, id="it is back"),
        pytest.param(replace(SEEN, root_sound=False), DAY, False, Verdict.ROOT_LOST, id="the root is gone"),
        pytest.param(replace(SEEN, device=8), 9 * DAY, False, Verdict.UNREACHABLE, id="another file system"),
        pytest.param(replace(SEEN, device=None), 9 * DAY, False, Verdict.UNREACHABLE, id="nothing to compare"),
        pytest.param(replace(SEEN, ancestor_readable=False), DAY, False, Verdict.UNREACHABLE, id="chmod 0"),
        pytest.param(replace(SEEN, parent_there=False), 2, False, Verdict.UNREACHABLE, id="folder gone just now"),
        pytest.param(replace(SEEN, parent_there=False), DAY, False, Verdict.DELETED, id="folder gone for a day"),
        pytest.param(
            replace(SEEN, parent_there=False, device=8), 9 * DAY, False, Verdict.UNREACHABLE, id="folder unmounted"
        ),
        pytest.param(SEEN, 2, True, Verdict.HELD, id="too many at once"),
        pytest.param(SEEN, DAY, True, Verdict.DELETED, id="too many, a day ago"),
        pytest.param(replace(SEEN, parent_there=False), 2, True, Verdict.HELD, id="too many, with their folders"),
        pytest.param(replace(SEEN, device=8), 2, True, Verdict.UNREACHABLE, id="too many, on another file system"),
    ],
)
def test_a_deletion_is_believed_only_with_evidence(
    witness: Witness, missing_seconds: float, mass: bool, verdict: Verdict
) -> None:
    judged = judge_absence(witness, device=7, missing_seconds=missing_seconds, mass=mass, hold_seconds=DAY)
    assert judged is verdict


def test_a_notebook_of_unknown_device_is_never_believed_deleted() -> None:
    assert (
        judge_absence(SEEN, device=None, missing_seconds=9 * DAY, mass=False, hold_seconds=DAY) is Verdict.UNREACHABLE
    )


@pytest.mark.parametrize(
    ("missing", "notebooks", "is_mass"),
    [(50, 60, False), (51, 60, True), (51, 254, True), (51, 255, False), (500, 2499, True), (3, 3, False)],
)
def test_more_than_fifty_and_a_fifth_is_a_mass(missing: int, notebooks: int, is_mass: bool) -> None:
    assert is_mass_deletion(missing, notebooks) is is_mass
