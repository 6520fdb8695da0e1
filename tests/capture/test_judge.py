"""What a version is worth."""

from __future__ import annotations

import pytest

from nbguard.capture.judge import fuller, judge
from nbguard.model import Measure, Status

FULL = Measure(10, 1000)


@pytest.mark.parametrize(
    ("measure", "fullest", "status"),
    [
        pytest.param(None, None, Status.DAMAGED, id="not a notebook"),
        pytest.param(None, FULL, Status.DAMAGED, id="not a notebook, once full"),
        pytest.param(Measure(0, 0), None, Status.OK, id="a new notebook is empty"),
        pytest.param(FULL, FULL, Status.OK, id="as full as ever"),
        pytest.param(Measure(4, 499), FULL, Status.EMPTIED, id="under half of both"),
        pytest.param(Measure(5, 499), FULL, Status.OK, id="half the cells"),
        pytest.param(Measure(4, 500), FULL, Status.OK, id="half the source"),
        pytest.param(Measure(10, 0), FULL, Status.EMPTIED, id="cells without any source"),
        pytest.param(Measure(0, 0), FULL, Status.EMPTIED, id="nothing at all"),
        pytest.param(Measure(1, 0), Measure(1, 5), Status.EMPTIED, id="one cell, cleared"),
        pytest.param(Measure(0, 0), Measure(3, 0), Status.OK, id="never had a source"),
        pytest.param(Measure(1, 3), Measure(1, 5), Status.OK, id="a small change of a small notebook"),
        pytest.param(Measure(20, 3000), FULL, Status.OK, id="fuller than ever"),
    ],
)
def test_emptied_means_under_half_of_what_it_was(
    measure: Measure | None, fullest: Measure | None, status: Status
) -> None:
    assert judge(measure, fullest) is status


def test_an_emptied_notebook_stays_emptied_while_small_saves_follow() -> None:
    saves = [FULL, *[Measure(1, size) for size in range(10)], Measure(9, 900)]
    fullest: Measure | None = None
    seen = []
    for measure in saves:
        status = judge(measure, fullest)
        seen.append(status)
        if status is Status.OK:
            fullest = fuller(fullest, measure)
    assert seen == [Status.OK, *[Status.EMPTIED] * 10, Status.OK]


def test_the_fuller_has_more_source() -> None:
    assert fuller(None, FULL) is FULL
    assert fuller(FULL, None) is FULL
    assert fuller(Measure(1, 2000), FULL) == Measure(1, 2000)
    assert fuller(Measure(11, 1000), FULL) == Measure(11, 1000)
