"""What `history` is asked, and what it answers: sessions by id, executed cells by notebook and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nbguard.errors import Ambiguous, NothingMatched
from nbguard.executed import Confidence, HistorySession, Link, Recorded, SessionKey, session_id
from nbguard.history.pairing import paired
from nbguard.history.stretches import Stretch, in_order, stretches
from nbguard.history.timeline import Attribution, Executed, identified, kernel_session, put_together
from nbguard.ports import ExecutedLibrary

Belongs = Callable[[str, datetime], bool]
"""Whether what was at a path at a time is the notebook that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which executed cells. None means all; ``since`` and ``until`` belong to the time asked for."""

    session: str | None = None
    belongs: Belongs | None = None
    since: datetime | None = None
    until: datetime | None = None


Guess = Callable[[HistorySession, Sequence[str]], list[Link]]
"""The notebooks that a session may belong to by its sources, as links; none when that is unknown."""

_MOST_GUESSED = 500


class Library(ExecutedLibrary, Protocol):
    """Everything executed, and what tells without reading it when it was."""

    def seen(self, generation: str, session: int) -> tuple[datetime, datetime] | None:
        """When the first line and the last line of a session were seen; None for one without cells."""

    def recorded(self) -> list[Recorded]:
        """Which kernels' runs were recorded, of which sessions, and when."""


def answer(library: Library, question: Question, guess: Guess | None = None) -> Iterator[Executed]:
    """Executed cells, oldest first; sessions without a link are guessed at, the newest 500 of those asked for.

    They are read as they are taken, so that the first come at once and few are in memory. What was seen out of turn
    (line 2 of a session before line 1) may come out of turn. Raises NothingMatched, Ambiguous (an id) before the
    first, and what the library raises at any time.
    """
    sessions, links, recorded = library.sessions(), library.links(), library.recorded()
    chosen = None if question.session is None else find_session(sessions, recorded, links, question.session)
    to_guess = set() if guess is None else _to_guess(sessions, links, question, chosen)
    whole = stretches(sessions, lambda one: library.seen(one.generation, one.session), links, recorded)
    wanted = [part for part in whole if _may_hold(part, question, chosen, to_guess)]
    is_alone = question.belongs is None  # else cells of other sessions tell whose a run was

    def rows(part: Stretch) -> list[Executed]:
        cells = {
            (one.generation, one.session): library.cells(one.generation, one.session)
            for one in part.sessions
            if not is_alone or part.recorded or _is_in_time(one, question)
        }
        found = list(part.links)
        for one in part.sessions:
            key = (one.generation, one.session)
            if guess is not None and key in to_guess and key in cells:
                found += guess(one, [cell.source for cell in cells[key]])
        runs = [run for kernel in part.kernels for run in library.runs(kernel=kernel)]
        together = put_together(part.sessions, cells, runs, found)
        return [one for one in together if _is_chosen(one, chosen) and _is_asked_for(one, question)]

    return in_order(wanted, rows)


def _may_hold(part: Stretch, question: Question, chosen: str | None, to_guess: set[SessionKey]) -> bool:
    """Whether a stretch may hold a cell that was asked for, as far as is known before it is read."""
    if question.since is not None and part.last_at < question.since:
        return False
    if question.until is not None and part.first_at > question.until:
        return False
    if chosen is not None:
        return chosen in {one.id for one in part.sessions} | {_id_of_recorded(one, ()) for one in part.recorded} | {
            kernel_session(kernel) for kernel in part.kernels
        }
    if question.belongs is None:
        return True
    if any(_is_linked(link, question.belongs) for link in part.links):
        return True
    named = {link.path for link in part.links}
    return any((one.generation, one.session) in to_guess for one in part.sessions) or any(
        one.path is not None and one.path not in named for one in part.recorded
    )


def _is_in_time(session: HistorySession, question: Question) -> bool:
    """Whether it may have cells of the time asked for: what ran in a session ran before its end."""
    return question.since is None or session.ended_at is None or session.ended_at >= question.since


def _is_chosen(one: Executed, chosen: str | None) -> bool:
    return chosen is None or chosen in (one.session, None if one.kernel is None else kernel_session(one.kernel))


