"""Segments of the record log become files on branch ``records``, are read back, and only then leave the spool.

One commit for each run, under the lock of everybody who writes refs. A segment whose process lives is committed as far
as it goes, and stays where it is; its file in the branch only ever grows. A crash at any point repeats work, loses
nothing, and shows nothing twice: a segment is known by its name wherever it lies.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from nbguard.archive.committing import refusal
from nbguard.archive.executed_library import EXECUTED
from nbguard.archive.folding import check_descent
from nbguard.archive.pack_file import Kind, PackWriter, drop_pack, object_id
from nbguard.archive.record_log import SUFFIX, Holding, RecordSegments, Segment
from nbguard.archive.repository import RECORDS, RECORDS_VERIFIED, Archive
from nbguard.archive.spool import Reserve
from nbguard.archive.trees import Tree
from nbguard.cat_file import CatFile
from nbguard.clock import Clock
from nbguard.durable import FileLock, free_space, fsync_file, fsync_folder, unlink_quietly
from nbguard.errors import ArchiveMoved, Busy, ReadBackFailed, StorageTrouble, storage_trouble
from nbguard.git import EMAIL

_NAME = re.compile(r"[0-9]{8}T[0-9.]+Z-[0-9]+-[0-9a-f]{16}\.jsonl")
_AUTHOR = b"nbguard <%s>" % EMAIL.encode()
_ENOUGH_BYTES = 4_000_000
_MOST_SEGMENTS = 200


@dataclass(frozen=True, slots=True)
class PackedRecords:
    """What one run did: segments that went, their bytes, and the new commit (None when there was nothing to do)."""

    segments: int
    bytes: int
    tip: str | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A segment whose bytes are in the branch under ``path``, once it is read back as ``sha256``."""

    segment: Segment
    path: str
    sha256: str
    size: int
    is_sealed: bool


class UnreadableSegment(Exception):
    """A segment's own disk does not give it back."""

    def __init__(self, why: OSError) -> None:
        super().__init__(why)
        self.why = why


class RecordPacker:
    """Packs one record log into one archive. Use it from one thread."""

    def __init__(
        self,
        *,
        archive: Archive,
        log: RecordSegments,
        clock: Clock,
        reserve: Reserve | None = None,
        seconds: float = 900.0,
    ) -> None:
        self._archive = archive
        self._log = log
        self._clock = clock
        self._reserve = reserve or Reserve()
        self._seconds = seconds
        self._waiting_since: float | None = None
        self._live: dict[str, int] = {}
        self._trouble: StorageTrouble | None = None

    def is_due(self) -> bool:
        """Whether packing is worth it: records wait for long enough, or there are many. Raises StorageTrouble."""
        waiting = [one for one in self._log.segments() if one.size > self._live.get(one.name, 0)]
        now = self._clock.monotonic()
        if not waiting:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since >= self._seconds or sum(one.size for one in waiting) >= _ENOUGH_BYTES

    def pack(self) -> PackedRecords:
        """Pack all that was recorded. Raises Busy, NoArchive, ArchiveTrouble, StorageTrouble; segments then stay."""
        self._archive.require()
        self._log.seal()
        segments = size = 0
        tip: str | None = None
        self._live.clear()
        self._trouble = None
        while True:
            try:
                with FileLock(self._archive.lock_path) as lock:
                    done = self._pack(lock.fd)
            except OSError as error:
                raise storage_trouble(error, "cannot pack executed cells") from error
            segments, size, tip = segments + done.segments, size + done.bytes, done.tip or tip
            if done.segments == 0:
                self._waiting_since = None
                if self._trouble is not None:
                    raise self._trouble
                return PackedRecords(segments, size, tip)

    def _pack(self, lock_fd: int) -> PackedRecords:
        self._archive.remove_stale_locks()
        self._log.sweep_leftovers()
        tip, verified = self._archive.git.tip(RECORDS), self._archive.git.tip(RECORDS_VERIFIED)
        check_descent(self._archive, verified, tip, os.path.basename(RECORDS))
        segments = [one for one in self._log.segments() if _NAME.fullmatch(one.name)]
        segments = [one for one in segments if one.size > self._live.get(one.name, -1)][:_MOST_SEGMENTS]
        if not segments:
            return PackedRecords(0, 0, None)
        self._check_room(sum(segment.size for segment in segments))
        if tip is not None and tip != verified:
            self._archive.settle(tip, RECORDS)  # a crash came between; nothing is unlinked for what may yet be undone
        with ExitStack() as held:
            writing = _Writing(self._archive, tip)
            try:
                taken = self._take_all(segments, writing, held)
                if writing.is_changed:
                    tip = writing.finish(_subject(taken), int(self._clock.now().timestamp()), lock_fd)
            finally:
                writing.close()
            if tip is not None and taken:
                self._verify(tip, taken)
                if tip != verified:
                    self._archive.note_verified(tip, RECORDS_VERIFIED)
            sealed = [one for one in taken if one.is_sealed]
            if self._log.outside is not None:
                self._log.outside.release([one.segment.name for one in sealed])
            for one in sealed:
                unlink_quietly(one.segment.path)
        self._live.update({one.segment.name: one.segment.size for one in taken if not one.is_sealed})
        return PackedRecords(len(sealed), sum(one.size for one in taken), tip if writing.is_changed else None)

    def _take_all(self, segments: Sequence[Segment], writing: _Writing, held: ExitStack) -> list[_Taken]:
        """Put each segment into the branch; one that a disk does not give back holds up no other."""
        taken = []
        for segment in segments:
            try:
                found = _take(segment, writing, held)
            except UnreadableSegment as error:
                self._live[segment.name] = segment.size
                self._trouble = self._trouble or storage_trouble(error.why, "cannot read executed cells to pack them")
                continue
            if found is not None:
                taken.append(found)
        return taken

    def _verify(self, tip: str, taken: Sequence[_Taken]) -> None:
        names = [f"{tip}:{one.path}".encode() for one in taken]
        for one, digest in zip(taken, self._archive.git.sha256_of(names), strict=True):
            if digest != one.sha256:
                raise ReadBackFailed(
                    f"executed cells came back from {tip[:12]}:{one.path} "
                    f"{'with other bytes' if digest else 'not at all'}",
                    hint="they stay in the record log; check the disk, then see `nbguard doctor`",
                )

    def _check_room(self, size: int) -> None:
        free, total, inodes = free_space(self._archive.folder)
        if free < size + self._reserve.of(total) or inodes < 8:
            raise StorageTrouble(
                f"no room to pack {size} bytes of executed cells into {self._archive.folder}: {free} bytes and "
                f"{inodes} inodes are free",
                hint="free some space; they are safe in the record log and packed as soon as there is room",
                code="no-space" if inodes >= 8 else "no-inodes",
            )


