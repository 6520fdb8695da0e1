"""What stands where in a mirror: the branches of each installation, and what is in them. `there.py` reads them.

A mirror is a bare git repository for any number of installations. Each has a namespace of its own,
``refs/heads/hosts/<host>-<user>-<install id>/``, and writes nowhere else but its answers:

- ``main`` and ``records``: the archive's branches, only ever moved forwards;
- ``heartbeat``: one small commit, replaced by its owner alone; its tree holds ``heartbeat.json``;
- ``roll-call``: likewise, with ``roll-call.json``;
- ``answers/<who answers>``: likewise, with ``answers.json``, written there by another installation of the same people.

``refs/heads/nbguard-mirror`` says for people and programs that this is a mirror, and of which format.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import iso
from nbguard.errors import ArchiveTrouble

FORMAT = 1
HOSTS = "refs/heads/hosts/"
MARK = "refs/heads/nbguard-mirror"
MARK_FILE = "mirror.json"
HEARTBEAT_FILE = "heartbeat.json"
ROLL_CALL_FILE = "roll-call.json"
ANSWERS_FILE = "answers.json"
MOST_PROBLEMS = 50

_INSTALL = re.compile(r"[0-9a-z]{8,64}")
_MOST_HOST, _MOST_USER = 40, 24


class NewerMirror(ArchiveTrouble):
    """A mirror is of a format that this nbguard does not know: nothing is written there."""

    code = "mirror-newer"


def namespace_of(host: str, user: str, install: str) -> str:
    """``<host>-<user>-<install id>``, reduced to what git takes as a part of a branch's name. Raises ValueError."""
    identity = install.lower()
    if not _INSTALL.fullmatch(identity):
        raise ValueError(f"{install!r} is no install id")
    return f"{plain_name(host, _MOST_HOST) or 'host'}-{plain_name(user, _MOST_USER) or 'user'}-{identity}"


def plain_name(text: str, most: int = _MOST_HOST) -> str:
    """Text reduced to lower-case letters, digits, single dots, dashes and underscores; "" when nothing is left."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    return re.sub(r"\.{2,}", ".", plain).strip("._-")[:most].strip("._-")


@dataclass(frozen=True, slots=True)
class Namespace:
    """The branches of one installation, as whole names of refs."""

    name: str

    @property
    def main(self) -> str:
        return f"{HOSTS}{self.name}/main"

    @property
    def records(self) -> str:
        return f"{HOSTS}{self.name}/records"

    @property
    def heartbeat(self) -> str:
        return f"{HOSTS}{self.name}/heartbeat"

    @property
    def roll_call(self) -> str:
        return f"{HOSTS}{self.name}/roll-call"

    def answers_of(self, other: str) -> str:
        """Where the installation of namespace ``other`` puts what people answered there to this one."""
        return f"{HOSTS}{self.name}/answers/{other}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldProblem:
    """A problem as a mirror tells it: no message, no path; ``subject`` is a hash that keeps two of one code apart."""

    code: str
    since: datetime
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorHeartbeat:
    """The life sign of an installation. ``sequence`` grows with each; the next is due within ``every_seconds`` while
    the machine is awake and connected. ``at`` is when this one was made, ``beat_at`` when the daemon last beat;
    ``state`` (ok, degraded, stalled) and ``exit_code`` are those of the last check, which was at ``checked_at``."""

    install: str
    host: str
    user: str
    sequence: int
    boot: str
    at: datetime
    version: str
    every_seconds: float
    archive_format: int = 1
    beat_at: datetime | None = None
    state: str | None = None
    exit_code: int | None = None
    problems: tuple[ToldProblem, ...] = ()
    main: str | None = None
    records: str | None = None
    checked_at: datetime | None = None
    full_seconds: float | None = None


def heartbeat_text(beat: MirrorHeartbeat) -> bytes:
    """``heartbeat.json``, under 64 kB."""
    table = {
        "v": FORMAT,
        "install": beat.install,
        "host": beat.host,
        "user": beat.user,
        "seq": beat.sequence,
        "boot": beat.boot,
        "at": iso(beat.at),
        "every_seconds": beat.every_seconds,
        "beat_at": _time(beat.beat_at),
        "state": beat.state,
        "exit_code": beat.exit_code,
        "problems": [
            {"code": told.code, "subject_hash": told.subject, "since": iso(told.since)}
            for told in beat.problems[:MOST_PROBLEMS]
        ],
        "tips": {"main": beat.main, "records": beat.records},
        "version": beat.version,
        "format": beat.archive_format,
        "checked_at": _time(beat.checked_at),
        "full_seconds": beat.full_seconds,
    }
    return (json.dumps(table, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def mark_text() -> bytes:
    """``mirror.json``: what this is, and of which format."""
    return (json.dumps({"v": FORMAT, "is": "a mirror of nbguard archives"}) + "\n").encode("ascii")


def check_mark(data: bytes) -> None:
    """Raises NewerMirror when a mirror's mark is of a later format, ArchiveTrouble when it is none."""
    try:
        version = json.loads(data)["v"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ValueError("no format")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = f"{MARK} there was written by something else: use another repository"
        raise ArchiveTrouble("what stands in the place of a mirror's mark is none", hint=hint) from error
    if version > FORMAT:
        hint = "update nbguard; nothing was written there"
        raise NewerMirror(f"the mirror is of format {version}, this nbguard knows {FORMAT}", hint=hint)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
