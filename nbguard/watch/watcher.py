"""Watching all roots: events for speed, sweeps for the guarantee, a guard over both."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Problem, RootReport, SaveNotice
from nbguard.settings import Intervals
from nbguard.watch.board import Board, Claim
from nbguard.watch.guard import Finding, Repair, RootState, diagnose
from nbguard.watch.mounts import read_mounts
from nbguard.watch.observer import LostEvents
from nbguard.watch.root import WatchedRoot, look_at_root
from nbguard.watch.scope import Scope
from nbguard.watch.sweep import Swept

_log = logging.getLogger(__name__)

_FULL_SWEEP_SECONDS = 3600.0
_GATHER_SECONDS = 1.0
# What was mended is still told for a while; what needs mending again and again is told until an hour passed without.
_TOLD_SECONDS = 600.0
_REPEATED_SECONDS = 3600.0
_REPEATED_TIMES = 3
_NAMED_FOLDERS = 20
_MOUNT_HINT = "mount it again; its notebooks are out of reach, and nothing is recorded as deleted"
_POLL_HINT = "nothing to do: file events do not reach here from other machines, so saves are seen a little later"
_READ_HINT = "give yourself read and search permission on it, or ignore it in the configuration"
# A sweep may cost at most this share of the time between two.
_SWEEP_SHARE = 1 / 20


class Watcher:
    """Tells of every notebook that may have changed, and of those with rescue material, once it knows whom to tell.

    ``step`` is for one thread and may take as long as a walk over a root; everything else may be called from any.
    """

    def __init__(
        self,
        scopes: Iterable[Scope],
        *,
        heads: Heads,
        clock: Clock,
        intervals: Intervals,
    ) -> None:
        self._stirred, self._ending = threading.Event(), threading.Event()
        self._roots = [
            WatchedRoot(scope, heads=heads, clock=clock, put=self._deliver, stir=self._stirred.set) for scope in scopes
        ]
        self._clock = clock
        self._intervals = intervals
        self._put: Callable[[SaveNotice], None] = lambda notice: None
        self._leftover: Callable[[str], None] = lambda path: None
        self._lost_events = LostEvents(self._overflow)
        self._next_guard = float("-inf")
        self._wanted = threading.Event()
        self._board = Board()
        self._mended: dict[str, list[float]] = {}
        self._problems: tuple[Problem, ...] = ()
        self._reports: tuple[RootReport, ...] = tuple(root.report() for root in self._roots)
        self.missed_events = 0
        self.rebuilds = 0
        self.sweeps = 0

    def deliver_to(self, put: Callable[[SaveNotice], None], leftover: Callable[[str], None]) -> None:
        """Tell these, from now on and from any thread; to be called before start()."""
        self._put = put
        self._leftover = leftover

    def start(self) -> None:
        """Begin events on every root there is; the first step() then sweeps, so nothing falls between."""
        self._lost_events.attach()
        self._guard(self._clock.monotonic())

    def stop(self) -> None:
        """End all events. Harmless when never started."""
        self._lost_events.detach()
        for root in self._roots:
            root.end()

    def request_sweep(self) -> None:
        """Ask for a full sweep of every root at the next step."""
        self._wanted.set()
        self._stirred.set()

    def wait(self, longest_seconds: float) -> None:
        """Wait until the next step has something to do. Folders come in numbers: what asks for a step gets it a moment
        later."""
        gather = min(_GATHER_SECONDS, self._intervals.guard_seconds)
        due = min([self._next_guard, *(root.due_at(_FULL_SWEEP_SECONDS) for root in self._roots)])
        if self._stirred.wait(min(longest_seconds, max(gather, due - self._clock.monotonic()))):
            self._stirred.clear()
            self._ending.wait(gather)

    def wake(self) -> None:
        """End every wait, also those to come; from any thread."""
        self._ending.set()
        self._stirred.set()

    def step(self, now: float) -> None:
        """Do what is due at ``now`` (monotonic seconds): guard, folders that appeared, sweeps."""
        if self._wanted.is_set():
            self._wanted.clear()
            for root in self._roots:
                root.needs_full_sweep = True
        if now >= self._next_guard or any(root.overflowed for root in self._roots):
            self._guard(now)
        for root in self._roots:
            if root.state is RootState.THERE:
                self._serve(root, now)

    def sweep_now(self) -> None:
        """Look at every root and sweep it in full before returning: for `run --once`."""
        now = self._clock.monotonic()
        self._guard(now)
        for root in self._roots:
            if root.state is RootState.THERE:
                self._sweep(root, now, full=True)
        self._publish(now)

    def reports(self) -> tuple[RootReport, ...]:
        """How each root is watched, as of the last step."""
        return self._reports

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with watching, as of the last step."""
        return self._problems

    def root_of(self, path: str) -> str | None:
        """The innermost root that holds ``path``; None when it lies in none."""
        best = ""
        for root in self._roots:
            if path.startswith(root.scope.prefix) and len(root.path) > len(best):
                best = root.path
        return best or None

    def root_is_sound(self, root: str) -> bool:
        """Whether notebooks missing under ``root`` may be judged: it is there, and it is not another disk."""
        return any(known.path == root and known.is_sound for known in self._roots)

    def follow_device(self, device: int) -> int:
        """The number a file system has now, if a known notebook was met under a new one."""
        for root in self._roots:
            device = root.sweeper.follow_device(device)
        return device

    def covers(self, path: str) -> bool:
        """Whether ``path`` is a notebook that is watched."""
        return any(root.scope.covers(path, root.sweeper.closed) for root in self._roots)

    def _deliver(self, notice: SaveNotice) -> None:
        self._put(notice)

    def _overflow(self) -> None:
        for root in self._roots:
            root.overflowed = True
        self._stirred.set()

    def _serve(self, root: WatchedRoot, now: float) -> None:
        for swept in root.serve_folders():
            self._tell_leftovers(swept)
        if root.needs_full_sweep or now - root.last_full_sweep >= _FULL_SWEEP_SECONDS:
            root.tried_to_watch_all = root.tried_to_watch_all and root.needs_full_sweep
            self._sweep(root, now, full=True)
        elif root.needs_sweep or now >= root.next_sweep:
            self._sweep(root, now, full=root.polled_kind is not None)
        else:
            return
        self._publish(now)

    def _sweep(self, root: WatchedRoot, now: float, *, full: bool) -> None:
        began = self._clock.monotonic()
        was_foreign = root.foreign
        swept, missed = root.sweep(now, full=full)
        self.sweeps += 1
        for mount in root.polled_below if not full else ():
            self._tell_leftovers(root.announce(root.sweeper.sweep_folder(mount.point)))
        self._tell_leftovers(swept)
        took = self._clock.monotonic() - began
        often = root.is_blind or root.polled_below
        wanted = self._intervals.poll_seconds if often else self._intervals.sweep_seconds
        root.next_sweep = now + max(wanted, took / _SWEEP_SHARE)
        if root.needs_second_sweep:
            root.needs_second_sweep = False
            root.next_sweep = min(root.next_sweep, now + self._intervals.guard_seconds)
        if missed:
            self._missed(root, missed, now)
        if root.foreign and not was_foreign:
            _log.warning("%s: another file system is where it was; nothing is judged deleted", root.path)

    def _missed(self, root: WatchedRoot, missed: int, now: float) -> None:
        self.missed_events += missed
        _log.warning("%s: a sweep found %s that no event told of; events are begun anew", root.path, _saves(missed))
        finding = Finding(
            Repair.REBUILD,
            f"file events are incomplete: sweeps found {_saves(self.missed_events)} that no event told of",
            "",
            "a program may write to notebooks through another path or keep them open; sweeps find these saves",
        )
        self._repair(root, finding, now)

    def _guard(self, now: float) -> None:
        self._next_guard = now + self._intervals.guard_seconds
        mounts = read_mounts()
        for root in self._roots:
            look = look_at_root(root.path)
            if look.state is RootState.THERE and root.state is not RootState.THERE:
                _log.info("%s: watching", root.path)
                root.begin(look, mounts)
            root.findings = diagnose(root.pulse(look, mounts))
            for finding in root.findings:
                if finding.repair is Repair.UNWATCH:
                    if root.state is not look.state:
                        _log.warning("%s %s", root.path, finding.message)
                    root.lose(look.state)
                elif finding.repair is not Repair.NOTHING:
                    self._repair(root, finding, now)
        self._publish(now)

    def _repair(self, root: WatchedRoot, finding: Finding, now: float) -> None:
        """Mend it; tell of it for a while, or until it stays away if it comes again and again."""
        _log.warning("%s: %s", root.path, finding.message)
        if finding.repair is Repair.REBUILD:
            self.rebuilds += 1
            root.tried_to_watch_all = True
            root.begin(look_at_root(root.path), read_mounts())
        root.needs_full_sweep = True
        # After an overflow watchdog is still renewing its watches while we sweep: what changes behind us is unheard.
        root.needs_second_sweep = finding.repair is Repair.SWEEP
        root.note_faults()
        if finding.code:
            self._tell(root, finding, now + _TOLD_SECONDS)
        lately = [at for at in self._mended.get(root.path, ()) if now - at < _REPEATED_SECONDS] + [now]
        self._mended[root.path] = lately
        if len(lately) >= _REPEATED_TIMES:
            again = replace(finding, code="watcher-dead", message=f"{finding.message} ({len(lately)} times in an hour)")
            self._tell(root, again, now + _REPEATED_SECONDS)

    def _tell(self, root: WatchedRoot, finding: Finding, until: float) -> None:
        self._board.tell(_claim(root, finding), self._clock.now(), until=until)

    def _publish(self, now: float) -> None:
        """Put together what others read."""
        self._board.stand([claim for root in self._roots for claim in _standing(root)], self._clock.now())
        self._problems = self._board.problems(now)
        self._reports = tuple(root.report() for root in self._roots)

    def _tell_leftovers(self, swept: Swept) -> None:
        for path in swept.leftovers:
            self._leftover(path)


def _saves(count: int) -> str:
    return f"{count} save{'' if count == 1 else 's'}"


def _claim(root: WatchedRoot, finding: Finding) -> Claim:
    return Claim(finding.code, root.path, f"{root.path} {finding.message}", finding.hint or "see the log")


def _standing(root: WatchedRoot) -> list[Claim]:
    """What holds as long as it is seen."""
    lasting = (Repair.NOTHING, Repair.UNWATCH)
    claims = [_claim(root, finding) for finding in root.findings if finding.code and finding.repair in lasting]
    if root.state is not RootState.THERE:
        return claims
    if root.foreign:
        claims.append(Claim("root-gone", root.path, f"{root.path}: another file system is in its place", _MOUNT_HINT))
    if root.polled_kind is not None:
        claims.append(Claim("polling", root.path, f"{root.path} is on {root.polled_kind}: polled", _POLL_HINT))
    claims += [
        Claim("polling", mount.point, f"{mount.point} is on {mount.kind}: polled", _POLL_HINT)
        for mount in root.polled_below
    ]
    claims += [
        Claim("unreachable", folder, f"{folder} cannot be read: a notebook in it is not protected", _READ_HINT)
        for folder in root.unreadable[:_NAMED_FOLDERS]
    ]
    return claims
