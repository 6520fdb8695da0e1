"""What `history` is asked, and what it answers: sessions by id, executed cells by notebook and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.errors import Ambiguous, NothingMatched
from nbguard.executed import Confidence, HistorySession, Link, Run
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


def answer(library: ExecutedLibrary, question: Question, guess: Guess | None = None) -> list[Executed]:
    """Executed cells, oldest first; sessions without a link are guessed at, the newest 500 of those asked for.

    Raises NothingMatched, Ambiguous (an id), and what the library raises.
    """
    sessions, links, runs = library.sessions(), library.links(), library.runs()
    if guess is not None:
        links = [*links, *_guessed(library, sessions, links, question, guess)]
    wanted = sessions
    chosen: str | None = None
    if question.session is not None:
        chosen = find_session(sessions, runs, links, question.session)
        keys = {(link.generation, link.session) for link in links if _is_of_kernel(link, chosen)}
        wanted = [one for one in sessions if one.id == chosen or (one.generation, one.session) in keys]
    elif question.belongs is not None:
        keys = {(link.generation, link.session) for link in links if _is_linked(link, question.belongs)}
        wanted = [one for one in sessions if (one.generation, one.session) in keys]
    if question.since is not None:  # what ran in a session ran before its end
        wanted = [one for one in wanted if one.ended_at is None or one.ended_at >= question.since]
    cells = {(one.generation, one.session): library.cells(one.generation, one.session) for one in wanted}
    found = put_together(sessions, cells, runs, links)
    return [one for one in found if (chosen is None or one.session == chosen) and _is_asked_for(one, question)]


def _guessed(
    library: ExecutedLibrary,
    sessions: Sequence[HistorySession],
    links: Sequence[Link],
    question: Question,
    guess: Guess,
) -> list[Link]:
    """Links by content, for sessions that nobody saw alive (or not for which notebook)."""
    known = {(link.generation, link.session) for link in links if link.confidence is not Confidence.UNKNOWN}
    asked = [
        one
        for one in sessions
        if (one.generation, one.session) not in known
        and (question.session is None or one.id.startswith(question.session.strip()))
        and (question.since is None or (one.ended_at or one.seen_at) >= question.since)
        and (question.until is None or one.started_at is None or one.started_at <= question.until)
    ]
    found: list[Link] = []
    for one in asked[-_MOST_GUESSED:]:
        found += guess(one, [cell.source for cell in library.cells(one.generation, one.session)])
    return found


def find_session(sessions: Sequence[HistorySession], runs: Sequence[Run], links: Sequence[Link], prefix: str) -> str:
    """The id that a prefix means. Raises NothingMatched, Ambiguous."""
    ids = {one.id for one in sessions} | {one.session for one in put_together([], {}, runs, links)}
    found = identified(ids, prefix.strip())
    if not found:
        raise NothingMatched(f"no session is called {prefix!r}", hint="see `nbguard history`")
    if len(found) > 1:
        shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        raise Ambiguous(f"{len(found)} sessions begin with {prefix!r}", hint=f"say more of the id: {shown}")
    return found[0]


def linked_paths(library: ExecutedLibrary) -> list[str]:
    """Every path that some session is tied to."""
    paths = {link.path for link in library.links() if link.path is not None}
    return sorted(paths | {run.path for run in library.runs() if run.path is not None})


def _is_linked(link: Link, belongs: Belongs) -> bool:
    return link.path is not None and belongs(link.path, link.seen_at)


def _is_of_kernel(link: Link, session: str) -> bool:
    return link.kernel is not None and kernel_session(link.kernel) == session


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
