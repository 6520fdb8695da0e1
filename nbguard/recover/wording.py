"""How recover words names and times in messages: one line each, safe to read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo

from nbguard.model import Status, Version


def shown(path: str) -> str:
    """A path on one line: as it is when printable, else quoted with escapes."""
    return path if path.isprintable() and path else ascii(path)


def local(instant: datetime, zone: tzinfo) -> str:
    """A time as people read it, to the second, with its offset: ``2026-11-21 09:30:00 +01:00``. WHEN reads it back."""
    wall = instant.astimezone(zone)
    offset = wall.strftime("%z") or "+0000"
    return f"{wall:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def named(version: Version, zone: tzinfo) -> str:
    """A version in a few words: the beginning of its id, its time, and its status when it is not ok."""
    status = "" if version.status is Status.OK else f" ({version.status})"
    return f"{version.id[:8]} of {local(version.saved_at, zone)}{status}"


def listed(lines: Iterable[str], *, most: int = 10) -> str:
    """Lines below each other, cut after ``most``."""
    given = list(lines)
    rest = len(given) - most
    return "\n".join(given[:most] + ([f"… and {rest} more"] if rest > 0 else []))
