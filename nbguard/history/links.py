"""From what was seen of a kernel to the paths it belongs to: decided from values alone.

A process is told its notebook's path when it starts, and never again. A server's sessions follow renames made in
JupyterLab, and no others. The renames that were seen on disk tell the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nbguard.executed import Confidence, Frontend, Link
from nbguard.model import Version

Chain = Callable[[str, datetime], Sequence[str]]
"""The paths that the notebook which was at a path at some time has had since, oldest first; empty when not known."""

SERVER = "server"
ENVIRONMENT = "environment"
PROCESS = "process"
RENAMED = "renamed"
CONTROL = "kernel"


# A notebook is seen a little later than its kernel starts when both were made at once.
_SEEN_LATE = timedelta(seconds=120)


def chain_of(path: str, at: datetime, logs: Mapping[str, Sequence[Version]], *, is_there: bool) -> tuple[str, ...]:
    """The Chain of ``path``, from the versions (in any order) of every notebook that was ever there.

    Where none was there at that time: the one that came soon after; else the one that had left, unless another file
    ``is_there``, which then is the one that was meant.
    """
    present: list[tuple[datetime, tuple[str, ...]]] = []
    past: list[tuple[datetime, tuple[str, ...]]] = []
    future: list[tuple[datetime, tuple[str, ...]]] = []
    for versions in logs.values():
        tips = sorted((one for one in versions if one.tip), key=lambda one: one.moment)
        for number, version in enumerate(tips):
            if version.path != path or version.sha256 is None:
                continue
            since = tuple(dict.fromkeys(one.path for one in tips[number:]))
            following = tips[number + 1] if number + 1 < len(tips) else None
            if version.saved_at > at:
                if version.saved_at <= at + _SEEN_LATE:
                    future.append((version.saved_at, since))
            elif following is not None and following.saved_at <= at:
                past.append((following.saved_at, since))
            else:
                present.append((version.saved_at, since))
    if present:
        return max(present)[1]
    if future:
        return min(future)[1]
    return max(past)[1] if past and not is_there else ()


@dataclass(frozen=True, slots=True)
class Served:
    """A session of a server: its path (absolute) and what it is for. ``since`` is when the server was first seen to
    say so."""

    path: str
    kind: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one life of a kernel. ``served`` is None when no server was heard."""

    frontend: Frontend
    told: str | None
    started_at: datetime
    served: tuple[Served, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One notebook that a kernel serves; without ``path`` it belongs to no file, or (UNKNOWN) nobody says to which."""

    path: str | None
    frontend: Frontend
    evidence: tuple[str, ...]
    confidence: Confidence


def places_of(seen: Seen, chain: Chain, exists: Callable[[str], bool]) -> tuple[Place, ...]:
    """Every notebook that a kernel serves now. A path that is gone, and of which no rename is known, is not certain."""
    history = tuple(chain(seen.told, seen.started_at)) if seen.told else ()
    notebooks = [served for served in seen.served or () if served.kind == "notebook"]
    if not notebooks:
        if any(served.kind == "console" for served in seen.served or ()):
            return (Place(None, Frontend.CONSOLE, (SERVER,), Confidence.EXACT),)
        if seen.told is None:
            is_no_file = seen.frontend in (Frontend.CONSOLE, Frontend.TERMINAL)
            confidence = Confidence.EXACT if is_no_file else Confidence.UNKNOWN
            return (Place(None, seen.frontend, (PROCESS,) if is_no_file else (), confidence),)
        return (_place(seen.told, seen.frontend, (ENVIRONMENT,), history, exists),)
    places: dict[str | None, Place] = {}
    for served in notebooks:
        evidence = (SERVER, ENVIRONMENT) if served.path == seen.told else (SERVER,)
        # What the process was told has a history from its start; a path that only the server knows, from then on.
        since = history if served.path in history else tuple(chain(served.path, served.since))
        place = _place(served.path, Frontend.NOTEBOOK, evidence, since, exists)
        places.setdefault(place.path, place)
    return tuple(places.values())


def _place(
    path: str, frontend: Frontend, evidence: tuple[str, ...], history: Sequence[str], exists: Callable[[str], bool]
) -> Place:
    if history and history[-1] != path:
        return Place(history[-1], frontend, (*evidence, RENAMED), Confidence.EXACT)
    is_certain = bool(history) or exists(path)
    return Place(path, frontend, evidence, Confidence.EXACT if is_certain else Confidence.PROBABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """One session, or a kernel's life without one, and what it belongs to since when."""

    kernel: str
    pid: int
    generation: str | None
    session: int | None
    since: datetime


def new_links(belonging: Belonging, before: Iterable[Link], places: Sequence[Place], now: datetime) -> list[Link]:
    """The links that are to be kept now: for each place that is new, and an end for each that is no more.

    What was certain once is not taken back because its file has gone.
    """
    open_before = {link.path: link for link in before if link.until is None}
    present = {place.path: place for place in places}
    links = []
    gone = [link for path, link in open_before.items() if path not in present]
    for place in places:
        known = open_before.get(place.path)
        if known is not None and known.confidence in (Confidence.EXACT, place.confidence):
            continue
        links.append(
            Link(
                generation=belonging.generation,
                session=belonging.session,
                path=place.path,
                frontend=place.frontend,
                confidence=place.confidence,
                evidence=(CONTROL, *place.evidence) if belonging.session is not None else place.evidence,
                seen_at=now,
                since=now if open_before else belonging.since,
                kernel=belonging.kernel or None,
                pid=belonging.pid,
            )
        )
    return [*(_ended(link, now) for link in gone), *links]


def _ended(link: Link, now: datetime) -> Link:
    return Link(
        generation=link.generation,
        session=link.session,
        path=link.path,
        frontend=link.frontend,
        confidence=link.confidence,
        evidence=link.evidence,
        seen_at=now,
        since=link.since,
        until=now,
        kernel=link.kernel,
        pid=link.pid,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Willingness:
    """What is known of a kernel that was not identified yet; times are monotonic seconds.

    ``worked_at`` is when it was last seen to write (a history row, as a rule), None when never. ``state`` is what its
    server believes of it; empty when nobody can tell.
    """

    worked_at: float | None
    not_before: float
    state: str


SETTLED_SECONDS = 0.7
"""So long after it wrote a kernel is left in peace: its history thread has what it needs by then."""


def may_ask(known: Willingness, now: float) -> bool:
    """Whether a kernel is to be asked which session it is in: after it worked, and not while it works.

    The answer makes a kernel that is at work look idle to its server, which would then cull it.
    """
    if known.worked_at is None or now < known.not_before or now - known.worked_at < SETTLED_SECONDS:
        return False
    return known.state in ("", "idle")
