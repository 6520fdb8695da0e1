"""What was measured on: the machine, and the versions of everything that was compared."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import zlib
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec

from nbguard import __version__


def facts(work: str) -> dict[str, str]:
    """For the report; ``work`` is the folder the files lay in."""
    found = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "nbguard": f"{__version__} ({_commit() or 'no checkout'})",
        "processor": f"{_after('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "memory": _after("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(work),
        "Python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
    for name, arguments in (("git", ["version"]), ("restic", ["version"]), ("borg", ["--version"])):
        found[name] = _version([name, *arguments])
    found["pygit2"] = _pygit2()
    return found


def has(command: str) -> bool:
    """Whether a peer is installed."""
    return shutil.which(command) is not None


def has_pygit2() -> bool:
    """Whether libgit2 can be compared."""
    return find_spec("pygit2") is not None


def _version(command: list[str]) -> str:
    if not has(command[0]):
        return "not installed"
    words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return next((word for word in words if word[:1].isdigit()), "?")


def _pygit2() -> str:
    if not has_pygit2():
        return "not installed"
    import pygit2

    return f"{version('pygit2')} (libgit2 {pygit2.LIBGIT2_VERSION})"


def _commit() -> str:
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = ["git", "-C", here, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _after(path: str, key: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(key)), "")
    except OSError:
        return ""


def _file_system(path: str) -> str:
    command = ["stat", "--file-system", "--format=%T", path]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "?"
