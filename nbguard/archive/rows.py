"""Versions and heads as SQLite rows, and back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from nbguard.archive.trailers import Decision
from nbguard.model import DraftKind, Head, Moment, Signature, Status, Trigger, Version

SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (
  id TEXT PRIMARY KEY, notebook TEXT NOT NULL, path BLOB NOT NULL, ord BLOB NOT NULL, saved_at INTEGER NOT NULL,
  size INTEGER NOT NULL, sha256 TEXT, cells INTEGER, chars INTEGER, status TEXT NOT NULL, trigger TEXT NOT NULL,
  tip INTEGER NOT NULL, root BLOB NOT NULL, install TEXT NOT NULL, boot TEXT NOT NULL, previous TEXT,
  renamed_from BLOB, stat TEXT, commit_id TEXT, pinned INTEGER NOT NULL DEFAULT 0, accepted INTEGER NOT NULL DEFAULT 0,
  judged TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX versions_notebook ON versions (notebook, ord);
CREATE INDEX versions_path ON versions (path, ord);
CREATE INDEX versions_renamed ON versions (renamed_from, ord) WHERE renamed_from IS NOT NULL;
CREATE INDEX versions_fullest ON versions (notebook, chars, cells, saved_at, ord) WHERE status = 'ok';
CREATE INDEX versions_accepted ON versions (notebook, ord) WHERE accepted = 1;
CREATE INDEX versions_spooled ON versions (ord) WHERE commit_id IS NULL;
CREATE TABLE heads (
  path BLOB PRIMARY KEY, notebook TEXT NOT NULL, version TEXT NOT NULL, ord BLOB NOT NULL, sha256 TEXT,
  status TEXT NOT NULL, stat TEXT
) WITHOUT ROWID;
CREATE TABLE notebooks (
  notebook TEXT PRIMARY KEY, path BLOB NOT NULL, latest TEXT NOT NULL, ord BLOB NOT NULL, versions INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX notebooks_ord ON notebooks (ord);
CREATE TABLE decisions (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, about TEXT NOT NULL, ord BLOB NOT NULL, decided_at INTEGER NOT NULL,
  commit_id TEXT
) WITHOUT ROWID;
CREATE INDEX decisions_about ON decisions (about);
CREATE TABLE void (id TEXT PRIMARY KEY, ord BLOB NOT NULL) WITHOUT ROWID;
"""

COLUMNS = (
    "id, notebook, path, ord, saved_at, size, sha256, cells, chars, status, trigger, tip, root, install, boot,"
    " previous, renamed_from, stat, commit_id, pinned, accepted"
)
# ``status`` is what counts, ``judged`` what was said before a human accepted it.
INSERT = f"INSERT OR IGNORE INTO versions ({COLUMNS}, judged) VALUES ({', '.join('?' * 21)}, ?10)"
AS_ARCHIVED = COLUMNS.replace("status", "judged").removesuffix(", commit_id, pinned, accepted")
ARCHIVED = 18

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The reverse, in UTC."""
    return _EPOCH + timedelta(microseconds=number)


def row_of(version: Version) -> tuple[object, ...]:
    """In the order of COLUMNS."""
    return (
        version.id,
        version.notebook,
        os.fsencode(version.path),
        version.moment.sortable(),
        microseconds(version.saved_at),
        version.size,
        version.sha256,
        version.cells,
        version.source_chars,
        str(version.status),
        str(version.trigger),
        version.tip,
        os.fsencode(version.root),
        version.install,
        version.boot,
        version.previous,
        None if version.renamed_from is None else os.fsencode(version.renamed_from),
        stat_text(version.signature),
        version.commit,
        version.pinned,
        version.accepted,
    )


def version_of(row: tuple[Any, ...]) -> Version:
    """A row selected with COLUMNS."""
    (
        identity, notebook, path, order, saved_at, size, sha256, cells, chars, status, trigger, tip, root, install,
        boot, previous, renamed_from, stat, commit, pinned, accepted,
    ) = row  # fmt: skip
    return Version(
        id=identity,
        notebook=notebook,
        path=os.fsdecode(path),
        moment=Moment.from_sortable(order),
        saved_at=from_microseconds(saved_at),
        size=size,
        sha256=sha256,
        cells=cells,
        source_chars=chars,
        status=Status(status),
        trigger=Trigger(trigger),
        tip=bool(tip),
        root=os.fsdecode(root),
        install=install,
        boot=boot,
        previous=previous,
        renamed_from=None if renamed_from is None else os.fsdecode(renamed_from),
        signature=signature_of(stat),
        commit=commit,
        pinned=bool(pinned),
        accepted=bool(accepted),
    )


def head_of(row: tuple[bytes, str, str, bytes, str | None, str, str | None]) -> Head:
    """A row of heads."""
    path, notebook, version, order, sha256, status, stat = row
    signature = signature_of(stat)
    return Head(
        path=os.fsdecode(path),
        notebook=notebook,
        version=version,
        sha256=sha256,
        signature=signature,
        moment=Moment.from_sortable(order),
        status=Status(status),
        parent_device=signature.device if signature else None,
    )


def stat_text(signature: Signature | None) -> str | None:
    """A signature as five numbers with spaces between."""
    if signature is None:
        return None
    return f"{signature.device} {signature.inode} {signature.size} {signature.mtime_ns} {signature.ctime_ns}"


def signature_of(text: str | None) -> Signature | None:
    """The reverse."""
    return Signature(*map(int, text.split())) if text else None


def decision_of_row(row: tuple[str, str, str, bytes, int, str | None]) -> Decision:
    """A row of decisions."""
    identity, kind, about, order, decided_at, commit = row
    return Decision(
        id=identity,
        kind=DraftKind(kind),
        about=about,
        moment=Moment.from_sortable(order),
        decided_at=from_microseconds(decided_at),
        commit=commit,
    )
