"""Notices that need no transport: a line in `state/notice`, and the notes that the alert unit leaves outside HOME.

Readers are a shell's prompt, IPython, `status` and the daemon; what they read may be anybody's bytes by then.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from nbguard.durable import replace_durably, unlink_quietly
from nbguard.model import Problem
from nbguard.places import is_private

LONGEST_LINE = 200
_MOST_BYTES = 4_000
_NOTE = re.compile(r"ALERT-(nbguard[a-z-]*\.service)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedUnit:
    """A unit of ours that its manager gave up on, as the alert unit noted it: ``reason`` is the manager's (exit-code,
    timeout, …), ``at`` since when (UTC), ``path`` the note itself."""

    unit: str
    reason: str
    at: datetime
    path: str


def write_notice(path: str, text: str) -> None:
    """Let surfaces show the first line of ``text``; an empty text takes the notice away. Raises OSError.

    Written only when it differs. Control characters become question marks: a prompt prints it.
    """
    if not text.strip():
        unlink_quietly(path)
        return
    lines = [_plain(line) for line in text.strip().splitlines()]
    data = ("\n".join([lines[0][:LONGEST_LINE], *lines[1:]]) + "\n").encode("utf-8", "replace")
    if _read(path) != data:
        replace_durably(path, data)


def read_notice(path: str) -> str:
    """The line that surfaces show; empty when there is none, or it cannot be read."""
    lines = _read(path).decode("utf-8", "replace").splitlines()
    return _plain(lines[0])[:LONGEST_LINE] if lines else ""


def failed_units(*folders: str) -> tuple[FailedUnit, ...]:
    """What the alert unit noted in the emergency place (and in its last resort), the latest failure first.

    A note goes when its unit has run well again. Folders that are not ours alone are passed over.
    """
    found = []
    for folder in folders:
        try:
            names = os.listdir(folder) if folder and is_private(folder) else []
        except OSError:
            continue
        for name in names:
            if (named := _NOTE.fullmatch(name)) is not None:
                path = os.path.join(folder, name)
                try:
                    at = datetime.fromtimestamp(os.lstat(path).st_mtime, UTC)
                except (OSError, ValueError, OverflowError):
                    continue
                found.append(FailedUnit(unit=named[1], reason=read_notice(path), at=at, path=path))
    return tuple(sorted(found, key=lambda failed: failed.at, reverse=True))


def as_problem(failed: FailedUnit) -> Problem:
    """The problem that a failed unit is, for whoever is still alive to tell it."""
    return Problem(
        code="unit-failed",
        message=f"{failed.unit} failed: {failed.reason or 'its manager did not say why'}",
        hint="nbguard service status; nbguard service logs; nbguard service install puts it right again",
        since=failed.at,
        subject=failed.unit,
    )


def _plain(line: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return os.read(fd, _MOST_BYTES)
        finally:
            os.close(fd)
    except OSError:
        return b""
