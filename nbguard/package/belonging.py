"""Which notebook executed cells belong to: decisions over links, without clock or files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from nbguard.executed import Confidence, ExecutedCell, HistorySession, Link, Run

Key = tuple[str, int]
"""A session: its generation and its number in it."""
Choose = Callable[[Sequence[Link], datetime], Link | None]
"""The link of a session that counts for what ran at a time."""


def sure_links(links: Iterable[Link]) -> list[Link]:
    """The links of one session that are good enough for it to be in somebody's package.

    Where it was seen which notebook (or none) a session belongs to, what contents suggest does not count.
    """
    given = list(links)
    exact = [link for link in given if link.confidence is Confidence.EXACT]
    probable = [link for link in given if link.confidence is Confidence.PROBABLE]
    return [link for link in exact or probable if link.path is not None]


def anchor(link: Link) -> datetime:
    """A time at which the link held: the middle of its own, else when it was seen."""
    if link.since is not None and link.until is not None:
        return link.since + (link.until - link.since) / 2
    return link.seen_at


def own_cells(
    cells: Iterable[ExecutedCell], links: Sequence[Link], choose: Choose, is_own: Callable[[Link], bool]
) -> list[ExecutedCell]:
    """The cells of a session that belong to a notebook: all, unless some of its links are others' or nobody's."""
    if all(is_own(link) for link in links if link.confidence in (Confidence.EXACT, Confidence.PROBABLE)):
        return list(cells)
    chosen = ((cell, choose(links, cell.seen_at)) for cell in cells)
    return [cell for cell, link in chosen if link is not None and is_own(link)]


def ran_by(cells: Iterable[ExecutedCell], session: HistorySession | None, at: datetime | None) -> list[ExecutedCell]:
    """The cells that had run at ``at``; what was seen later of a session that had ended by then, had."""
    if at is None:
        return list(cells)
    if session is not None and session.started_at is not None and session.started_at > at:
        return []
    if session is not None and session.ended_at is not None and session.ended_at <= at:
        return list(cells)
    return [cell for cell in cells if cell.seen_at <= at]


def session_of(
    run: Run, cells: Mapping[Key, Sequence[ExecutedCell]], kernels: Mapping[str, Sequence[Key]]
) -> Key | None:
    """The session, of those in ``cells``, that a run belongs to; None: it has none. ``kernels`` wrote which ones."""
    if run.generation is not None and run.session is not None:
        key = (run.generation, run.session)
        return key if key in cells else None
    candidates = [key for key in kernels.get(run.kernel, ()) if key in cells]
    matching = [key for key in candidates if any(_is_same(cell, run) for cell in cells[key])]
    return next(iter(matching or candidates), None)


def paired(cells: Sequence[ExecutedCell], runs: Sequence[Run]) -> list[tuple[ExecutedCell | None, Run | None]]:
    """Each execution once: the row of history and what was recorded of it, in the order of execution."""
    waiting = list(runs)
    found: list[tuple[ExecutedCell | None, Run | None]] = []
    for cell in cells:
        run = next((run for run in waiting if _is_same(cell, run)), None)
        if run is not None:
            waiting.remove(run)
        found.append((cell, run))
    for run in waiting:
        place = next((at for at, pair in enumerate(found) if _when(pair) > run.started_at), len(found))
        found.insert(place, (None, run))
    return found


def holds(link: Link, at: datetime) -> bool:
    """Whether a time lies within those of a link."""
    return (link.since is None or link.since <= at) and (link.until is None or at <= link.until)


def _is_same(cell: ExecutedCell, run: Run) -> bool:
    """IPython keeps a cell without the newlines at its end."""
    return run.execution_count == cell.line and run.source.rstrip("\n") == cell.source.rstrip("\n")


def _when(pair: tuple[ExecutedCell | None, Run | None]) -> datetime:
    cell, run = pair
    if run is not None:
        return run.started_at
    assert cell is not None
    return cell.seen_at
