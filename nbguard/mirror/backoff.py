"""When a mirror is tried, decided purely: soon after packing, else for the heartbeat; pauses grow after failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from nbguard.mirror.standing import MirrorState

HEARTBEAT_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3_600.0
FIRST_STEP, LEAST_STEP, MOST_STEP = 256, 1, 1_024  # git holds every object of a push in memory
_QUICK_SECONDS = 20.0


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: half a minute, doubling, an hour at most."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures, 1) - 1, 20))


def due_in_seconds(state: MirrorState, *, now: datetime, is_behind: bool, network: str) -> float:
    """How long until this mirror is to be tried; 0.0 means now. ``network`` is what the machine is connected to.

    After a failure the pause is cut short by another network, and by a clock that was set: a moment that lies before
    the last try, or farther ahead than the pause, is none that we have chosen.
    """
    if state.tried_at is None or state.tried_at > now:
        return 0.0
    if state.failures:
        if network != state.network:
            return 0.0
        return max(0.0, pause_seconds(state.failures) - (now - state.tried_at).total_seconds())
    if is_behind:
        return 0.0
    if state.beat_at is None or state.beat_at > now:
        return 0.0
    return max(0.0, HEARTBEAT_SECONDS - (now - state.beat_at).total_seconds())


def after_failure(state: MirrorState, *, now: datetime, trouble: str, network: str, foreign: str = "") -> MirrorState:
    """The state once a try failed: the next push is made of smaller steps, so that a weak connection gets on."""
    return replace(
        state,
        tried_at=now,
        failures=state.failures + 1,
        trouble=trouble,
        foreign=foreign,
        network=network,
        step_commits=max(LEAST_STEP, state.step_commits // 4),
    )


def after_success(state: MirrorState, *, now: datetime, has_archive: bool = True) -> MirrorState:
    """The state once all of ours was seen there; without an archive, once it took a heartbeat."""
    return replace(
        state,
        tried_at=now,
        verified_at=now if has_archive else state.verified_at,
        beat_at=now,
        behind_since=None if has_archive else state.behind_since,
        failures=0,
        trouble="",
        foreign="",
        step_commits=max(state.step_commits, FIRST_STEP),
    )


def next_step(commits: int, took_seconds: float) -> int:
    """How many commits to push at once after a push of ``commits`` took so long: an interrupted push goes on from
    the last step that arrived."""
    return min(MOST_STEP, commits * 2) if took_seconds < _QUICK_SECONDS else max(LEAST_STEP, commits // 2)


def is_late(state: MirrorState, *, now: datetime, late_seconds: float) -> bool:
    """Whether it is behind for longer than it may be."""
    return state.behind_since is not None and now - state.behind_since > timedelta(seconds=late_seconds)
