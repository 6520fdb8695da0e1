"""Which notebook had a path at a time: a link names a path, and paths go from one notebook to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from nbguard.model import Version


def holder_at(path: str, at: datetime, logs: Mapping[str, Sequence[Version]]) -> str | None:
    """The lineage that was at ``path`` then, of those whose versions (in any order) are given.

    Where none was: the one that left last, for a deleted notebook's kernel goes on; else the one that came first, for
    a notebook is there before its first version.
    """
    present: list[tuple[datetime, str]] = []
    past: list[tuple[datetime, str]] = []
    future: list[tuple[datetime, str]] = []
    for lineage, versions in logs.items():
        tips = sorted((one for one in versions if one.tip), key=lambda one: one.moment)
        for version, following in zip(tips, [*tips[1:], None], strict=True):
            if version.path != path or version.sha256 is None:
                continue
            if version.saved_at > at:
                future.append((version.saved_at, lineage))
            elif following is not None and following.saved_at <= at:
                past.append((following.saved_at, lineage))
            else:
                present.append((version.saved_at, lineage))
    if present:
        return max(present)[1]
    if past:
        return max(past)[1]
    return min(future)[1] if future else None
