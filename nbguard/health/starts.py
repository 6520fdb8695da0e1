"""How often the daemon began without having ended well: a service manager that restarts it for ever hides that."""

from __future__ import annotations

from nbguard.durable import read_plain, replace_durably

CALM_SECONDS = 3600.0
MOST_STARTS = 5
_REMEMBERED = 50


def count_start(path: str, *, now: float, ended_well: bool) -> int:
    """Note a start at ``now`` (seconds since 1970); how many in the last hour came after an end that was not meant.

    ``path`` holds a line for each start. What cannot be read or written counts for nothing.
    """
    starts = _read(path)
    starts.append((now, ended_well))
    lines = "".join(f"{at:.0f} {'well' if well else 'badly'}\n" for at, well in starts[-_REMEMBERED:])
    try:
        replace_durably(path, lines.encode("ascii"))
    except OSError:
        pass  # a disk that takes nothing has its own problem
    return _unmeant(starts, now)


def bad_starts(path: str, *, now: float) -> int:
    """How many starts of the last hour came after an end that was not meant, for whoever only looks."""
    return _unmeant(_read(path), now)


def _unmeant(starts: list[tuple[float, bool]], now: float) -> int:
    return sum(1 for at, well in starts if not well and 0 <= now - at <= CALM_SECONDS)


def _read(path: str) -> list[tuple[float, bool]]:
    try:
        lines = read_plain(path, 10_000).decode("ascii").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        at, _, how = line.partition(" ")
        if at.isdecimal() and how in ("well", "badly"):
            found.append((float(at), how == "well"))
    return found
