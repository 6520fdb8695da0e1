"""The daemon notices when wall and boot clock part, sweeps, sets its calendar anew, and tells of it for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from nbguard.daemon import Cast, Daemon
from nbguard.problems import ProblemBoard
from tests.memory import HandClock


class SetClock(HandClock):
    """A wall clock that can be set apart from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.set_by)


class Ticking(Daemon):
    """A daemon whose main loop is turned by hand."""

    def __init__(self, clock: SetClock) -> None:
        self.clock, self.board, self.resets, self.doubts = clock, ProblemBoard(clock), 0, 0
        cast = Cast(
            workers=(),
            jobs=(),
            start=lambda: None,
            wake=lambda: None,
            stop=lambda: None,
            doubt=self._doubted,
            roots=lambda: (),
            problems=self.board.all,
            kept=lambda: 0,
            missed_events=lambda: 0,
            beat=lambda heartbeat: None,
        )
        super().__init__(cast, clock=clock, board=self.board, boot="b", pid=1, heartbeat_seconds=1.0)
        self._calendar = self  # type: ignore[assignment]  # only reset() of the calendar is asked for

    def _doubted(self) -> None:
        self.doubts += 1

    def reset(self) -> None:
        self.resets += 1

    def tick(self, seconds: float = 1.0) -> list[str]:
        self.clock.advance(seconds)
        self._watch_clocks()
        return [problem.code for problem in self.board.all()]


@pytest.mark.parametrize(("set_by", "word"), [(-7200.0, "back"), (86_400.0, "forward")])
def test_a_clock_that_is_set_is_told_for_an_hour(set_by: float, word: str) -> None:
    clock = SetClock()
    daemon = Ticking(clock)
    clock.set_by = set_by
    assert daemon.tick() == ["clock-jumped"], "also when it was set before the first tick"
    assert word in daemon.board.all()[0].message
    assert (daemon.resets, daemon.doubts) == (1, 1)
    assert daemon.tick(3598.0) == ["clock-jumped"]
    assert daemon.tick(2.0) == []
    assert (daemon.resets, daemon.doubts) == (1, 1)


def test_sleep_and_small_corrections_are_no_jump() -> None:
    clock = SetClock()
    daemon = Ticking(clock)
    clock.set_by = 20.0
    assert daemon.tick() == []
    assert daemon.tick(86_400.0) == []
    assert daemon.doubts == 0