def _to_guess(
    sessions: Sequence[HistorySession], links: Sequence[Link], question: Question, chosen: str | None
) -> set[SessionKey]:
    """The sessions whose notebook is guessed by content: nobody saw them alive (or not for which notebook)."""
    known = {(link.generation, link.session) for link in links if link.confidence is not Confidence.UNKNOWN}
    asked = [
        (one.generation, one.session)
        for one in sessions
        if (one.generation, one.session) not in known
        and chosen in (None, one.id)
        and (question.since is None or (one.ended_at or one.seen_at) >= question.since)
        and (question.until is None or one.started_at is None or one.started_at <= question.until)
    ]
    return set(asked[-_MOST_GUESSED:])


def sessions_of_kernels(library: Library) -> dict[str, str]:
    """The session of each kernel whose recorded runs were all of one, as people type it: what links say, else what
    both ran at the same moment."""
    sessions, links, recorded = library.sessions(), library.links(), library.recorded()
    every: list[Link | Recorded] = [*links, *recorded]
    found: dict[str, set[SessionKey]] = {}
    for one in every:
        if one.kernel is not None and one.generation is not None and one.session is not None:
            found.setdefault(one.kernel, set()).add((one.generation, one.session))
    tied: set[SessionKey | str] = {*found, *(key for keys in found.values() for key in keys)}
    if not {one.kernel for one in recorded} <= tied:
        for part in stretches(sessions, lambda one: library.seen(one.generation, one.session), links, recorded):
            if kernels := [kernel for kernel in part.kernels if kernel not in tied]:
                keys = [(one.generation, one.session) for one in part.sessions]
                cells = {key: library.cells(*key) for key in keys if key not in tied}
                runs = [run for kernel in kernels for run in library.runs(kernel=kernel)]
                found |= {kernel: set(theirs) for kernel, theirs in paired(cells, runs, tied).items()}
    return {kernel: session_id(*next(iter(keys))) for kernel, keys in found.items() if len(keys) == 1}


def find_session(
    sessions: Sequence[HistorySession], recorded: Iterable[Recorded], links: Sequence[Link], prefix: str
) -> str:
    """The id that a prefix means. Raises NothingMatched, Ambiguous."""
    sessions_of: dict[str, set[SessionKey]] = {}
    for link in links:
        if link.kernel is not None and link.generation is not None and link.session is not None:
            sessions_of.setdefault(link.kernel, set()).add((link.generation, link.session))
    ids = {one.id for one in sessions} | {_id_of_recorded(one, sessions_of.get(one.kernel, ())) for one in recorded}
    found = identified(ids, prefix.strip())
    if not found:
        raise NothingMatched(f"no session is called {prefix!r}", hint="see `nbguard history`")
    if len(found) > 1:
        shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        raise Ambiguous(f"{len(found)} sessions begin with {prefix!r}", hint=f"say more of the id: {shown}")
    return found[0]


def _id_of_recorded(one: Recorded, sessions: Iterable[SessionKey]) -> str:
    """The session that runs were of, as people type it; of a kernel that none is known of, what is made of its id."""
    if one.generation is not None and one.session is not None:
        return session_id(one.generation, one.session)
    keys = list(sessions)
    return session_id(*keys[0]) if len(keys) == 1 else kernel_session(one.kernel)


def linked_paths(library: Library) -> list[str]:
    """Every path that some session is tied to."""
    paths = {link.path for link in library.links() if link.path is not None}
    return sorted(paths | {one.path for one in library.recorded() if one.path is not None})


def _is_linked(link: Link, belongs: Belongs) -> bool:
    return link.path is not None and belongs(link.path, link.seen_at)


def _is_asked_for(one: Executed, question: Question) -> bool:
    if question.since is not None and one.at < question.since:
        return False
    if question.until is not None and one.at > question.until:
        return False
    return question.belongs is None or _is_of(one.notebook, one.at, question.belongs)


def _is_of(notebook: Attribution, at: datetime, belongs: Belongs) -> bool:
    when = at if notebook.link is None else notebook.link.seen_at
    paths = notebook.candidates if notebook.path is None else (notebook.path,)
    return any(belongs(path, when) for path in paths)
