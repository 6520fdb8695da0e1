"""One batch of commits on top of a tip: blobs, trees and commits into one pack, then the ref, durable and in order.

Nothing is visible before the ref moves, and the ref moves only from the tip we started from; so a crash, a full disk
or a foreign writer at any point leaves the archive as it was.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from nbguard.archive.names import tree_path
from nbguard.archive.pack_file import Base, Kind, PackWriter, drop_pack
from nbguard.archive.repository import MAIN, Archive
from nbguard.archive.trailers import Decision, decision_message, subject_of, trailers_of
from nbguard.archive.trees import Tree
from nbguard.cat_file import CatFile
from nbguard.durable import fsync_file, fsync_folder, replace_durably, unlink_quietly
from nbguard.errors import ArchiveMoved, ArchiveTrouble, NbguardError, storage_trouble
from nbguard.git import EMAIL
from nbguard.model import Status, Version

_AUTHOR = b"nbguard <%s>" % EMAIL.encode()
_DELTA_UP_TO = 16_000_000
_DISK_PHRASES = (
    ("No space left", errno.ENOSPC),
    ("Disk quota exceeded", errno.EDQUOT),
    ("Read-only file system", errno.EROFS),
    ("Input/output error", errno.EIO),
)


class Committing:
    """Use as a context manager: nothing is left behind unless :meth:`finish` returned.

    Every method raises OSError or ArchiveTrouble.
    """

    def __init__(self, archive: Archive, tip: str | None) -> None:
        self._archive = archive
        self._started_from = tip
        self._tip = tip
        self._objects: CatFile | None = None
        self._pack = PackWriter(os.path.join(archive.folder, "objects", "pack"))
        self._blobs: dict[str, bytes] = {}
        self._last: tuple[str, Base] | None = None
        self._finished = False
        try:
            self._tree = Tree(self._read_tree, self._tree_of(tip) if tip is not None else None)
        except BaseException:
            self.__exit__()
            raise

    def blob(self, version: Version, data: bytes) -> None:
        """Store a version's bytes; successive calls for one notebook become deltas of each other.

        Raises ArchiveTrouble when they are not what was kept, and stores nothing then.
        """
        if hashlib.sha256(data).hexdigest() != version.sha256:
            raise _unsound(version, "other bytes than were kept")
        base = self._last[1] if self._last is not None and self._last[0] == version.notebook else None
        oid = self._pack.add(Kind.BLOB, data, base)
        self._blobs[version.id] = oid
        self._last = (version.notebook, Base(oid, data)) if len(data) <= _DELTA_UP_TO else None

    def blob_stream(self, version: Version, chunks: Iterable[bytes]) -> None:
        """As blob, without holding the bytes."""
        try:
            self._blobs[version.id] = self._pack.add_stream(Kind.BLOB, version.size, _checked(version, chunks))
        except ValueError as error:
            raise _unsound(version, str(error)) from error

    def commit(
        self, records: Sequence[Version | Decision], at: datetime, subject: str | None = None, *, once: bool = False
    ) -> str:
        """One commit that holds these records, in order; returns its id. ``once``: the tree then is as before."""
        if once:
            before = self._tree.copy()
            for record in records:
                if isinstance(record, Version):
                    self._show(record)
            commit = self._commit(_message(records, subject), at)
            self._tree = before
            self._commit("Back to the latest state\n", at)
            return commit
        latest = None if all(_is_latest(record) for record in records) else self._tree.copy()
        for record in records:
            if isinstance(record, Version):
                self._change(record)
        commit = self._commit(_message(records, subject), at)
        if latest is not None:
            # Bytes that never were the latest state were shown once, to be found; now the tree mirrors the disk again.
            self._tree = latest
            for record in records:
                if isinstance(record, Version) and record.tip:
                    self._change(record)
            self._commit("Back to the latest state\n", at)
        return commit

    def _commit(self, message: str, at: datetime) -> str:
        tree = self._tree.write(self._pack)
        who = b"%s %d +0000" % (_AUTHOR, max(0, int(at.timestamp())))  # git has no time before 1970
        lines = [b"tree %s\n" % tree.hex().encode()]
        if self._tip is not None:
            lines.append(b"parent %s\n" % self._tip.encode())
        lines.append(b"author %s\ncommitter %s\n\n" % (who, who))
        lines.append(message.encode("utf-8"))
        self._tip = self._pack.add(Kind.COMMIT, b"".join(lines)).hex()
        return self._tip

    def finish(self, *, lock_fd: int) -> str:
        """Make the pack durable, move main from where we started, make that durable; returns the new tip.

        Raises ArchiveMoved when somebody else moved main meanwhile.
        """
        assert self._tip is not None
        pack = self._pack.finish()
        self._finished = True
        self._close_objects()
        commands = f"update {MAIN} {self._tip} {self._started_from or '0' * 40}\n"
        status, said = self._archive.git.update_refs(commands, inherit=[lock_fd])
        if status != 0:
            if self._archive.tip() != self._tip and pack is not None:
                drop_pack(pack)  # nobody refers to it, and every attempt would leave one more
            raise refusal(self._archive, MAIN, status, said)
        path = os.path.join(self._archive.folder, MAIN)
        if os.path.exists(path):
            fsync_file(path)
        fsync_folder(os.path.dirname(path))  # git fsyncs the ref, never its folder
        if self._archive.tip() != self._tip:
            raise _moved("it is not where the batch put it")
        return self._tip

    def __enter__(self) -> Committing:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_objects()
        if not self._finished:
            self._pack.abandon()

    def _change(self, version: Version) -> None:
        parts = tree_path(version.path).encode("utf-8").split(b"/")
        if version.renamed_from is not None and version.tip:
            self._tree.remove(tree_path(version.renamed_from).encode("utf-8").split(b"/"))
        if version.status is Status.DELETED and version.tip:
            self._tree.remove(parts)
        self._show(version)

    def _show(self, version: Version) -> None:
        if version.status is not Status.DELETED:
            self._tree.put(tree_path(version.path).encode("utf-8").split(b"/"), self._blobs[version.id])

    def _read(self, name: str) -> bytes:
        if self._objects is None:
            self._objects = self._archive.git.cat_file()
        return self._objects.read(name.encode("ascii"))

    def _read_tree(self, oid: bytes) -> bytes:
        return self._read(oid.hex())

    def _tree_of(self, commit: str) -> bytes:
        first = self._read(commit).split(b"\n", 1)[0]
        return bytes.fromhex(first.removeprefix(b"tree ").decode("ascii"))

    def _close_objects(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None


def refusal(archive: Archive, ref: str, status: int, said: str) -> NbguardError:
    """What it means that git would not move a branch."""
    branch = os.path.basename(ref)
    if "but expected" in said or "reference already exists" in said:
        return _moved(said[-300:], branch)
    for phrase, number in _DISK_PHRASES:
        if phrase in said:
            return storage_trouble(OSError(number, phrase, archive.folder), f"cannot move {branch}")
    attempt = os.path.join(archive.folder, os.path.dirname(ref), ".nbguard-try")
    try:  # git does not always say why it could not write; the disk tells us
        replace_durably(attempt, b"?")
        unlink_quietly(attempt)
    except OSError as error:
        return storage_trouble(error, f"cannot move {branch}")
    return ArchiveTrouble(
        f"git update-ref ended with {status}: {said[-600:] or 'nothing said'}",
        hint="see `nbguard doctor`; drafts stay in the spool",
    )


def _is_latest(record: Version | Decision) -> bool:
    return not isinstance(record, Version) or record.tip


def _checked(version: Version, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks. Raises ValueError at their end unless they are the version's."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != version.sha256:
        raise ValueError("other bytes than were kept")


def _unsound(version: Version, why: str) -> ArchiveTrouble:
    return ArchiveTrouble(
        f"the draft of version {version.id[:10]} of {version.path} is damaged: {why}",
        hint="check the disk; it stays in the spool, the others are packed",
    )


def _moved(how: str, branch: str = "main") -> ArchiveMoved:
    return ArchiveMoved(
        f"{branch} was moved by someone else while a batch was packed: {how}",
        hint="nothing was unlinked; find out who writes to the archive",
    )


def _message(records: Sequence[Version | Decision], subject: str | None) -> str:
    if len(records) == 1 and subject is None:
        record = records[0]
        if isinstance(record, Decision):
            return decision_message(record)
        return f"{subject_of(record)}\n\n{trailers_of(record)}"
    blocks = [trailers_of(record) if isinstance(record, Version) else decision_message(record) for record in records]
    return f"{subject or f'{len(records)} versions'}\n\n" + "\n".join(blocks)
