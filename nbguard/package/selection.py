"""What belongs in a package: decisions over versions, without clock or files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nbguard.model import Status, Version


def as_of(log: Sequence[Version], newest: str | None, at: datetime | None) -> list[Version]:
    """The versions of one notebook that go in, oldest first.

    ``log`` is newest first. What stands in it before the version ``newest`` is left out, and what was saved after
    ``at``; None leaves out nothing.
    """
    begin = 0 if newest is None else next((row for row, version in enumerate(log) if version.id == newest), 0)
    return [version for version in reversed(log[begin:]) if at is None or version.saved_at <= at]


def faces(versions: Sequence[Version]) -> list[Version]:
    """The versions that may stand for a notebook at its own path, the best first; ``versions`` are oldest first.

    That is the newest one that is as it should be, then the older ones; failing those, the newest bytes there are.
    """
    newest_first = [version for version in reversed(versions) if version.sha256 is not None]
    return sorted(newest_first, key=lambda version: (not _is_good(version), not version.tip))


def is_deleted(versions: Sequence[Version]) -> bool:
    """Whether the notebook was gone then; ``versions`` are oldest first."""
    return next((version.sha256 is None for version in reversed(versions) if version.tip), False)


def _is_good(version: Version) -> bool:
    return version.status is Status.OK or (version.status is Status.EMPTIED and version.accepted)
