"""The spool: durable versions not yet packed, maildir style.

One file per draft: a header line, then the raw bytes. Written in ``tmp/``, fsynced, renamed to ``new/``, the folder
fsynced: that rename is the acknowledgement. Any process may add to it without a lock. A file's name sorts by the
order of observation. When its disk is short it spills to the emergency place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from nbguard.archive import aside
from nbguard.archive.boots import epoch_of, remember
from nbguard.archive.draft_header import OpenDraft, file_name, header_of
from nbguard.archive.draft_writing import DraftWriting
from nbguard.archive.reuse import FreeFiles
from nbguard.clock import Clock
from nbguard.durable import free_space, make_private_folder, unlink_quietly, write_all
from nbguard.errors import Refused, StorageTrouble, storage_trouble
from nbguard.model import Draft, DraftKind, Moment, Signature, Trigger
from nbguard.places import check_private
from nbguard.ports import Outside
from nbguard.processes import boot_id, is_alive

_CHUNK = 1 << 20
_SLACK = 1 << 16


@dataclass(frozen=True, slots=True)
class SpooledDraft:
    """Where a draft lies. ``size`` is the whole file's, in bytes."""

    folder: str
    name: str
    size: int

    @property
    def id(self) -> str:
        return self.name.rpartition("-")[2]

    @property
    def path(self) -> str:
        return os.path.join(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class SpoolSummary:
    """How many drafts, their bytes, and when the oldest was written (seconds since 1970; None when empty)."""

    drafts: int
    bytes: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Space on the user's disk that we leave free: the smaller of so many bytes and so many percent of it."""

    bytes: int = 256_000_000
    percent: float = 2.0

    def of(self, total: int) -> int:
        """Bytes left free on a disk of ``total`` bytes."""
        return min(self.bytes, int(total * self.percent / 100))


class Spool:
    """The spool of this installation: ``folder``, and ``emergency``/spool where it spills when that takes no more."""

    def __init__(
        self, folder: str, *, clock: Clock, install: str, emergency: str | None = None, reserve: Reserve | None = None
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._install = install
        self._reserve = reserve or Reserve()
        self._boot = boot_id()
        self._epoch: int | None = None
        self._sequence = 0
        self._lock = threading.Lock()
        self._refused: StorageTrouble | None = None
        self._free = FreeFiles(folder)
        self._folders = [folder]
        self.outside: Outside | None = None
        if emergency is not None:
            self.spill_to(emergency)

    def spill_to(self, emergency: str) -> None:
        """Spill there from now on."""
        self._folders = [self.folder, os.path.join(emergency, "spool")]

    def make(self) -> None:
        """Create the folders (0700). Raises StorageTrouble."""
        try:
            _make(self.folder)
        except OSError as error:
            raise storage_trouble(error, "cannot make the spool") from error

    def moment(self) -> Moment:
        """A new place in the order of observation. Raises StorageTrouble (only at the first call in a boot)."""
        if self._epoch is None:
            try:
                self._epoch = epoch_of(self._boot, self.folder, int(self._clock.now().timestamp()))
            except OSError as error:
                raise storage_trouble(error, "cannot write the spool's list of boots") from error
        with self._lock:
            self._sequence += 1
            return Moment(self._epoch, self._clock.boottime_ns(), self._sequence)

    def tend(self) -> None:
        """See that the list of boots still says what we know, for the order of what others keep. Cheap."""
        if self._epoch is None:
            return
        try:
            self._epoch = remember(self._boot, self._epoch, self.folder)
        except OSError:
            return  # the spool is gone, or its disk refuses: whoever keeps something says so

    def draft(
        self,
        *,
        kind: DraftKind,
        path: str,
        moment: Moment,
        trigger: Trigger,
        root: str,
        size: int = 0,
        sha256: str | None = None,
        signature: Signature | None = None,
        tip: bool = True,
        renamed_from: str | None = None,
        about: str | None = None,
        observed_at: datetime | None = None,
    ) -> Draft:
        """Mint a draft: a fresh id, this boot, this installation, the time now unless ``observed_at``."""
        return Draft(
            id=os.urandom(16).hex(),
            kind=kind,
            path=path,
            moment=moment,
            boot=self._boot,
            observed_at=observed_at or self._clock.now(),
            trigger=trigger,
            root=root,
            install=self._install,
            size=size,
            sha256=sha256,
            signature=signature,
            tip=tip,
            renamed_from=renamed_from,
            about=about,
        )

    def keep(self, draft: Draft, data: bytes) -> Draft:
        """Make a draft durable: when this returns, it survives a power cut. Raises StorageTrouble."""

        def write(folder: str) -> Draft:
            header = header_of(draft) + b"\n"
            free = self._free.take(len(header) + len(data)) if folder == self.folder else None
            with DraftWriting(folder, draft, free) as file:
                written = os.writev(file.fd, (header, data))
                if written != len(header) + len(data):
                    write_all(file.fd, (header + data)[written:])
                file.acknowledge(draft)
            return draft

        return self._where_it_can_be(len(data), write)

    def keep_stream(self, draft: Draft, fd: int) -> Draft:
        """As keep, copying from ``fd`` from its start; returns the draft with its size and sha256."""

        def write(folder: str) -> Draft:
            room = len(header_of(replace(draft, size=1 << 62, sha256="0" * 64)))
            digest, size = hashlib.sha256(), 0
            with DraftWriting(folder, draft) as file:
                write_all(file.fd, b" " * room + b"\n")
                while chunk := os.pread(fd, _CHUNK, size):
                    digest.update(chunk)
                    write_all(file.fd, chunk)
                    size += len(chunk)
                whole = replace(draft, size=size, sha256=digest.hexdigest())
                os.pwrite(file.fd, header_of(whole).ljust(room), 0)
                file.acknowledge(whole)
            return whole

        return self._where_it_can_be(os.fstat(fd).st_size, write)

    def trouble(self) -> StorageTrouble | None:
        """Why the spool's own disk takes no drafts now, also when the emergency place does; None when all is well."""
        with self._lock:
            refused, self._refused = self._refused, None
        try:
            self._check_room(self.folder, 0)
            if refused is not None:
                self._try_to_write()
        except StorageTrouble as trouble:
            self._refused = trouble
            return trouble
        return None

    def drafts(self) -> list[SpooledDraft]:
        """Every acknowledged draft, in the order of observation; one that lies in both places, twice.

        Raises StorageTrouble.
        """
        found: list[SpooledDraft] = []
        for folder in self._new_folders():
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.name.isascii():  # not ours, and no catalog holds such an id
                            continue
                        try:
                            found.append(SpooledDraft(folder, entry.name, entry.stat(follow_symlinks=False).st_size))
                        except FileNotFoundError:
                            continue  # packed and unlinked since the folder was read
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_trouble(error, "cannot read the spool") from error
        found.sort(key=lambda spooled: spooled.name)
        return found

    def names(self) -> list[str]:
        """The file names of all drafts, unsorted, without a stat each. Raises StorageTrouble."""
        found: list[str] = []
        for folder in self._new_folders():
            try:
                found += filter(str.isascii, os.listdir(folder))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise storage_trouble(error, "cannot read the spool") from error
        return found

    def summary(self) -> SpoolSummary:
        """Counts for status. Raises StorageTrouble."""
        drafts = self.drafts()
        oldest: float | None = None
        for spooled in drafts[:1]:
            try:
                oldest = os.lstat(spooled.path).st_mtime
            except FileNotFoundError:
                continue
        return SpoolSummary(len(drafts), sum(spooled.size for spooled in drafts), oldest)

    def find(self, draft_id: str) -> SpooledDraft | None:
        """The draft with that id, if it is still spooled."""
        for folder in self._new_folders():
            try:
                for name in os.listdir(folder):
                    if name.endswith(draft_id):
                        return SpooledDraft(folder, name, os.lstat(os.path.join(folder, name)).st_size)
            except FileNotFoundError:
                continue
        return None

    def read(self, draft_id: str) -> bytes | None:
        """The notebook's bytes in that draft; None when it is not spooled (any more). Raises ArchiveTrouble."""
        spooled = self.find(draft_id)
        if spooled is None:
            return None
        try:
            with OpenDraft(spooled.path) as opened:
                return opened.data()
        except FileNotFoundError:
            return None

    def unlink(self, drafts: Iterable[SpooledDraft]) -> None:
        """Remove drafts that were read back from the archive; only the packer calls this."""
        new = os.path.join(self.folder, "new")
        packed = list(drafts)
        if self.outside is not None:
            self.outside.release([one.name for one in packed])
        try:
            gone = self._free.give(new, [(one.path, one.size) for one in packed if one.folder == new])
        except OSError:
            gone = [one.path for one in packed if one.folder == new]  # what was renamed before is only not used again
        for path in (*gone, *(one.path for one in packed if one.folder != new)):
            unlink_quietly(path)

    def set_aside(self, spooled: SpooledDraft) -> None:
        """Move a draft that cannot be packed out of the way of the others; nothing is removed. Raises OSError."""
        aside.put(spooled.folder, spooled.name)

    def aside(self) -> list[str]:
        """Paths of the drafts that could not be packed."""
        return aside.found(self._new_folders())

    def sweep_leftovers(self) -> int:
        """At start: remove half-written files whose writer is dead; returns how many. Never removes from ``new/``."""
        aside.try_again(self._new_folders())
        removed = self._free.sweep()
        for folder in self._folders:
            tmp = os.path.join(folder, "tmp")
            try:
                names = os.listdir(tmp)
            except OSError:
                continue
            for name in names:
                pid = name.partition("-")[0]
                if pid.isdigit() and int(pid) != os.getpid() and not is_alive(int(pid)):
                    unlink_quietly(os.path.join(tmp, name))
                    removed += 1
        return removed

    def _new_folders(self) -> list[str]:
        return [os.path.join(folder, "new") for folder in self._folders if folder == self.folder or _is_ours(folder)]

    def _where_it_can_be(self, size: int, write: Callable[[str], Draft]) -> Draft:
        """Write a draft to the spool, or to the emergency place when the spool's disk refuses it.

        Raises StorageTrouble when both do.
        """
        first: StorageTrouble | None = None
        for folder in self._folders:
            try:
                self._make_room(folder, size)
                kept = write(folder)
            except StorageTrouble as trouble:
                if first is None:
                    first = self._refused = trouble
            except Refused:  # somebody else made the emergency place: as good as none
                continue
            else:
                if self.outside is None or folder != self.folder or self._is_held(kept):
                    return kept
        raise first or StorageTrouble(
            f"a version vanished from {self.folder} as it was written", hint="it is kept again by itself"
        )

    def _is_held(self, draft: Draft) -> bool:
        """Hold it outside; False when it was removed before that could be done."""
        assert self.outside is not None
        path = os.path.join(self.folder, "new", file_name(draft))
        self.outside.hold(path)
        return os.path.lexists(path)

    def _make_room(self, folder: str, size: int) -> None:
        """As _check_room, after giving back what is only held for speed."""
        try:
            self._check_room(folder, size)
        except StorageTrouble:
            self._free.empty()
            self._check_room(folder, size)

    def _check_room(self, folder: str, size: int) -> None:
        """Raises StorageTrouble when a draft of that size would leave too little to the user."""
        try:
            if folder != self.folder:
                self._make_emergency(folder)
            free, total, inodes = free_space(os.path.join(folder, "new"))
        except OSError as error:
            raise storage_trouble(error, "cannot keep a version in the spool") from error
        reserved = self._reserve.of(total)
        if free < size + reserved + _SLACK or inodes < 1:
            raise StorageTrouble(
                f"no room for {f'a version of {size} bytes' if size else 'versions'} in {folder}: "
                f"{free} bytes and {inodes} inodes are free, and {reserved} bytes are left to you",
                hint="free some space; the version is kept as soon as there is room",
                code="no-space" if inodes >= 1 else "no-inodes",
            )

    def _make_emergency(self, folder: str) -> None:
        """Raises OSError, Refused."""
        home = os.path.dirname(os.path.dirname(folder))
        if home == os.path.dirname(self.folder) and not os.path.isdir(home):
            # All that is ours was removed with what it lay in: it is not made anew under whoever did that.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), home)
        _make(folder, check=True)

    def _try_to_write(self) -> None:
        """Whether the spool's disk takes a file again. Raises StorageTrouble."""
        path = os.path.join(self.folder, "tmp", f"{os.getpid()}-try")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, b"?")
                os.fsync(fd)
            finally:
                os.close(fd)
                unlink_quietly(path)
        except OSError as error:
            raise storage_trouble(error, "cannot keep a version in the spool") from error


def _is_ours(folder: str) -> bool:
    """Whether drafts found there can be ours: in /var/tmp anybody may make a folder of any name."""
    try:
        check_private(os.path.dirname(folder))
    except (OSError, Refused):
        return False
    return True


def _make(folder: str, *, check: bool = False) -> None:
    make_private_folder(folder)
    if check:  # /var/tmp is open to everybody: somebody may have been there first
        check_private(os.path.dirname(folder))
    for part in ("tmp", "new"):
        make_private_folder(os.path.join(folder, part))