def _take(segment: Segment, writing: _Writing, held: ExitStack) -> _Taken | None:
    """Put a segment into the branch; it is held, so that it stays sealed, until all is done. Raises OSError."""
    is_sealed = True
    try:
        held.enter_context(Holding(segment.path))
    except Busy:
        is_sealed = False
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableSegment(error) from error
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UnreadableSegment(error) from error
    if not is_sealed:
        data = data[: data.rfind(b"\n") + 1]
    if not data:
        if is_sealed:
            unlink_quietly(segment.path)
        return None
    path, kept = writing.put(segment.name, data)
    return _Taken(segment, path, hashlib.sha256(kept).hexdigest(), len(data), is_sealed)


class _Writing:
    """One commit on top of the branch: nothing is visible before :meth:`finish` moves the ref."""

    def __init__(self, archive: Archive, tip: str | None) -> None:
        self._archive = archive
        self._started_from = tip
        self._objects: CatFile | None = None
        self._pack: PackWriter | None = None
        self._is_finished = False
        root = None
        if tip is not None:
            head = self._read(tip).split(b"\n", 1)[0]
            root = bytes.fromhex(head.removeprefix(b"tree ").decode("ascii"))
        self._tree = Tree(lambda oid: self._read(oid.hex()), root)

    @property
    def is_changed(self) -> bool:
        return self._pack is not None

    def put(self, name: str, data: bytes) -> tuple[str, bytes]:
        """Where the bytes of a segment are in the branch, and what stands there: these bytes, or those and more."""
        folder = f"{EXECUTED}/{name[:4]}/{name[4:6]}/{name[6:8]}"
        path = f"{folder}/{name}"
        oid = object_id(Kind.BLOB, data)
        there = self._tree.get(_parts(path))
        if there is not None and there != oid:
            old = self._read(there.hex())
            if old.startswith(data):
                return path, old
            if not data.startswith(old):  # nothing of ours; both are kept
                path = f"{folder}/{name.removesuffix(SUFFIX)}-{oid.hex()[:8]}{SUFFIX}"
                there = self._tree.get(_parts(path))
        if there != oid:
            self._tree.put(_parts(path), self._writer().add(Kind.BLOB, data))
        return path, data

    def finish(self, subject: str, at_seconds: int, lock_fd: int) -> str:
        """Commit, move the branch from where we started, make all of it durable; returns the new commit."""
        pack = self._writer()
        who = b"%s %d +0000" % (_AUTHOR, max(0, at_seconds))
        lines = [b"tree %s\n" % self._tree.write(pack).hex().encode()]
        if self._started_from is not None:
            lines.append(b"parent %s\n" % self._started_from.encode())
        lines.append(b"author %s\ncommitter %s\n\n%s\n" % (who, who, subject.encode("ascii")))
        tip = pack.add(Kind.COMMIT, b"".join(lines)).hex()
        written = pack.finish()
        self._is_finished = True
        status, said = self._archive.git.update_refs(
            f"update {RECORDS} {tip} {self._started_from or '0' * 40}\n", inherit=[lock_fd]
        )
        if status != 0:
            if self._archive.git.tip(RECORDS) != tip and written is not None:
                drop_pack(written)  # nobody refers to it, and every attempt would leave one more
            raise refusal(self._archive, RECORDS, status, said)
        path = os.path.join(self._archive.folder, RECORDS)
        if os.path.exists(path):
            fsync_file(path)
        fsync_folder(os.path.dirname(path))  # git fsyncs the ref, never its folder
        if self._archive.git.tip(RECORDS) != tip:
            raise ArchiveMoved(
                "records was moved by someone else: it is not where the run put it",
                hint="nothing was unlinked; find out who writes to the archive",
            )
        return tip

    def close(self) -> None:
        """Leave nothing behind unless it was finished."""
        if self._objects is not None:
            self._objects.close()
            self._objects = None
        if self._pack is not None and not self._is_finished:
            self._pack.abandon()

    def _writer(self) -> PackWriter:
        if self._pack is None:
            self._pack = PackWriter(os.path.join(self._archive.folder, "objects", "pack"))
        return self._pack

    def _read(self, name: str) -> bytes:
        if self._objects is None:
            self._objects = self._archive.git.cat_file()
        return self._objects.read(name.encode("ascii"))


def _parts(path: str) -> list[bytes]:
    return path.encode("ascii").split(b"/")


def _subject(taken: Sequence[_Taken]) -> str:
    count, size = len(taken), sum(one.size for one in taken)
    return f"Executed cells: {count} segment{'' if count == 1 else 's'}, {size} bytes"
