"""Where IPython keeps its history databases: in the profiles of its folders, under names of its own choosing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

_PROFILE = "profile_"
_MOST_PROFILES = 200
_MOST_IN_ONE = 200
LIVE = "history.sqlite"


def ipython_folders(environment: Mapping[str, str], home: str) -> list[str]:
    """Folders that may hold profiles, by IPython's own rules; whether they exist or not."""
    config = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    chosen = environment.get("IPYTHONDIR") or environment.get("IPYTHON_DIR")
    folders = [os.path.expanduser(chosen)] if chosen else []
    folders += [os.path.join(home, ".ipython"), os.path.join(config, "ipython")]
    return list(dict.fromkeys(os.path.abspath(folder) for folder in folders))


def profiles_in(folder: str) -> list[str]:
    """The profile folders in an IPython folder; none where it cannot be read."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(_PROFILE))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names[:_MOST_PROFILES]]


def left_in(profile: str) -> list[str]:
    """Databases in a profile that IPython put aside and writes no more: corrupt ones, and those from before a trim."""
    try:
        names = sorted(name for name in os.listdir(profile) if name != LIVE and is_put_aside(name))
    except OSError:
        return []
    return [os.path.join(profile, name) for name in names[:_MOST_IN_ONE]]


def is_put_aside(name: str) -> bool:
    """``history-corrupt.sqlite``, ``history-corrupt-TIME.sqlite``, ``history.sqlite.old.1``."""
    return (name.startswith("history-corrupt") and name.endswith(".sqlite")) or name.startswith(f"{LIVE}.old.")


def stamps_of(folders: Sequence[str]) -> tuple[int, ...]:
    """The times of some folders: equal ones mean that nothing came or went (0: it is not there)."""
    found = []
    for folder in folders:
        try:
            found.append(os.stat(folder).st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)
