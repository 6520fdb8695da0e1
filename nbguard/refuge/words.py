"""What a wiped home is told of, by the daemon and by `nbguard status` afterwards."""

from __future__ import annotations

from nbguard.model import Problem
from nbguard.refuge.notes import WipedNote


def words(note: WipedNote) -> Problem:
    """The note as a problem; its subject is the folder that has everything."""
    message = f"{note.home} was wiped at {note.at:%Y-%m-%d %H:%M:%S} UTC; "
    if note.package:
        message += f"everything that was kept is in the package {note.package}"
        hint = "unpack it and open READ-ME-FIRST.txt; once you have all back, remove the folder it lies in"
    else:
        message += f"everything that was kept is in {note.folder}"
        hint = f"`NBGUARD_HOME={note.folder} nbguard list` reads it"
    if note.trouble:
        message += f" (the package could not be made: {note.trouble})"
    return Problem(code="home-wiped", message=message, hint=hint, since=note.at, subject=note.folder)
