"""When a vanished archive is made anew, and what is remembered of having done so. Whether it lies on a disk that is
only not mounted is told from where it was mounted while all was well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from nbguard.clock import from_iso, iso
from nbguard.durable import replace_durably

TOLD_FOR = timedelta(days=7)
_MOST_NAMED = 20
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """What is seen of an archive that is not there: for how long (seconds), whether the folder above it is there, and
    the mount point which that lies on now, and lay on while all was well (None: nobody knows)."""

    seconds: float
    is_folder_there: bool
    mount: str
    mount_before: str | None


def is_vanished(away: Away, *, grace_seconds: float) -> bool:
    """Whether it is gone, and not only out of reach or just being moved."""
    is_same_disk = away.mount_before is None or away.mount_before == away.mount
    return away.is_folder_there and is_same_disk and away.seconds >= grace_seconds


def pause_seconds(failures: int) -> float:
    """How long to wait after so many attempts that failed."""
    return float(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltNote:
    """An archive that was made anew: when, from what, what was wrong, where the broken one lies, how many versions came
    back through the spool, and which nobody has (path and time of each)."""

    at: datetime
    source: str
    reason: str
    aside: str | None
    back: int
    lost: int
    named: tuple[str, ...] = ()


def words(note: RebuiltNote) -> tuple[str, str]:
    """Message and hint."""
    came_back = f"; {_versions(note.back)} that it lacked came back through the spool" if note.back else ""
    message = f"the archive {note.reason} and was made anew from {note.source}{came_back}"
    hint = f"the broken one is kept: {note.aside}" if note.aside else "find out what removed it"
    if note.lost:
        named = ", ".join(note.named) + (" …" if note.lost > len(note.named) else "")
        message += f"; {_versions(note.lost)} could not be brought back: {named}"
        hint += "; for these: nbguard rescue NOTEBOOK, which also looks where nbguard keeps nothing"
    return message, hint


def write_note(path: str, note: RebuiltNote) -> None:
    """Remember it, durably. Raises OSError."""
    fields = {
        "v": 1,
        "at": iso(note.at),
        "source": note.source,
        "reason": note.reason,
        "aside": note.aside,
        "back": note.back,
        "lost": note.lost,
        "named": list(note.named[:_MOST_NAMED]),
    }
    replace_durably(path, (json.dumps(fields, indent=1) + "\n").encode("ascii"))


def read_note(path: str, now: datetime) -> RebuiltNote | None:
    """What is remembered, and not yet too long ago to be told."""
    try:
        with open(path, encoding="ascii") as file:
            found = json.loads(file.read(1_000_000))
        note = RebuiltNote(
            at=from_iso(str(found["at"])),
            source=str(found["source"]),
            reason=str(found["reason"]),
            aside=found["aside"],
            back=int(found["back"]),
            lost=int(found["lost"]),
            named=tuple(str(one) for one in found["named"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return note if abs(now - note.at) < TOLD_FOR else None


def _versions(count: int) -> str:
    return "1 version" if count == 1 else f"{count} versions"
