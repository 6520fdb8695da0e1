"""MANIFEST.json: every file of a package with path, time, size, SHA-256 and source; every version and session.

Rows are written aside as they come, so that a package of any size needs little memory.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping

from nbguard.clock import iso
from nbguard.model import Version
from nbguard.package.contents import Member, Missing

FORMAT = 1
_CHUNK = 1 << 20


class Rows:
    """JSON objects, one a line, in a file of their own. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(fd, "w", encoding="ascii")

    def add(self, row: Mapping[str, object]) -> None:
        self._file.write(("," if self.count else "") + "\n  " + json.dumps(row, ensure_ascii=True))
        self.count += 1

    def chunks(self) -> Iterator[bytes]:
        """Everything so far, as the inside of a JSON array."""
        self.flush()
        with open(self.path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def flush(self) -> None:
        """What was added can be read at :attr:`path`."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def document(head: Mapping[str, object], rows: Mapping[str, Rows]) -> Iterator[bytes]:
    """The manifest: the head's fields, then an array for each kind of rows, a row a line."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    yield ("{\n" + ",\n".join(lines)).encode("ascii")
    for key, those in rows.items():
        yield f",\n {json.dumps(key)}: [".encode("ascii")
        yield from those.chunks()
        yield b"\n ]"
    yield b"\n}\n"


def member_row(member: Member) -> dict[str, object]:
    """One file of the package."""
    row: dict[str, object] = {
        "path": member.path,
        "time": iso(member.time),
        "size": member.size,
        "sha256": member.sha256,
        "source": member.source,
    }
    if member.original_path is not None:
        row.update(path_fields(member.original_path, "original_path"))
    return row


def version_row(version: Version, member: str | None, source: str) -> dict[str, object]:
    """One version; ``member`` is the file that holds its bytes (equal bytes are there once), None where none does."""
    row: dict[str, object] = {
        "id": version.id,
        "notebook": version.notebook,
        **path_fields(version.path),
        "saved_at": iso(version.saved_at),
        "bytes": version.size,
        "sha256": version.sha256,
        "cells": version.cells,
        "status": str(version.status),
        "trigger": str(version.trigger),
        "source": source,
        "member": member,
    }
    if version.renamed_from is not None:
        row.update(path_fields(version.renamed_from, "renamed_from"))
    if version.pinned:
        row["pinned"] = True
    return row


def missing_row(missing: Missing) -> dict[str, object]:
    """One thing that is not in the package, and why."""
    row: dict[str, object] = {"what": missing.what}
    if missing.path is not None:
        row.update(path_fields(missing.path))
    if missing.id is not None:
        row["id"] = missing.id
    if missing.time is not None:
        row["time"] = iso(missing.time)
    row["reason"] = readable(missing.reason)
    return row


def path_fields(path: str, key: str = "path") -> dict[str, str]:
    """An exact path; where it is not UTF-8, base64 of its bytes beside it (``path_b64``)."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raw = os.fsencode(path)
        return {key: raw.decode("utf-8", "replace"), f"{key}_b64": b64encode(raw).decode("ascii")}
    return {key: path}


def readable(text: str) -> str:
    """Text in which names that are not UTF-8 do not make the JSON unreadable to others."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text
