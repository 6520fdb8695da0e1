"""What HOME holds, seen: the values that `wiped` decides over."""

from __future__ import annotations

import os
from collections.abc import Iterable

from nbguard.refuge.wiped import Baseline, Entry, Sight


def baseline(home: str, ours: Iterable[str], roots: Iterable[str]) -> Baseline | None:
    """HOME as it is now, for later; None when it cannot be read."""
    way = []
    for folder in _upwards(home):
        try:
            way.append((folder, os.stat(folder).st_dev))
        except OSError:
            return None
    entries = _entries(home)
    if entries is None:
        return None
    return Baseline(way=tuple(way), entries=entries, ours=_present(ours), roots=_present(roots))


def sight(before: Baseline) -> Sight:
    """HOME now. Cheap while all is well: HOME itself is only listed once something is missing."""
    ours, roots = _still(before.ours), _still(before.roots)
    if ours == before.ours and roots == before.roots:
        return Sight(nearest=before.home, device=before.way[0][1], entries=before.entries, ours=ours, roots=roots)
    nearest, device = "", -1
    for folder in _upwards(before.home):
        try:
            nearest, device = folder, os.stat(folder).st_dev
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it may be there
        break
    entries = _entries(before.home) if nearest == before.home else frozenset()
    return Sight(nearest=nearest, device=device, entries=entries, ours=ours, roots=roots)


def _present(paths: Iterable[str]) -> frozenset[Entry]:
    found = set()
    for path in paths:
        try:
            found.add((path, os.lstat(path).st_ino))
        except OSError:
            continue
    return frozenset(found)


def _still(entries: frozenset[Entry]) -> frozenset[Entry]:
    return _present(path for path, _ in entries) & entries


def _entries(folder: str) -> frozenset[Entry] | None:
    try:
        with os.scandir(folder) as found:
            return frozenset((entry.name, entry.inode()) for entry in found)
    except OSError:
        return None


def _upwards(folder: str) -> Iterable[str]:
    folder = os.path.abspath(folder)
    while True:
        yield folder
        if folder == (above := os.path.dirname(folder)):
            return
        folder = above
