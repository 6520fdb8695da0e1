"""The note that a daemon leaves in the emergency place when HOME was wiped: `nbguard status` finds it afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import from_iso, iso
from nbguard.durable import replace_durably
from nbguard.places import is_private

NAME = "home-was-wiped.json"
_FORMAT = 1
_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WipedNote:
    """``folder`` is the emergency place. ``package`` is the recovery package's path; empty while there is none, and
    ``trouble`` then says why. ``at`` is when the wipe was seen (UTC)."""

    folder: str
    home: str
    at: datetime
    package: str = ""
    written_at: datetime | None = None
    trouble: str = ""


def write_note(note: WipedNote) -> None:
    """Put it in place in one step. Raises OSError."""
    fields = {
        "v": _FORMAT,
        "home": note.home,
        "at": iso(note.at),
        "package": os.path.basename(note.package),
        "written_at": None if note.written_at is None else iso(note.written_at),
        "trouble": note.trouble,
    }
    replace_durably(os.path.join(note.folder, NAME), (json.dumps(fields, indent=1) + "\n").encode("ascii"))


def read_note(folder: str) -> WipedNote | None:
    """The note in an emergency place of ours; None when there is none, it cannot be read, or the place is not ours."""
    if not is_private(folder):
        return None
    try:
        fd = os.open(os.path.join(folder, NAME), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            fields = json.loads(file.read(_MOST_BYTES))
        package, written_at = str(fields["package"]), fields["written_at"]
        return WipedNote(
            folder=folder,
            home=str(fields["home"]),
            at=from_iso(str(fields["at"])),
            package=os.path.join(folder, os.path.basename(package)) if package else "",
            written_at=None if written_at is None else from_iso(str(written_at)),
            trouble=str(fields["trouble"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def find_notes(base: str, user: int, further: Iterable[str] = ()) -> list[WipedNote]:
    """The notes in ``base``/nbguard-USER-*, and in ``further`` folders, the latest wipe first."""
    try:
        names = [name for name in os.listdir(base) if name.startswith(f"nbguard-{user}-")]
    except OSError:
        names = []
    folders = dict.fromkeys((*further, *(os.path.join(base, name) for name in sorted(names))))
    found = [note for folder in folders if folder and (note := read_note(folder)) is not None]
    return sorted(found, key=lambda note: note.at, reverse=True)
