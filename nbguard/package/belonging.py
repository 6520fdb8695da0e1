"""Which notebook executed cells belong to: decisions over links and versions, without clock or files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.model import Confidence, ExecutedCell, HistorySession, Link, Run, Version


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which a lineage was at a path; ``end`` is None while it is, or was when it was last seen."""

    notebook: str
    begin: datetime
    end: datetime | None


def spans_at(path: str, logs: Iterable[Sequence[Version]]) -> list[Span]:
    """When each lineage was at ``path``; ``logs`` are newest first."""
    found = []
    for log in logs:
        here: Version | None = None
        for version in reversed(log):
            if not version.tip:
                continue
            if version.path == path and here is None:
                here = version
            elif version.path != path and here is not None:
                found.append(Span(here.notebook, here.saved_at, version.saved_at))
                here = None
        if here is not None:
            found.append(Span(here.notebook, here.saved_at, None))
    return found


def holder(spans: Sequence[Span], at: datetime) -> str:
    """The lineage that was at a path: the one there then, else the next to be there, else the last; '' for none."""
    then = [span for span in spans if span.begin <= at and (span.end is None or at < span.end)]
    if then:
        return max(then, key=lambda span: span.begin).notebook
    later = [span for span in spans if span.begin > at]
    if later:
        return min(later, key=lambda span: span.begin).notebook
    return max(spans, key=lambda span: span.begin).notebook if spans else ""


def sure_links(links: Iterable[Link]) -> list[Link]:
    """The links of one session that are good enough for it to be in somebody's package.

    Where it was seen which notebook (or none) a session belongs to, what contents suggest does not count.
    """
    given = list(links)
    exact = [link for link in given if link.confidence is Confidence.EXACT]
    probable = [link for link in given if link.confidence is Confidence.PROBABLE]
    return [link for link in exact or probable if link.path is not None]


def anchor(link: Link) -> datetime:
    """A time at which the link held."""
    return link.since or link.seen_at


def own_cells(cells: Iterable[ExecutedCell], own: Sequence[Link], foreign: Sequence[Link]) -> list[ExecutedCell]:
    """The cells of a session that belong to a notebook, where the session is linked to others too."""
    if not foreign:
        return list(cells)
    bounded = [link for link in foreign if link.since is not None or link.until is not None]
    return [
        cell
        for cell in cells
        if any(holds(link, cell.seen_at) for link in own) and not any(holds(link, cell.seen_at) for link in bounded)
    ]


def ran_by(cells: Iterable[ExecutedCell], session: HistorySession | None, at: datetime | None) -> list[ExecutedCell]:
    """The cells that had run at ``at``; what was seen later of a session that had ended by then, had."""
    if at is None:
        return list(cells)
    if session is not None and session.started_at is not None and session.started_at > at:
        return []
    if session is not None and session.ended_at is not None and session.ended_at <= at:
        return list(cells)
    return [cell for cell in cells if cell.seen_at <= at]


def paired(cells: Sequence[ExecutedCell], runs: Sequence[Run]) -> list[tuple[ExecutedCell | None, Run | None]]:
    """Each execution once: the row of history and what was recorded of it, in the order of execution."""
    waiting = list(runs)
    found: list[tuple[ExecutedCell | None, Run | None]] = []
    for cell in cells:
        run = next((run for run in waiting if run.execution_count == cell.line and run.source == cell.source), None)
        if run is not None:
            waiting.remove(run)
        found.append((cell, run))
    for run in waiting:
        place = next((at for at, pair in enumerate(found) if _when(pair) > run.started_at), len(found))
        found.insert(place, (None, run))
    return found


def _when(pair: tuple[ExecutedCell | None, Run | None]) -> datetime:
    cell, run = pair
    if run is not None:
        return run.started_at
    assert cell is not None
    return cell.seen_at


def holds(link: Link, at: datetime) -> bool:
    """Whether a time lies within those of a link."""
    return (link.since is None or link.since <= at) and (link.until is None or at <= link.until)
