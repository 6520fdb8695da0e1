"""The way of a save inside the daemon: a notice settles, the notebook is kept, and what cannot be kept is tried again.

Nothing is dropped: a notice leaves only when its notebook is durable, unchanged, or judged gone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from nbguard.capture.keep import LAST_ATTEMPT, RETRY_SECONDS, Gone, Keeper, Kept, Outcome, Refused, Retry
from nbguard.clock import Clock
from nbguard.errors import StorageTrouble
from nbguard.heads import Heads
from nbguard.model import Draft, NoticeKind, Problem, SaveNotice, Trigger
from nbguard.ports import DraftStore
from nbguard.settings import Intervals, Limits
from nbguard.watch.missing import Missing
from nbguard.watch.scope import Scope
from nbguard.watch.settle import Settling, large_due
from nbguard.watch.watcher import Watcher

_log = logging.getLogger(__name__)

# One step looks at paths for about so long, so that its worker is seen to move.
_STEP_SECONDS = 1.0
_STORAGE_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_NAMED_PROBLEMS = 20
_STORAGE_CODES = frozenset({"no-space", "no-inodes", "read-only", "io-error"})


@dataclass(frozen=True, slots=True)
class _Failing:
    """Why a path is not kept although it should be; ``tries`` counts the attempts so far."""

    code: str
    message: str
    hint: str
    since: datetime
    tries: int


@dataclass(frozen=True, slots=True)
class _Large:
    """A notebook that is kept slowly: when it was kept, what stat said last, and since when (monotonic seconds)."""

    kept_at: float
    stamp: tuple[int, int]
    changed_at: float


class Saves:
    """Takes notices from any thread; one worker steps it."""

    def __init__(self, *, keeper: Keeper, missing: Missing, clock: Clock, limits: Limits) -> None:
        self._keeper = keeper
        self._missing = missing
        self._clock = clock
        self._limits = limits
        self._something = threading.Condition()
        self._settling = Settling()
        self._leftovers: dict[str, None] = {}
        self._rescue_at = float("-inf")
        self._attempts: dict[str, tuple[int, float]] = {}
        self._triggers: dict[str, Trigger] = {}
        self._failing: dict[str, _Failing] = {}
        self._large: dict[str, _Large] = {}
        self.kept = 0
        self.tombstones = 0
        self.rescued = 0
        self.looks = 0

    def put(self, notice: SaveNotice) -> None:
        """Take a notice; never blocks for long, never raises."""
        with self._something:
            self._settling.add(notice)
            self._something.notify()

    def put_leftover(self, path: str) -> None:
        """Something lies beside the notebook ``path`` that may hold what it no longer does."""
        with self._something:
            self._leftovers[path] = None
            self._something.notify()

    def pending(self) -> int:
        """How many paths wait for a look."""
        with self._something:
            return len(self._settling)

    def step(self, timeout_seconds: float) -> int:
        """Wait for something to be due, then work for about a second; returns how many paths were looked at.

        Whatever escapes (a fault in the keeper's callback) does so after the notice was put back.
        """
        self._wait(timeout_seconds)
        began, looks = self._clock.monotonic(), 0
        while (now := self._clock.monotonic()) < began + _STEP_SECONDS:
            with self._something:
                notice = self._settling.take(now)
            if notice is None:
                self._bury(now)
                self._rescue(now)
                break
            self._look(notice)
            looks += 1
        return looks

    def drain(self, wait_seconds: float = 0.0) -> None:
        """Look once at every path that waits, due or not; then go on until nothing waits or the time is over.

        For `run --once` and for the end of the daemon. What could not be kept stays in problems().
        """
        until = self._clock.monotonic() + wait_seconds
        with self._something:
            waiting = list(iter(self._settling.take_anyway, None))
        for notice in waiting:
            self._look(notice, hurry=True)
        while self._is_busy():
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            self.step(min(0.5, left))

    def problems(self) -> tuple[Problem, ...]:
        """What is not kept, and what is missing."""
        failing = self._failing.copy()
        stored = [(path, why) for path, why in failing.items() if why.code in _STORAGE_CODES]
        others = [(path, why) for path, why in failing.items() if why.code not in _STORAGE_CODES]
        problems = [_storage_problem(code, stored) for code in sorted({why.code for _path, why in stored})]
        problems += [
            Problem(code=why.code, message=f"{path}: {why.message}", hint=why.hint, since=why.since, subject=path)
            for path, why in others[:_NAMED_PROBLEMS]
        ]
        return (*problems, *self._missing.problems())

    def slowed(self) -> tuple[str, ...]:
        """Notebooks so large that not every save of them is kept."""
        return tuple(sorted(self._large.copy()))

    def wake(self) -> None:
        """End a wait in step()."""
        with self._something:
            self._something.notify_all()

    def _wait(self, timeout_seconds: float) -> None:
        with self._something:
            now = self._clock.monotonic()
            due = [at for at in (self._settling.next_due(), self._missing.next_due()) if at is not None]
            if self._leftovers:
                due.append(self._rescue_at)
            seconds = min([timeout_seconds, *(at - now for at in due)])
            if seconds > 0:
                self._something.wait(seconds)

    def _is_busy(self) -> bool:
        with self._something:
            return bool(self._settling) or bool(self._leftovers) or self._missing.is_gathering

    def _look(self, notice: SaveNotice, *, hurry: bool = False) -> None:
        """Keep one path, and see to what comes of it."""
        self.looks += 1
        now = self._clock.monotonic()
        if not hurry and (due := self._too_soon(notice.path, now)) is not None:
            self._again(notice, due)
            return
        trigger = self._trigger(notice)
        attempt, _since = self._attempts.get(notice.path, (0, now))
        try:
            outcome = self._keeper.keep(notice.path, trigger, attempt=attempt, renamed_from=notice.renamed_from)
        except StorageTrouble as trouble:
            tries = self._note_failing(notice.path, trouble.code, trouble.message, trouble.hint)
            self._again(notice, now + _STORAGE_RETRY_SECONDS[min(tries, len(_STORAGE_RETRY_SECONDS)) - 1])
        except BaseException:
            self._again(notice, now + _STORAGE_RETRY_SECONDS[0])
            raise
        else:
            self._see_to(notice, outcome, now)

    def _see_to(self, notice: SaveNotice, outcome: Outcome, now: float) -> None:
        path = notice.path
        if isinstance(outcome, Retry):
            self._attempts[path] = self._next_attempt(notice, now)
            self._again(notice, now + outcome.after_seconds)
            return
        self._triggers.pop(path, None)
        self._attempts.pop(path, None)
        if isinstance(outcome, Refused):
            self._note_failing(path, outcome.code, *_refusal(outcome, self._limits))
            return
        self._failing.pop(path, None)
        if isinstance(outcome, Gone):
            self._missing.note(path, now)
            return
        self._missing.forget(path)
        if isinstance(outcome, Kept):
            self._was_kept(outcome, now)

    def _was_kept(self, outcome: Kept, now: float) -> None:
        draft = outcome.draft
        self.kept += 1
        if draft.renamed_from is not None:
            self._missing.forget(draft.renamed_from)
            self._large.pop(draft.renamed_from, None)
        if not outcome.is_whole:
            self.put_leftover(draft.path)
        if draft.size > self._limits.slow_over_bytes and draft.signature is not None:
            self._large[draft.path] = _Large(now, (draft.size, draft.signature.ctime_ns), now)
        else:
            self._large.pop(draft.path, None)

    def _too_soon(self, path: str, now: float) -> float | None:
        """When a large notebook may be kept again; None when now, or when it is not large."""
        large = self._large.get(path)
        if large is None:
            return None
        try:
            status = os.lstat(path)
        except OSError:
            return None
        stamp = (status.st_size, status.st_ctime_ns)
        if status.st_size <= self._limits.slow_over_bytes:
            return None
        if stamp != large.stamp:
            large = self._large[path] = replace(large, stamp=stamp, changed_at=now)
        return large_due(
            now=now,
            last_kept_at=large.kept_at,
            last_change_at=large.changed_at,
            interval_seconds=self._limits.slow_interval_seconds,
        )

    def _trigger(self, notice: SaveNotice) -> Trigger:
        if notice.kind is NoticeKind.RETRY:
            return self._triggers.get(notice.path, Trigger.WATCH)
        return Trigger.SWEEP if notice.kind is NoticeKind.SWEPT else Trigger.WATCH

    def _again(self, notice: SaveNotice, due: float) -> None:
        """Look at it again at ``due``; nothing of the notice is lost."""
        self._triggers[notice.path] = self._trigger(notice)
        with self._something:
            self._settling.add(replace(notice, kind=NoticeKind.RETRY, seen_at=due))

    def _next_attempt(self, notice: SaveNotice, now: float) -> tuple[int, float]:
        """The ladder goes up by its own retries; events in between do not use it up, but they do not stop it."""
        attempt, since = self._attempts.get(notice.path, (0, now))
        if now - since >= sum(RETRY_SECONDS):
            return LAST_ATTEMPT, since
        if notice.kind is NoticeKind.RETRY or attempt == 0:
            return min(attempt + 1, LAST_ATTEMPT), since
        return attempt, since

    def _note_failing(self, path: str, code: str, message: str, hint: str) -> int:
        """Remember why a path is not kept; returns how often it was tried."""
        known = self._failing.get(path)
        since = known.since if known is not None and known.code == code else self._clock.now()
        if known is None:
            _log.warning("not kept: %r: %s", path, message)
        tries = known.tries + 1 if known is not None else 1
        self._failing[path] = _Failing(code, message, hint, since, tries)
        return tries

    def _bury(self, now: float) -> None:
        """Record the deletions that are believed."""
        for head in self._missing.believe(now):
            try:
                draft = self._keeper.keep_tombstone(head.path)
            except StorageTrouble as trouble:
                self._note_failing(head.path, trouble.code, trouble.message, trouble.hint)
                continue
            self._failing.pop(head.path, None)
            if draft is None:
                self._missing.forget(head.path)
            else:
                self.tombstones += 1
                self._missing.buried(head.path, now)

    def _rescue(self, now: float) -> None:
        """Keep one notebook's rescue material."""
        with self._something:
            path = next(iter(self._leftovers), None)
            if path is None or now < self._rescue_at:
                return
            del self._leftovers[path]
        try:
            self.rescued += len(self._keeper.rescue(path))
        except StorageTrouble as trouble:
            self._rescue_at = now + _STORAGE_RETRY_SECONDS[-1]
            self.put_leftover(path)
            _log.warning("rescue material not kept: %r: %s", path, trouble.message)


def wire(
    scopes: Iterable[Scope],
    *,
    store: DraftStore,
    heads: Heads,
    clock: Clock,
    limits: Limits,
    intervals: Intervals,
    kept: Callable[[Draft, bytes | None], None],
    knows: Callable[[str, str], bool],
) -> tuple[Watcher, Saves]:
    """A watcher and the saves it tells of, ready to be started and stepped.

    ``kept`` and ``knows`` are as in Keeper, and are called from the thread that steps the saves.
    """
    watcher = Watcher(scopes, heads=heads, clock=clock, intervals=intervals)
    keeper = Keeper(
        store=store, heads=heads, clock=clock, limits=limits, root_of=watcher.root_of, kept=kept, knows=knows
    )
    missing = Missing(
        heads=heads,
        clock=clock,
        hold_seconds=intervals.mass_deletion_hold_seconds,
        root_of=watcher.root_of,
        root_is_sound=watcher.root_is_sound,
        follow_device=watcher.follow_device,
    )
    saves = Saves(keeper=keeper, missing=missing, clock=clock, limits=limits)
    watcher.deliver_to(saves.put, saves.put_leftover)
    return watcher, saves


def _refusal(outcome: Refused, limits: Limits) -> tuple[str, str]:
    if outcome.code == "too-large":
        most = f"{limits.refuse_over_bytes:,}"
        return f"{outcome.reason}, over the limit of {most}", "raise limits.refuse_over_bytes, or clear its outputs"
    return f"cannot be read: {outcome.reason}", "give yourself read permission; it is tried again by itself"


def _storage_problem(code: str, stored: list[tuple[str, _Failing]]) -> Problem:
    """One problem for all notebooks that wait for the same disk trouble to end."""
    waiting = [(path, why) for path, why in stored if why.code == code]
    path, why = waiting[0]
    others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return Problem(
        code=code,
        message=f"{path}{others} not kept: {why.message}",
        hint=why.hint,
        since=min(why.since for _path, why in waiting),
        subject="spool",
    )
