"""The notebooks that are not where they were, until each is back, believed deleted, or given up on.

Everything here is in memory on purpose: a daemon that starts again misses them again, and holds them from the start.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nbguard.clock import Clock
from nbguard.heads import Heads
from nbguard.model import Head, Problem
from nbguard.watch.absence import TOGETHER_SECONDS, Verdict, Witness, is_mass_deletion, judge_absence, recent

# A burst of deletions is judged as one: wait until no more come, but not for ever.
_GATHER_SECONDS = 1.0
_GATHER_CAP_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 30.0


@dataclass(slots=True)
class _Missed:
    since: float
    verdict: Verdict | None = None
    around: str = ""


class Missing:
    """Ledger of missing notebooks. One thread at a time."""

    def __init__(
        self,
        *,
        heads: Heads,
        clock: Clock,
        hold_seconds: float,
        root_of: Callable[[str], str | None],
        root_is_sound: Callable[[str], bool],
        follow_device: Callable[[int], int] = lambda device: device,
    ) -> None:
        self._heads = heads
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._root_of = root_of
        self._root_is_sound = root_is_sound
        self._follow_device = follow_device
        self._missed: dict[str, _Missed] = {}
        self._believed: dict[str, deque[float]] = defaultdict(deque)
        self._first_unjudged: float | None = None
        self._last_noted = 0.0
        self._last_look = float("-inf")

    def __len__(self) -> int:
        return len(self._missed)

    @property
    def is_gathering(self) -> bool:
        """Whether something missing has not been judged yet."""
        return self._first_unjudged is not None

    def note(self, path: str, now: float) -> None:
        """``path`` has a head and is not there. Noted again, it keeps its first time."""
        if path in self._missed:
            return
        self._missed[path] = _Missed(now)
        self._last_noted = now
        if self._first_unjudged is None:
            self._first_unjudged = now

    def forget(self, path: str) -> None:
        """``path`` is there again, or was followed to another name."""
        self._missed.pop(path, None)

    def next_due(self) -> float | None:
        """When believe() has something to do, in monotonic seconds; None while nothing is missing."""
        if not self._missed:
            return None
        again = self._last_look + _LOOK_AGAIN_SECONDS
        if self._first_unjudged is None:
            return again
        return min(self._last_noted + _GATHER_SECONDS, self._first_unjudged + _GATHER_CAP_SECONDS)

    def believe(self, now: float) -> list[Head]:
        """Judge what is due, and give the heads of those believed deleted. They stay until buried()."""
        due = self.next_due()
        if due is None or now < due:
            return []
        self._first_unjudged = None
        self._last_look = now
        witnesses = self._look()
        masses = self._masses(witnesses, now)
        deleted = []
        for path, witness in witnesses.items():
            head, missed = self._heads.get(path), self._missed[path]
            if head is None or head.is_deleted:
                self.forget(path)
                continue
            root = self._root_of(path) or ""
            missed.verdict = judge_absence(
                witness,
                device=self._device_of(head),
                missing_seconds=now - missed.since,
                mass=root in masses,
                hold_seconds=self._hold_seconds,
            )
            missed.around = witness.ancestor
            if missed.verdict is Verdict.BACK:
                self.forget(path)
            elif missed.verdict is Verdict.DELETED:
                deleted.append(head)
        return deleted

    def buried(self, path: str, now: float) -> None:
        """The deletion of ``path`` is recorded."""
        self._missed.pop(path, None)
        self._believed[self._root_of(path) or ""].append(now)

    def problems(self) -> tuple[Problem, ...]:
        """What is held back and what is out of reach, one problem for each root or folder."""
        groups: dict[tuple[Verdict, str], list[_Missed]] = defaultdict(list)
        for path, missed in list(self._missed.items()):
            if missed.verdict is Verdict.HELD:
                groups[Verdict.HELD, self._root_of(path) or ""].append(missed)
            elif missed.verdict is Verdict.UNREACHABLE:
                groups[Verdict.UNREACHABLE, missed.around].append(missed)
        return tuple(self._problem(verdict, subject, group) for (verdict, subject), group in groups.items())

    def _problem(self, verdict: Verdict, subject: str, group: list[_Missed]) -> Problem:
        since = self._ago(self._clock.monotonic() - min(missed.since for missed in group))
        if verdict is Verdict.HELD:
            return Problem(
                code="mass-deletion",
                message=f"{len(group)} notebooks under {subject} disappeared at once",
                hint=f"`nbguard restore --all --at WHEN --to DIR` brings them back; they are recorded as deleted after "
                f"{self._hold_seconds / 3600:.0f} hours",
                since=since,
                subject=subject,
            )
        return Problem(
            code="unreachable",
            message=f"{len(group)} notebooks below {subject} are out of reach: their folder is gone, unreadable or "
            "on another file system",
            hint="mount it or bring it back; their versions are kept, and nothing is recorded as deleted",
            since=since,
            subject=subject,
        )

    def _ago(self, seconds: float) -> datetime:
        return self._clock.now() - timedelta(seconds=max(0.0, seconds))

    def _device_of(self, head: Head) -> int | None:
        if head.parent_device is not None:
            return self._follow_device(head.parent_device)
        return self._follow_device(head.signature.device) if head.signature is not None else None

    def _look(self) -> dict[str, Witness]:
        folders: dict[str, Witness] = {}
        witnesses = {}
        for path in list(self._missed):
            root = self._root_of(path)
            if root is None:
                self.forget(path)
                continue
            folder = os.path.dirname(path)
            if folder not in folders:
                folders[folder] = _look_around(folder, root, root_sound=self._root_is_sound(root))
            seen = folders[folder]
            witnesses[path] = replace(seen, present=True) if seen.root_sound and is_file(path) else seen
        return witnesses

    def _masses(self, witnesses: dict[str, Witness], now: float) -> set[str]:
        """Roots of which too much is missing at once, counting what was believed in the last minutes."""
        missing: dict[str, int] = defaultdict(int)
        for path, witness in witnesses.items():
            if not witness.present and witness.root_sound:
                missing[self._root_of(path) or ""] += 1
        notebooks: dict[str, int] = defaultdict(int)
        if any(count > 0 for count in missing.values()):
            for head in self._heads.alive():
                notebooks[self._root_of(head.path) or ""] += 1
        masses = set()
        for root, count in missing.items():
            believed = self._believed[root]
            while believed and now - believed[0] >= TOGETHER_SECONDS:
                believed.popleft()
            lately = recent(believed, now)
            if is_mass_deletion(count + lately, notebooks[root] + lately):
                masses.add(root)
        return masses


def is_file(path: str) -> bool:
    """Whether a regular file is at ``path`` now."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _look_around(folder: str, root: str, *, root_sound: bool) -> Witness:
    """What is left of the folder a missing notebook was in."""
    at = folder
    while True:
        status = _folder_status(at, follow=at == root)
        if status is not None or at == root or len(at) <= len(root):
            break
        at = os.path.dirname(at)
    return Witness(
        present=False,
        root_sound=root_sound,
        parent_there=status is not None and at == folder,
        ancestor=at,
        ancestor_readable=status is not None and os.access(at, os.R_OK | os.X_OK, effective_ids=True),
        device=status.st_dev if status is not None else None,
    )


def _folder_status(path: str, *, follow: bool) -> os.stat_result | None:
    try:
        status = os.stat(path) if follow else os.lstat(path)
    except OSError:
        return None
    return status if stat.S_ISDIR(status.st_mode) else None
