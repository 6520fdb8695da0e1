"""The journal of restores in place: JSON lines, written durably before the restore; what `undo` reads."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import from_iso, iso
from nbguard.durable import fsync_folder, make_private_folder, write_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """One restore in place. ``before`` is the version that was there; None where nothing was."""

    id: str
    at: datetime
    path: str
    trusted: str
    version: str
    sha256: str
    before: str | None
    before_sha256: str | None


class Journal:
    """Append-only; a line cut short by a crash is skipped when reading."""

    def __init__(self, path: str) -> None:
        self._path = path

    def begin(
        self,
        *,
        at: datetime,
        path: str,
        trusted: str,
        version: str,
        sha256: str,
        before: str | None,
        before_sha256: str | None,
    ) -> Restored:
        """Write down, durably, that ``path`` is about to be replaced. Raises OSError."""
        entry = Restored(
            id=os.urandom(8).hex(),
            at=at,
            path=path,
            trusted=trusted,
            version=version,
            sha256=sha256,
            before=before,
            before_sha256=before_sha256,
        )
        self._append(
            {
                "v": 1,
                "restore": entry.id,
                "at": iso(at),
                "path_b64": _pack(path),
                "trusted_b64": _pack(trusted),
                "version": version,
                "sha256": sha256,
                "before": before,
                "before_sha256": before_sha256,
            }
        )
        return entry

    def undone(self, entry: Restored, at: datetime) -> None:
        """Write down that a restore was reversed. Raises OSError."""
        self._append({"v": 1, "undone": entry.id, "at": iso(at)})

    def last(self) -> tuple[Restored, bool] | None:
        """The last restore in place and whether it was undone; None when there never was one."""
        last: Restored | None = None
        undone = False
        for line in self._lines():
            entry = _entry(line)
            if entry is not None:
                last, undone = entry, False
            elif last is not None and line.get("undone") == last.id:
                undone = True
        return None if last is None else (last, undone)

    def _lines(self) -> list[dict[str, object]]:
        try:
            with open(self._path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return []
        lines = []
        for text in raw.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
        return lines

    def _append(self, line: dict[str, object]) -> None:
        folder = os.path.dirname(self._path)
        make_private_folder(folder)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            write_all(fd, (b"\n" if torn else b"") + json.dumps(line).encode("ascii") + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        if size == 0:
            fsync_folder(folder)


def _pack(path: str) -> str:
    return b64encode(os.fsencode(path)).decode("ascii")


def _unpack(text: object) -> str:
    return os.fsdecode(b64decode(str(text)))


def _entry(line: dict[str, object]) -> Restored | None:
    if "restore" not in line:
        return None
    try:
        return Restored(
            id=str(line["restore"]),
            at=from_iso(str(line["at"])),
            path=_unpack(line["path_b64"]),
            trusted=_unpack(line["trusted_b64"]),
            version=str(line["version"]),
            sha256=str(line["sha256"]),
            before=_optional(line["before"]),
            before_sha256=_optional(line["before_sha256"]),
        )
    except (KeyError, ValueError):
        return None


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
