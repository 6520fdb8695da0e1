"""What a package is made of and what is said of it afterwards: frozen nouns of this room."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a package. ``source`` says where its bytes come from, ``original_path`` the path they had."""

    path: str
    time: datetime
    size: int
    sha256: str
    source: str
    original_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that could not be put in, or was not made: ``what`` it is, and why; whose ``path``, ``id`` and
    ``time``, if any."""

    what: str
    reason: str
    path: str | None = None
    id: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One notebook that goes in: its path (as of then), its lineage, the version (id) up to which, None: all.

    Of those, what was saved after ``at`` (UTC) is left out too, where it is given. A lineage of '' is a notebook that
    was never saved: only what was executed for it. ``versions`` is about how many there are, for the progress bar.
    """

    path: str
    notebook: str
    newest: str | None = None
    at: datetime | None = None
    versions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be packed. ``unsaved``: notebooks too of which only executed cells are known; ``everything``: also
    what belongs to no notebook, and whole databases. What was executed after ``at`` (UTC) is left out."""

    notebooks: tuple[Chosen, ...]
    unsaved: bool = False
    everything: bool = False
    at: datetime | None = None
    known_missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageReport:
    """What was made. ``versions`` counts those whose bytes are in it, ``bytes`` is the zip's size.

    ``left_out`` counts sessions that belong to no notebook that was asked for. ``not_made`` names what is only for
    convenience and was too large to make: nothing is lost with it.
    """

    written_to: str
    members: int
    bytes: int
    notebooks: int
    versions: int
    sessions: int
    sha256: str
    missing: tuple[Missing, ...]
    left_out: int = 0
    not_made: tuple[Missing, ...] = ()
