"""How `rescue` speaks to somebody in distress: what is there, how old, how full, and what to type next."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from nbguard.cli.output import one_line, print_line, say, size, table
from nbguard.executed import Confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbguard.app_rescue import Rescued
    from nbguard.rescue.findings import Finding
    from nbguard.rescue.result import Written

_MOST_ROWS = 40
_MOST_PRESENT = 5
_MEANING = {
    "archive": "kept by nbguard",
    "spool": "kept by nbguard",
    "mirror": "copy of the archive",
    "checkpoint": "Jupyter's checkpoint",
    "pre-save": "copy made before a save",
    "trash": "trash",
    "history": "IPython history",
    "open-file": "deleted, still open in a program",
    "kernel": "memory of a running kernel",
    "recorder": "recorded while it ran",
    "ystore": "real-time collaboration",
    "vscode": "VS Code local history",
    "jupyter-checkpoints": "jupyter-checkpoints",
    "git": "git",
    "temp": "temporary folder",
}


def listing(name: str | None, rescued: Rescued, written: Written | None, now: datetime) -> None:
    """Everything on the terminal, in plain words."""
    found = rescued.gathered.found
    for path in rescued.present[:_MOST_PRESENT]:
        say(f"still there: {one_line(path)}")
    if len(rescued.present) > _MOST_PRESENT:
        say(f"… and {len(rescued.present) - _MOST_PRESENT} more of that name")
    sure = [each for each in found if each.confidence is not Confidence.UNKNOWN]
    unlinked = len(found) - len(sure)
    if sure:
        rows = [_row(number, each, written, now) for number, each in enumerate(found) if each in sure[:_MOST_ROWS]]
        head = ("how old", "cells", "size", "sure?", "what it is", "where")
        sys.stdout.write("\n".join(table([head, *rows], right=" rr")) + "\n")
    if len(sure) > _MOST_ROWS:
        print_line(f"… and {len(sure) - _MOST_ROWS} older ones (--json lists them all)")
    if unlinked:
        where = "in unlinked/" if written else "-o DIR writes them under DIR/unlinked/"
        sessions = f"{unlinked} session{'' if unlinked == 1 else 's'} of executed cells"
        print_line(f"{sessions} could not be linked to a notebook; {where}")
    _advise(name, found, written)


def _row(number: int, finding: Finding, written: Written | None, now: datetime) -> tuple[str, ...]:
    what = _MEANING[finding.source] + (f" ({finding.note})" if finding.note else "")
    where = (written.places.get(number) if written else None) or finding.path
    return (
        age(finding.time, now),
        "?" if finding.cells is None else str(finding.cells),
        size(finding.size),
        str(finding.confidence),
        what,
        where,
    )


def _advise(name: str | None, found: Sequence[Finding], written: Written | None) -> None:
    from shlex import quote

    if written is not None:
        for lost in written.lost:
            say(f"could not be read any more: {lost}")
        if written.notebook:
            print_line(f"rebuilt notebook: {written.notebook}")
        if written.log:
            print_line(f"every executed cell, in order: {written.log}")
        if written.failing is not None:
            say(f"executed from the top, {len(written.failing) or 'none'} of its cells fail")
            for number, why in written.failing:
                say(f"  cell {number}: {why}")
        for note in written.notes:
            say(note)
    elif found:
        say(f"to have it all written, and the notebook rebuilt: nbguard rescue {quote(name or 'NOTEBOOK')} -o rescued")
    say("keep the browser tab open and the kernel running, and save nothing, until you have what you need:")
    say("what they hold may be nowhere else")


def age(time: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: ``3 hours ago``."""
    if time is None:
        return "?"
    seconds = (now - time).total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
