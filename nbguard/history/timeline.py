"""What was executed, put together from history rows, recorded runs and links: one executed cell once.

A run that a recorder saw and a row of a history database are the same executed cell when they agree in session, line
and text. Pure: values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from nbguard.executed import Confidence, ExecutedCell, Frontend, HistorySession, Link, Run, SessionKey, session_id
from nbguard.history.pairing import paired


class TimeIs(StrEnum):
    """What ``at`` means: when it ran, when nbguard saw it, or that it ran no later than this."""

    RAN = "ran"
    SEEN = "seen"
    LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Which notebook it was. ``path`` only where one is named; ``candidates`` where several fit equally."""

    path: str | None = None
    confidence: Confidence = Confidence.UNKNOWN
    evidence: tuple[str, ...] = ()
    frontend: Frontend = Frontend.OTHER
    candidates: tuple[str, ...] = ()
    link: Link | None = None


UNKNOWN = Attribution()


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """One executed cell: of a history row, of a recorded run, or of both.

    ``session`` is what people type; of a kernel without history it is made from the kernel's id.
    """

    session: str
    generation: str | None
    number: int | None
    kernel: str | None
    line: int | None
    source: str
    at: datetime
    time_is: TimeIs
    cell: ExecutedCell | None = None
    run: Run | None = None
    about: HistorySession | None = None
    notebook: Attribution = UNKNOWN

    @property
    def origin(self) -> str:
        """Where the source was read: ``database``, ``kernel``, or ``recorder`` alone."""
        return "recorder" if self.cell is None else str(self.cell.origin)


_SAME_RUN_SECONDS = 2.0


def put_together(
    sessions: Iterable[HistorySession],
    cells: Mapping[SessionKey, Sequence[ExecutedCell]],
    runs: Iterable[Run],
    links: Sequence[Link],
) -> list[Executed]:
    """Every executed cell, in the order of time as far as it is known, then of session and line."""
    about = {(one.generation, one.session): one for one in sessions}
    found: list[Executed] = []
    row_of: dict[tuple[SessionKey, int, str], int] = {}
    for key, those in cells.items():
        for cell in those:
            row_of.setdefault((key, cell.line, _said(cell.source)), len(found))
            found.append(_of_cell(cell, about.get(key)))
    runs = list(runs)
    sessions_of = _sessions_of_kernels(links)
    ours = paired(cells, runs, [*sessions_of, *(key for keys in sessions_of.values() for key in keys), *_told(runs)])
    sessions_of = {**sessions_of, **ours}
    kernel_of = {key: kernel for kernel, keys in ours.items() for key in keys}
    for run in runs:
        rows = [row_of[key] for key in _keys(run, sessions_of) if key in row_of]
        # A kernel that was restarted runs its first cell once more: the row that was seen nearest is this run's.
        at = min(rows, key=lambda row: _apart(found[row], run), default=None)
        if at is None or _is_another(run, found[at].run):
            found.append(_of_run(run, about, sessions_of))
        elif _is_fuller(run, found[at].run):
            found[at] = replace(found[at], run=run, kernel=run.kernel, at=run.started_at, time_is=TimeIs.RAN)
    attribute = Attributing(links)
    named = [
        replace(one, notebook=attribute(one, kernel_of.get((one.generation or "", one.number or 0))))
        for one in _in_order_of_lines(found)
    ]
    return sorted(named, key=row_order)


def row_order(one: Executed) -> tuple[object, ...]:
    """What rows are sorted by: time, then session and line."""
    return one.at, one.session, -1 if one.line is None else one.line, one.source


