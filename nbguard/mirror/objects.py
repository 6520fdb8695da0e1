"""Small commits made without git: what a heartbeat is costs three files, and no process."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from nbguard.durable import unlink_quietly, write_all

_AUTHOR = b"nbguard <nbguard@localhost>"


@dataclass(frozen=True, slots=True)
class SmallCommit:
    """A commit that holds a few files: its id, and every object as (id, header and bytes)."""

    oid: str
    objects: tuple[tuple[str, bytes], ...]


def small_commit(files: Mapping[str, bytes], subject: str, at: datetime, parent: str | None = None) -> SmallCommit:
    """A commit with these files at its top. The same arguments give the same commit."""
    objects: list[tuple[str, bytes]] = []
    entries = b""
    for name in sorted(files):
        oid = _add(objects, b"blob", files[name])
        entries += b"100644 " + name.encode("ascii") + b"\0" + bytes.fromhex(oid)
    tree = _add(objects, b"tree", entries)
    stamp = b"%s %d +0000" % (_AUTHOR, int(at.timestamp()))
    lines = [b"tree " + tree.encode("ascii")]
    lines += [b"parent " + parent.encode("ascii")] if parent else []
    lines += [b"author " + stamp, b"committer " + stamp, b"", subject.encode("utf-8"), b""]
    return SmallCommit(_add(objects, b"commit", b"\n".join(lines)), tuple(objects))


def _add(objects: list[tuple[str, bytes]], kind: bytes, data: bytes) -> str:
    raw = b"%s %d\0%s" % (kind, len(data), data)
    oid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    objects.append((oid, raw))
    return oid


def write_objects(repository: str, commit: SmallCommit) -> None:
    """Put a commit into a scratch repository, as loose objects. Not durable. Raises OSError."""
    for oid, raw in commit.objects:
        folder = os.path.join(repository, "objects", oid[:2])
        path = os.path.join(folder, oid[2:])
        if os.path.exists(path):
            continue
        os.makedirs(folder, mode=0o700, exist_ok=True)
        temporary = os.path.join(folder, f"tmp_obj_{os.urandom(6).hex()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o400)
        try:
            try:
                write_all(fd, zlib.compress(raw, 1))
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            unlink_quietly(temporary)
            raise
