"""The composition root's page for the refuge: what lives on outside HOME, and what is done when HOME is wiped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from nbguard.archive.pack_index import PackIndex
from nbguard.errors import ArchiveTrouble


def covers(index: str, others: Sequence[str]) -> bool:
    """Whether every object that a pack index names is named by one of the others too. Raises OSError."""
    try:
        with ExitStack() as opened:
            indexes = [opened.enter_context(PackIndex(path)) for path in others]
            gone = opened.enter_context(PackIndex(index))
            return all(any(oid in one for one in indexes) for oid in gone)
    except ArchiveTrouble:
        return False
