"""When a path that was hinted at is worth reading. Times in, notices out; asks no clock.

Every kind of writer has its own quiet time. A close or a move into place says that the bytes are complete; a
creation says nothing (a file moved in from outside the tree sends no close at all); a path that is gone may be in
the middle of ``git checkout``, which deletes before it creates.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

from nbguard.model import NoticeKind, SaveNotice

QUIET_SECONDS = {
    NoticeKind.CLOSED: 0.010,
    NoticeKind.MOVED_IN: 0.010,
    NoticeKind.CREATED: 0.3,
    NoticeKind.GONE: 1.5,
    NoticeKind.SWEPT: 0.0,
    NoticeKind.RETRY: 0.0,
}
STREAM_CAP_SECONDS = 5.0

_EVENTS = frozenset({NoticeKind.CLOSED, NoticeKind.MOVED_IN, NoticeKind.CREATED, NoticeKind.GONE})
_RANKS = {NoticeKind.SWEPT: 1, NoticeKind.GONE: 2}


def large_due(
    *, now: float, last_kept_at: float | None, last_change_at: float, interval_seconds: float
) -> float | None:
    """When a large notebook may be kept next; None means now.

    At most one version per interval while it keeps changing, and the state it is left in once it has been quiet for
    a quarter of the interval (longer than Jupyter's two minutes between autosaves, at ten minutes).
    """
    if last_kept_at is None or now - last_kept_at >= interval_seconds:
        return None
    quiet_at = last_change_at + interval_seconds / 4
    if now >= quiet_at:
        return None
    return min(quiet_at, last_kept_at + interval_seconds)


@dataclass(frozen=True, slots=True)
class _Pending:
    notice: SaveNotice
    first_at: float
    due_at: float
    ticket: int


class Settling:
    """Paths waiting to be quiet. The last notice of a path always leads to one look at it, and none is lost.

    ``seen_at`` of a RETRY is the time it is due. Not thread-safe: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._waiting: list[tuple[float, int, str]] = []
        self._ready: list[tuple[int, float, int, str]] = []
        self._tickets = count()

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, path: object) -> bool:
        return path in self._pending

    def add(self, notice: SaveNotice) -> None:
        """Take a notice in; what was already known of its path is merged with it."""
        old = self._pending.get(notice.path)
        pending = _merged(old, notice, next(self._tickets))
        self._pending[notice.path] = pending
        heapq.heappush(self._waiting, (pending.due_at, pending.ticket, notice.path))

    def add_all(self, notices: Iterable[SaveNotice]) -> None:
        """Take several in, in their order."""
        for notice in notices:
            self.add(notice)

    def take(self, now: float) -> SaveNotice | None:
        """The next path to look at, if one is due: events first, then what a sweep found, disappearances last.

        Disappearances come last so that the new name of a renamed notebook is seen before the old one is missed.
        """
        while self._waiting and self._waiting[0][0] <= now:
            due_at, ticket, path = heapq.heappop(self._waiting)
            pending = self._pending.get(path)
            if pending is not None and pending.ticket == ticket:
                heapq.heappush(self._ready, (_RANKS.get(pending.notice.kind, 0), due_at, ticket, path))
        while self._ready:
            _rank, _due_at, ticket, path = heapq.heappop(self._ready)
            pending = self._pending.get(path)
            if pending is not None and pending.ticket == ticket:
                del self._pending[path]
                return pending.notice
        return None

    def take_anyway(self) -> SaveNotice | None:
        """The next path, due or not: for the end of a process."""
        return self.take(float("inf"))

    def next_due(self) -> float | None:
        """When the next look is due, in the same seconds; None when nothing waits."""
        if self._ready:
            return float("-inf")
        while self._waiting:
            due_at, ticket, path = self._waiting[0]
            pending = self._pending.get(path)
            if pending is not None and pending.ticket == ticket:
                return due_at
            heapq.heappop(self._waiting)
        return None


def _merged(old: _Pending | None, notice: SaveNotice, ticket: int) -> _Pending:
    wanted = notice.seen_at + QUIET_SECONDS[notice.kind]
    if old is None:
        return _Pending(notice, notice.seen_at, wanted, ticket)
    if notice.renamed_from is None and old.notice.renamed_from is not None:
        notice = replace(notice, renamed_from=old.notice.renamed_from)
    if notice.kind not in _EVENTS:
        # A sweep or a retry looks no later than was planned, and does not make an event look like a sweep.
        kept = old.notice if old.notice.kind in _EVENTS and old.notice.kind is not NoticeKind.GONE else notice
        return _Pending(kept, old.first_at, min(old.due_at, wanted), ticket)
    if old.notice.kind not in _EVENTS:
        return _Pending(notice, notice.seen_at, wanted, ticket)
    return _Pending(notice, old.first_at, min(wanted, max(old.first_at + STREAM_CAP_SECONDS, notice.seen_at)), ticket)
