"""How one mirror stands: what is remembered between two tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

REMEMBERED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """One mirror as it stood when it was last tried.

    ``written`` are the commits that we put, or were about to put, in place of our heartbeat and roll call: any other
    one there is not ours. ``main`` and ``records`` are the tips last seen there. ``step_commits`` is how much is pushed
    at once. ``chained``: it takes no branch that is replaced, so heartbeats follow one another. ``sampled_at`` is when
    versions were last read back from it, ``read_whole_at`` when everything in it was, ``verified_by`` says how.
    """

    tried_at: datetime | None = None
    verified_at: datetime | None = None
    beat_at: datetime | None = None
    behind_since: datetime | None = None
    sampled_at: datetime | None = None
    read_whole_at: datetime | None = None
    verified_by: str = ""
    trouble: str = ""
    foreign: str = ""
    failures: int = 0
    network: str = ""
    written: tuple[str, ...] = ()
    main: str | None = None
    records: str | None = None
    step_commits: int = 256
    chained: bool = False


def with_written(state: MirrorState, oid: str) -> MirrorState:
    """Remember a commit that is about to be put there."""
    return replace(state, written=(*[known for known in state.written if known != oid], oid)[-REMEMBERED:])
