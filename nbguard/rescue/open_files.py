"""Files that were deleted while a program has them open: their bytes are still there, as long as it runs.

Linux shows them in /proc/PID/fd; only processes of this user can be looked into, and with NBGUARD_HOME only those whose
HOME is ours.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.names import is_notebook_name, notebook_of_leftover
from nbguard.rescue.database_copy import copy_of
from nbguard.rescue.findings import Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.history import Understand, is_wanted, read_rows, session_findings
from nbguard.rescue.matching import fit
from nbguard.rescue.reading import MOST_BYTES, bytes_finding, reason, written_at

_DELETED = " (deleted)"
_MOST_ENVIRONMENT_BYTES = 1 << 22
_COMPANIONS = ("-journal", "-wal")


@dataclass(frozen=True, slots=True)
class _Held:
    """One deleted file: what it was called, the entry that leads to it, and what stat says."""

    path: str
    entry: str
    status: os.stat_result


@dataclass(slots=True)
class _Holding:
    notebooks: list[_Held] = field(default_factory=list)
    databases: list[_Held] = field(default_factory=list)
    companions: dict[str, _Held] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """``proc`` is where the system shows processes; ``only_home`` limits them to those with that HOME."""

    proc: str
    user: int
    only_home: str | None
    understand: Understand

    @property
    def name(self) -> SourceName:
        return SourceName.OPEN_FILE

    def look(self, wanted: Wanted) -> Look:
        """Deleted notebooks that fit, and every session of deleted history databases."""
        if not os.path.isdir(os.path.join(self.proc, "self", "fd")):
            return Look((), (Unavailable(self.name, f"this system has no {self.proc} that shows open files"),))
        holding = self._holding()
        found: list[Finding] = []
        unavailable: list[Unavailable] = []
        for held in holding.notebooks:
            try:
                found += self._notebook(held, wanted)
            except OSError as error:
                unavailable.append(Unavailable(self.name, f"{held.path} (deleted): {reason(error)}"))
        for held in holding.databases:
            try:
                found += [each for each in self._sessions(held, holding) if is_wanted(wanted, each)]
            except OSError as error:
                unavailable.append(Unavailable(self.name, f"{held.path} (deleted): {reason(error)}"))
        return Look(tuple(found), tuple(unavailable))

    def _holding(self) -> _Holding:
        holding = _Holding()
        seen: set[tuple[int, int]] = set()
        for entry in self._entries():
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            path = target.removesuffix(_DELETED)
            name = os.path.basename(path)
            is_database = name.startswith("history") and ".sqlite" in name
            if path == target or not (is_database or _notebook_of(path)):
                continue
            try:
                status = os.stat(entry)
            except OSError:
                continue
            key = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink or key in seen:
                continue
            seen.add(key)
            held = _Held(path, entry, status)
            if not is_database:
                holding.notebooks.append(held)
            elif path.endswith(_COMPANIONS):
                holding.companions.setdefault(path, held)
            else:
                holding.databases.append(held)
        return holding

    def _entries(self) -> Iterator[str]:
        for process in sorted(os.listdir(self.proc)):
            folder = os.path.join(self.proc, process)
            try:
                if not process.isdigit() or os.stat(folder).st_uid != self.user or not self._is_of_home(folder):
                    continue
                names = os.listdir(os.path.join(folder, "fd"))
            except OSError:
                continue  # gone meanwhile, or one that keeps everybody out (ssh-agent does)
            for name in names:
                yield os.path.join(folder, "fd", name)

    def _is_of_home(self, folder: str) -> bool:
        if self.only_home is None:
            return True
        with open(os.path.join(folder, "environ"), "rb") as file:
            environment = file.read(_MOST_ENVIRONMENT_BYTES).split(b"\0")
        homes = [os.fsdecode(entry[5:]) for entry in environment if entry.startswith(b"HOME=")]
        return any(os.path.normpath(home) == os.path.normpath(self.only_home) for home in homes)

    def _notebook(self, held: _Held, wanted: Wanted) -> Iterator[Finding]:
        notebook = _notebook_of(held.path)
        confidence = fit(wanted, notebook) if notebook else None
        if notebook is None or confidence is None or not held.status.st_size:
            return
        if held.status.st_size > MOST_BYTES:
            raise OSError(27, "too large", held.entry)
        with open(_open_held(held), "rb") as file:
            data = file.read(MOST_BYTES)
        # Read at once: it is gone with the program that holds it.
        note = f"deleted, held open by process {held.entry.split(os.sep)[-3]}"
        yield bytes_finding(
            self.name,
            held.path,
            notebook,
            confidence,
            data=data,
            time=written_at(held.status),
            id=str(held.status.st_ino),
            note=note,
        )

    def _sessions(self, held: _Held, holding: _Holding) -> list[Finding]:
        def opener(ending: str) -> int:
            wanted = held if not ending else holding.companions.get(held.path + ending)
            if wanted is None:
                raise FileNotFoundError(held.path + ending)
            return _open_held(wanted)

        with copy_of(opener) as copy:
            rows = read_rows(copy)
        identity = (held.status.st_dev, held.status.st_ino)
        written: datetime | None = written_at(held.status)
        return session_findings(self.name, held.path, rows, self.understand(identity, rows.sessions), written)


def _open_held(held: _Held) -> int:
    """Open the very file that was looked at. Raises OSError."""
    fd = os.open(held.entry, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) != (held.status.st_dev, held.status.st_ino):
        os.close(fd)
        raise FileNotFoundError(2, "closed meanwhile", held.path)
    return fd


def _notebook_of(path: str) -> str | None:
    folder, name = os.path.split(path)
    if name.endswith("-checkpoint.ipynb"):
        return os.path.join(os.path.dirname(folder), name[: -len("-checkpoint.ipynb")] + ".ipynb")
    if is_notebook_name(name):
        return path
    leftover = notebook_of_leftover(name)
    return os.path.join(folder, leftover) if leftover is not None else None
