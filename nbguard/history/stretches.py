"""Everything executed in parts that can be put together one by one, and their rows in one order of time. Pure.

What was executed is more than memory should hold at once. A stretch is what must be known together: the sessions and
the kernels that links, runs or, for those that nothing ties, the time at which they lived bring together.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nbguard.executed import HistorySession, Link, Recorded, SessionKey
from nbguard.history.timeline import Executed, row_order

_SLACK = timedelta(seconds=30)

_Node = SessionKey | str
"""A session by its key, or a kernel by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Sessions, kernels whose runs were recorded, and the links of both; what ran between two moments (UTC)."""

    sessions: tuple[HistorySession, ...]
    recorded: tuple[Recorded, ...]
    links: tuple[Link, ...]
    first_at: datetime
    last_at: datetime

    @property
    def kernels(self) -> list[str]:
        """The kernels whose runs were recorded."""
        return sorted({one.kernel for one in self.recorded})


Seen = Callable[[HistorySession], tuple[datetime, datetime] | None]
"""When a session's first and last line were seen; None for one without any."""


def stretches(
    sessions: Iterable[HistorySession], seen: Seen, links: Sequence[Link], recorded: Sequence[Recorded]
) -> list[Stretch]:
    """All stretches, by the time of their first cell."""
    about = {(one.generation, one.session): one for one in sessions}
    lived: dict[_Node, tuple[datetime, datetime]] = {}
    for key, session in about.items():
        if (times := seen(session)) is not None:
            end = times[1] if session.ended_at is None else session.ended_at
            lived[key] = min(times[0], end), min(times[1], end)  # what ran in a session ran before its end
    for one in recorded:
        known = lived.get(one.kernel, (one.first_at, one.last_at))
        lived[one.kernel] = min(known[0], one.first_at), max(known[1], one.last_at)
    groups = _Groups()
    tied = _tie_known(groups, links, recorded)
    _tie_by_time(groups, {node: times for node, times in lived.items() if node not in tied})
    return _made(groups, about, lived, links, recorded)


def in_order(parts: Sequence[Stretch], rows_of: Callable[[Stretch], list[Executed]]) -> Iterator[Executed]:
    """The rows of all stretches, oldest first; only stretches that others overlap are held at the same time.

    ``rows_of`` gives a stretch's rows in their order.
    """
    waiting = sorted(parts, key=lambda part: part.first_at, reverse=True)
    open_ones: list[tuple[tuple[object, ...], int, list[Executed]]] = []
    number = 0
    while waiting or open_ones:
        while waiting and (not open_ones or waiting[-1].first_at <= open_ones[0][2][-1].at):
            rows = rows_of(waiting.pop())[::-1]
            if rows:
                number += 1
                heapq.heappush(open_ones, (row_order(rows[-1]), number, rows))
        if open_ones:
            _, which, rows = open_ones[0]
            yield rows.pop()
            if rows:
                heapq.heapreplace(open_ones, (row_order(rows[-1]), which, rows))
            else:
                heapq.heappop(open_ones)


class _Groups:
    """Which nodes are tied, over however many others."""

    def __init__(self) -> None:
        self._above: dict[_Node, _Node] = {}

    def of(self, node: _Node) -> _Node:
        """The node that stands for a group."""
        top = node
        while (above := self._above.get(top, top)) != top:
            top = above
        while (above := self._above.get(node, node)) != top:
            self._above[node] = top
            node = above
        return top

    def tie(self, one: _Node, other: _Node) -> None:
        """Both are in one group from now on."""
        self._above[self.of(one)] = self.of(other)


def _tie_known(groups: _Groups, links: Iterable[Link], recorded: Iterable[Recorded]) -> set[_Node]:
    """Tie what links and runs tie; what was tied."""
    tied: set[_Node] = set()
    every: list[Link | Recorded] = [*links, *recorded]
    for one in every:
        if one.kernel is not None and one.generation is not None and one.session is not None:
            groups.tie(one.kernel, (one.generation, one.session))
            tied |= {one.kernel, (one.generation, one.session)}
    return tied


def _tie_by_time(groups: _Groups, lived: Mapping[_Node, tuple[datetime, datetime]]) -> None:
    """Tie each kernel to the sessions that lived when it did."""
    kernels = [(node, times) for node, times in lived.items() if isinstance(node, str)]
    if not kernels:
        return
    for node, (first, last) in lived.items():
        if not isinstance(node, str):
            for kernel, (begun, ended) in kernels:
                if first <= ended + _SLACK and begun <= last + _SLACK:
                    groups.tie(node, kernel)


def _made(
    groups: _Groups,
    about: Mapping[SessionKey, HistorySession],
    lived: Mapping[_Node, tuple[datetime, datetime]],
    links: Sequence[Link],
    recorded: Sequence[Recorded],
) -> list[Stretch]:
    nodes: dict[_Node, list[_Node]] = defaultdict(list)
    for node in lived:
        nodes[groups.of(node)].append(node)
    links_of: dict[_Node, list[Link]] = defaultdict(list)
    for link in links:
        if link.generation is not None and link.session is not None:
            links_of[groups.of((link.generation, link.session))].append(link)
        elif link.kernel is not None:
            links_of[groups.of(link.kernel)].append(link)
    recorded_of: dict[_Node, list[Recorded]] = defaultdict(list)
    for one in recorded:
        recorded_of[groups.of(one.kernel)].append(one)
    found = [
        Stretch(
            sessions=tuple(about[node] for node in those if not isinstance(node, str)),
            recorded=tuple(recorded_of[top]),
            links=tuple(links_of[top]),
            first_at=min(lived[node][0] for node in those),
            last_at=max(lived[node][1] for node in those),
        )
        for top, those in nodes.items()
    ]
    return sorted(found, key=lambda part: part.first_at)
