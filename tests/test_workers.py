"""Workers: one that ends is started again and told of, one that hangs is told of."""

from __future__ import annotations

import threading

import pytest

from nbguard.clock import SystemClock
from nbguard.problems import ProblemBoard
from nbguard.workers import Worker, Workers
from tests.helpers import poll


class Clock(SystemClock):
    """The machine's, with time that can be added."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is the fault
def test_a_worker_that_ends_is_started_again_and_told_of_for_an_hour() -> None:
    steps = []
    stopping = threading.Event()

    def step() -> None:
        steps.append(threading.current_thread())
        if len(steps) == 1:
            raise SystemExit  # no Exception: nothing that a worker's loop would go on after
        stopping.wait(0.01)

    clock = Clock()
    board = ProblemBoard(clock)
    workers = Workers([Worker(name="saves", step=step)], clock=clock, board=board, stopping=stopping)
    workers.start()
    poll(lambda: steps and not steps[0].is_alive())
    workers.look()
    poll(lambda: len(steps) > 1)
    assert steps[1] is not steps[0]
    (problem,) = board.all()
    assert (problem.code, problem.message) == ("worker-failed", "saves ended by itself; it was started again")
    clock.later = 3601.0
    workers.look()
    assert [each for each in board.all() if each.subject == "saves ended"] == []
    stopping.set()
    workers.join(5.0)


def test_a_worker_that_hangs_is_told_of_until_it_moves() -> None:
    stopping, may_go = threading.Event(), threading.Event()
    clock = Clock()
    board = ProblemBoard(clock)

    def waits() -> None:
        may_go.wait(60)

    worker = Worker(name="packer", step=waits, patience_seconds=300.0)
    workers = Workers([worker], clock=clock, board=board, stopping=stopping)
    workers.start()
    workers.look()
    assert board.all() == ()
    clock.later = 301.0
    workers.look()
    assert workers.hung() == ["packer"]
    assert [each.message for each in board.all()] == ["packer has not moved for a long time"]
    may_go.set()
    poll(lambda: not workers.hung())
    workers.look()
    assert board.all() == ()
    stopping.set()
    workers.join(5.0)
