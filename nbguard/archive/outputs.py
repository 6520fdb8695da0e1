"""Recorded outputs: a file of JSON lines for each day (UTC), appended durably, pruned by age and size, never packed."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from nbguard.archive.appending import append_durably, check_room, is_ours
from nbguard.archive.spool import Reserve
from nbguard.clock import Clock, iso
from nbguard.durable import fsync_folder, make_private_folder, unlink_quietly
from nbguard.errors import Refused, StorageTrouble, storage_trouble
from nbguard.executed import RunOutputs
from nbguard.ports import Outside

FORMAT = 1
_ODD_CLOCK = timedelta(hours=1)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})-[0-9]+-[0-9a-f]{16}\.jsonl")
_HEAD = re.compile(rb'\{"v":1,"run":"([0-9A-Za-z._:-]+)",')


@dataclass(frozen=True, slots=True)
class DayFile:
    """One file of recorded outputs: its day, where it lies, and its bytes."""

    day: date
    path: str
    size: int

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepOutputs:
    """How long, and how much, recorded outputs are kept."""

    days: float = 90.0
    bytes: int = 2_000_000_000


def choose_pruned(files: Sequence[DayFile], policy: KeepOutputs, today: date) -> list[DayFile]:
    """Which files go: those of days too long ago, then the oldest days until the rest is small enough.

    Today's stay, whatever their size: they are being written.
    """
    ordered = sorted(files, key=lambda file: (file.day, file.name))
    left = sum(file.size for file in ordered)
    gone = []
    for file in ordered:
        is_old = (today - file.day) > timedelta(days=policy.days)
        if file.day < today and (is_old or left > policy.bytes):
            gone.append(file)
            left -= file.size
    return gone


class RecordedOutputs:
    """The recorded outputs of this installation: ``folder``, and ``emergency`` where they spill.

    Put from any thread; each process appends to files of its own.
    """

    def __init__(
        self,
        folder: str,
        *,
        clock: Clock,
        emergency: str | None = None,
        policy: KeepOutputs | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._policy = policy or KeepOutputs()
        self._reserve = reserve or Reserve()
        self._lock = threading.Lock()
        self._folders = [folder]
        self.outside: Outside | None = None
        if emergency is not None:
            self.spill_to(emergency)
        self._open: _OpenDay | None = None
        self._where: dict[str, tuple[str, int]] = {}
        self._read: dict[str, int] = {}

    def spill_to(self, emergency: str) -> None:
        """Spill there from now on."""
        self._folders = [self.folder, os.path.join(emergency, "spool", "recorded")]

    def make(self) -> None:
        """Create the folder (0700). Raises StorageTrouble."""
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise storage_trouble(error, "cannot make the folder for recorded outputs") from error

    def put(self, outputs: Sequence[RunOutputs]) -> None:
        """Keep outputs; durable when it returns. Raises StorageTrouble (then none of them counts)."""
        if not outputs:
            return
        data = b"".join(_line(one) for one in outputs)
        first: StorageTrouble | None = None
        with self._lock:
            for folder in self._folders:
                try:
                    self._put_in(folder, data)
                except StorageTrouble as trouble:
                    first = first or trouble
                except Refused:  # somebody else made the emergency place: as good as none
                    continue
                else:
                    return
        assert first is not None
        raise first

    def get(self, run: str, since: datetime | None = None) -> str | None:
        """The JSON text of a run's list of outputs; None when there is none, or it was pruned. Raises StorageTrouble.

        Of two under one id the one that was kept last counts. With ``since``, when the run began, only files of that
        day and later are read, one day after the other until it is found (a run that is told of twice is told of at
        once).
        """
        with self._lock:
            try:
                self._look(run, since)
                path, offset = self._where.get(run, ("", 0))
                return _outputs_in(path, offset) if path else None
            except FileNotFoundError:
                return None  # pruned since
            except OSError as error:
                raise storage_trouble(error, "cannot read recorded outputs") from error

    def prune(self) -> list[DayFile]:
        """Remove what is too old, or too much; returns what went. Raises StorageTrouble."""
        today = self._clock.now().astimezone(UTC).date()
        try:
            gone = choose_pruned(self.files(), self._policy, today)
            for file in gone:
                unlink_quietly(file.path)
        except OSError as error:
            raise storage_trouble(error, "cannot prune recorded outputs") from error
        with self._lock:
            paths = {file.path for file in gone}
            self._where = {run: at for run, at in self._where.items() if at[0] not in paths}
            for path in paths:
                self._read.pop(path, None)
        return gone

    def files(self) -> list[DayFile]:
        """Every file of recorded outputs, the oldest first. Raises OSError."""
        found = []
        for folder in self._folders:
            if folder != self.folder and not is_ours(folder):
                continue
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        day = _day_of(entry.name)
                        if day is not None and entry.is_file(follow_symlinks=False):
                            try:
                                size = entry.stat(follow_symlinks=False).st_size
                            except FileNotFoundError:
                                continue
                            found.append(DayFile(day, entry.path, size))
            except FileNotFoundError:
                continue
        return sorted(found, key=lambda file: (file.name, file.path))

    def _put_in(self, folder: str, data: bytes) -> None:
        today = self._clock.now().astimezone(UTC).date()
        try:
            check_room(folder, len(data), self._reserve, is_emergency=folder != self.folder, what="recorded outputs")
        except OSError as error:
            raise storage_trouble(error, "cannot keep recorded outputs") from error
        if self._open is not None and not self._open.is_fit(folder, today):
            self._close()
        try:
            if self._open is None:
                self._open = _OpenDay(folder, today)
                if self.outside is not None:
                    self.outside.hold(self._open.path)
            self._open.append(data)
        except OSError as error:
            self._close()  # never written again: a line after a torn one would be lost with it
            raise storage_trouble(error, "cannot keep recorded outputs") from error

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _look(self, run: str, since: datetime | None) -> None:
        """Learn where the outputs of each run lie, from what was written since the last look."""
        first = None if since is None else (since.astimezone(UTC) - _ODD_CLOCK).date()
        found: date | None = None
        for file in self.files():
            if first is not None and file.day < first:
                continue
            if first is not None and found is not None and file.day > found + timedelta(days=1):
                break
            start = self._read.get(file.path, 0)
            if file.size > start:
                with open(file.path, "rb") as opened:
                    opened.seek(start)
                    for line in opened:
                        if line.endswith(b"\n"):
                            if head := _HEAD.match(line):
                                self._where[head[1].decode("ascii")] = (file.path, start)
                            start += len(line)
                self._read[file.path] = start
            if found is None and self._where.get(run, ("", 0))[0] == file.path:
                found = file.day


class _OpenDay:
    """One file being written by this process."""

    def __init__(self, folder: str, day: date) -> None:
        self._folder = folder
        self._day = day
        self._size = 0
        self.path = os.path.join(folder, f"{day.isoformat()}-{os.getpid()}-{os.urandom(8).hex()}.jsonl")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, 0o600)
        try:
            fsync_folder(folder)
        except BaseException:
            self.close()
            raise

    def is_fit(self, folder: str, day: date) -> bool:
        """Whether more of that day may be appended: the file is still where it was, and in that folder."""
        try:
            there, here = os.lstat(self.path), os.fstat(self._fd)
        except OSError:
            return False
        same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        return same and folder == self._folder and day == self._day

    def append(self, data: bytes) -> None:
        """Durable when it returns. Raises OSError; the file must then not be used again."""
        append_durably(self._fd, data, self._size)
        self._size += len(data)

    def close(self) -> None:
        os.close(self._fd)


def _line(one: RunOutputs) -> bytes:
    fields = {"v": FORMAT, "run": one.run, "recorded_at": iso(one.recorded_at), "outputs": one.outputs}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def _outputs_in(path: str, offset: int) -> str | None:
    with open(path, "rb") as file:
        file.seek(offset)
        try:
            outputs = json.loads(file.readline())["outputs"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    return outputs if isinstance(outputs, str) else None


def _day_of(name: str) -> date | None:
    found = _NAME.fullmatch(name)
    try:
        return datetime.strptime(found[1], "%Y-%m-%d").replace(tzinfo=UTC).date() if found else None
    except ValueError:
        return None
