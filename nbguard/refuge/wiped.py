"""Has HOME been wiped? A pure decision over what it held while all was well and what is seen of it now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FEW_OF = 5
"""HOME counts as emptied once at most one in so many of its entries is left."""

Entry = tuple[str, int]
"""A name in HOME and its inode: a file that was made anew is not the one that was there."""


class Home(StrEnum):
    """What became of HOME.

    ``OURS_GONE``: something of nbguard's was removed, and HOME is there otherwise. ``UNREACHABLE``: unmounted, or
    unreadable; nothing is said to be gone then.
    """

    INTACT = "intact"
    OURS_GONE = "ours-gone"
    WIPED = "wiped"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """HOME while all was well. ``way`` holds HOME and each folder above it, nearest first, with its st_dev.

    ``ours`` are paths of archive, spool and state, wherever they lie; ``roots`` the watched folders. Each with its
    inode.
    """

    way: tuple[tuple[str, int], ...]
    entries: frozenset[Entry]
    ours: frozenset[Entry]
    roots: frozenset[Entry]

    @property
    def home(self) -> str:
        return self.way[0][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """HOME now. ``nearest`` is the lowest folder on the way to it that is there, ``device`` its st_dev.

    ``entries`` is None when HOME is there and cannot be read, empty when it is gone. ``ours`` and ``roots`` are those
    of the baseline that are still there.
    """

    nearest: str
    device: int
    entries: frozenset[Entry] | None
    ours: frozenset[Entry]
    roots: frozenset[Entry]


def decide(before: Baseline, now: Sight) -> Home:
    """What became of HOME.

    Wiped means: nearly nothing of it is left, and what it held of ours (or, when it held nothing of ours, the watched
    folders in it) is gone. A folder on another device is another folder: an unmounted HOME is not a wiped one.
    """
    if before.ours <= now.ours and before.roots <= now.roots:
        return Home.INTACT
    if now.entries is None or (now.nearest, now.device) not in before.way:
        return Home.UNREACHABLE
    inside = _inside(before.home, before.ours) or _inside(before.home, before.roots)
    left = before.entries & now.entries
    is_emptied = FEW_OF * len(left) <= len(before.entries)
    if inside and is_emptied and not inside & (now.ours | now.roots):
        return Home.WIPED
    return Home.INTACT if before.ours <= now.ours else Home.OURS_GONE


def is_like(before: Baseline, now: Baseline) -> bool:
    """Whether ``now`` may take the place of ``before``: not while HOME is just being emptied."""
    return FEW_OF * len(before.entries - now.entries) <= len(before.entries) and before.ours <= now.ours


def _inside(home: str, entries: frozenset[Entry]) -> frozenset[Entry]:
    return frozenset(entry for entry in entries if entry[0].startswith(home.rstrip("/") + "/"))