class Attributing:
    """Which notebook an executed cell belongs to: the strongest link that held when it ran."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._of_session: dict[SessionKey, list[Link]] = {}
        self._of_kernel: dict[str, list[Link]] = {}
        for link in links:
            if link.generation is not None and link.session is not None:
                self._of_session.setdefault((link.generation, link.session), []).append(link)
            if link.kernel is not None:
                self._of_kernel.setdefault(link.kernel, []).append(link)

    def __call__(self, one: Executed, kernel: str | None = None) -> Attribution:
        """``kernel`` wrote its session, as far as was found out without a link."""
        links: list[Link] = []
        if one.generation is not None and one.number is not None:
            links = self._of_session.get((one.generation, one.number), [])
        if not links and (one.kernel or kernel) is not None:
            links = self._of_kernel.get(one.kernel or kernel or "", [])
        chosen = choose(links, one.at)
        if chosen.path is None and not chosen.candidates and one.run is not None and one.run.path is not None:
            return replace(chosen, path=one.run.path, confidence=Confidence.EXACT, evidence=("recorder",))
        return chosen


def choose(links: Sequence[Link], at: datetime) -> Attribution:
    """The link that counts for something that ran at ``at``; several that fit equally are named as such."""
    for confidence in (Confidence.EXACT, Confidence.PROBABLE):
        if of_kind := [link for link in links if link.confidence is confidence]:
            link = max(of_kind, key=lambda link: _nearness(link, at))
            return Attribution(
                path=link.path,
                confidence=confidence,
                evidence=link.evidence,
                frontend=link.frontend,
                link=link,
            )
    fitting = [link for link in links if link.confidence is Confidence.AMBIGUOUS and link.path is not None]
    if fitting:
        newest = max(fitting, key=lambda link: link.seen_at)
        return Attribution(
            confidence=Confidence.AMBIGUOUS,
            evidence=newest.evidence,
            frontend=newest.frontend,
            candidates=tuple(sorted({link.path for link in fitting if link.path is not None})),
            link=newest,
        )
    if links:
        newest = max(links, key=lambda link: link.seen_at)
        return Attribution(evidence=newest.evidence, frontend=newest.frontend, link=newest)
    return UNKNOWN


def _in_order_of_lines(rows: Sequence[Executed]) -> list[Executed]:
    """Times that agree with the lines of each session: a line ran no later than those after it."""
    found: list[Executed] = []
    earliest: dict[str, datetime] = {}
    for row in sorted(rows, key=lambda one: (one.line is None, -(one.line or 0), -one.at.timestamp())):
        bound = earliest.get(row.session, row.at)
        if row.line is not None and row.time_is is not TimeIs.RAN and bound < row.at:
            row = replace(row, at=bound, time_is=TimeIs.LATEST)  # noqa: PLW2901 - the same row, its time better known
        if row.line is not None:
            earliest[row.session] = min(bound, row.at)
        found.append(row)
    return found


def identified(ids: Iterable[str], prefix: str) -> list[str]:
    """Which ids a typed one can mean: exactly that one, else all that begin with it."""
    known = sorted(set(ids))
    return [prefix] if prefix in known else [one for one in known if prefix and one.startswith(prefix)]


def _nearness(link: Link, at: datetime) -> tuple[bool, float, datetime]:
    """How well a link's time fits: it holds then, else the nearest; of equal ones the newest."""
    begin, end = link.since or link.seen_at, link.until or link.seen_at
    if link.since is None and link.until is None:
        gap = abs((at - link.seen_at).total_seconds())
        return (False, -gap, link.seen_at)
    before, after = (begin - at).total_seconds(), (at - end).total_seconds()
    holds = before <= 0 and (link.until is None or after <= 0)
    return (holds, min(0.0, -max(before, after)) if not holds else 0.0, begin)


def _said(source: str) -> str:
    """IPython keeps a cell without the newlines at its end."""
    return source.rstrip("\n")


def _told(runs: Iterable[Run]) -> set[SessionKey | str]:
    """The kernels and sessions of which a run itself says that they belong together."""
    told: set[SessionKey | str] = set()
    for run in runs:
        if run.generation is not None and run.session is not None:
            told |= {run.kernel, (run.generation, run.session)}
    return told


def _sessions_of_kernels(links: Iterable[Link]) -> dict[str, list[SessionKey]]:
    """Sessions that a kernel has written, the latest first."""
    found: dict[str, dict[SessionKey, datetime]] = {}
    for link in links:
        if link.kernel is not None and link.generation is not None and link.session is not None:
            found.setdefault(link.kernel, {})[link.generation, link.session] = link.seen_at
    return {kernel: sorted(keys, key=lambda key: keys[key], reverse=True) for kernel, keys in found.items()}


def _keys(run: Run, sessions_of: Mapping[str, Sequence[SessionKey]]) -> Iterable[tuple[SessionKey, int, str]]:
    """Rows that can be this run's: of its own session, else of those that its kernel has written."""
    if run.execution_count is None:
        return
    keys: Sequence[SessionKey] = sessions_of.get(run.kernel, ())
    if run.generation is not None and run.session is not None:
        keys = [(run.generation, run.session)]
    for key in keys:
        yield key, run.execution_count, _said(run.source)


def _apart(row: Executed, run: Run) -> float:
    seen_at = row.at if row.cell is None else row.cell.seen_at
    return abs((seen_at - run.started_at).total_seconds())


def _is_another(run: Run, other: Run | None) -> bool:
    """Whether the row has its run already, and this is no second recording of that one."""
    return other is not None and abs((run.started_at - other.started_at).total_seconds()) > _SAME_RUN_SECONDS


def _is_fuller(run: Run, other: Run | None) -> bool:
    return other is None or (run.outputs, run.output_bytes) > (other.outputs, other.output_bytes)


def _of_cell(cell: ExecutedCell, about: HistorySession | None) -> Executed:
    ended = None if about is None else about.ended_at
    is_late = ended is not None and ended < cell.seen_at
    return Executed(
        session=session_id(cell.generation, cell.session),
        generation=cell.generation,
        number=cell.session,
        kernel=None,
        line=cell.line,
        source=cell.source,
        at=ended if is_late and ended is not None else cell.seen_at,
        time_is=TimeIs.LATEST if is_late else TimeIs.SEEN,
        cell=cell,
        about=about,
    )


def _of_run(
    run: Run, about: Mapping[SessionKey, HistorySession], sessions_of: Mapping[str, Sequence[SessionKey]]
) -> Executed:
    key = None if run.generation is None or run.session is None else (run.generation, run.session)
    if key is None and len(sessions_of.get(run.kernel, ())) == 1:
        key = sessions_of[run.kernel][0]
    return Executed(
        session=kernel_session(run.kernel) if key is None else session_id(*key),
        generation=None if key is None else key[0],
        number=None if key is None else key[1],
        kernel=run.kernel,
        line=run.execution_count,
        source=run.source,
        at=run.started_at,
        time_is=TimeIs.RAN,
        run=run,
        about=None if key is None else about.get(key),
    )


def kernel_session(kernel: str) -> str:
    """What people type for a kernel that has no history: ``kernel-`` and the first characters of its id."""
    return "kernel-" + "".join(char for char in kernel if char.isalnum())[:12]
