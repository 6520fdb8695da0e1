"""One batch of commits on top of a tip: blobs, trees and commits into one pack, then the ref, durable and in order.

Nothing is visible before the ref moves, and the ref moves only from the tip we started from; so a crash, a full disk
or a foreign writer at any point leaves the archive as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime

from nbguard.archive.names import tree_path
from nbguard.archive.pack_file import Base, Kind, PackWriter
from nbguard.archive.repository import MAIN, VERIFIED, Archive
from nbguard.archive.trailers import Decision, decision_message, subject_of, trailers_of
from nbguard.archive.trees import Tree
from nbguard.durable import fsync_file, fsync_folder
from nbguard.errors import ArchiveMoved, ArchiveTrouble, storage_trouble
from nbguard.git import CatFile
from nbguard.model import Status, Version

_AUTHOR = b"nbguard <nbguard@localhost>"
_DELTA_UP_TO = 16_000_000


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
        """Store a version's bytes; successive calls for one notebook become deltas of each other."""
        base = self._last[1] if self._last is not None and self._last[0] == version.notebook else None
        oid = self._pack.add(Kind.BLOB, data, base)
        self._blobs[version.id] = oid
        self._last = (version.notebook, Base(oid, data)) if len(data) <= _DELTA_UP_TO else None

    def blob_stream(self, version: Version, chunks: Iterable[bytes]) -> None:
        """As blob, without holding the bytes. Raises ArchiveTrouble when they are not as many as promised."""
        try:
            self._blobs[version.id] = self._pack.add_stream(Kind.BLOB, version.size, chunks)
        except ValueError as error:
            raise ArchiveTrouble(f"version {version.id[:10]}: {error}", hint="check the disk") from error

    def commit(self, records: Sequence[Version | Decision], at: datetime, subject: str | None = None) -> str:
        """One commit that holds these records, in order; returns its id."""
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
        who = b"%s %d +0000" % (_AUTHOR, int(at.timestamp()))
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
        self._pack.finish()
        self._finished = True
        self._close_objects()
        self._move_refs(self._tip, lock_fd)
        for ref in (MAIN, VERIFIED):
            path = os.path.join(self._archive.folder, ref)
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
        if version.status is not Status.DELETED:
            self._tree.put(parts, self._blobs[version.id])
        elif version.tip:
            self._tree.remove(parts)

    def _move_refs(self, tip: str, lock_fd: int) -> None:
        old = self._started_from
        commands = f"update {MAIN} {tip} {old or '0' * 40}\n"
        if old is not None:
            commands += f"update {VERIFIED} {old}\n"
        status, said = self._archive.git.update_refs(commands, inherit=[lock_fd])
        if status == 0:
            return
        if "but expected" in said or "reference already exists" in said:
            raise _moved(said[-300:])
        for phrase, number in (("No space left", 28), ("Read-only file system", 30), ("Input/output error", 5)):
            if phrase in said:
                raise storage_trouble(OSError(number, phrase, self._archive.folder), "cannot move main")
        raise ArchiveTrouble(
            f"git update-ref ended with {status}: {said[-600:] or 'nothing said'}",
            hint="see `nbguard doctor`; drafts stay in the spool",
        )

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


def _is_latest(record: Version | Decision) -> bool:
    return not isinstance(record, Version) or record.tip


def _moved(how: str) -> ArchiveMoved:
    return ArchiveMoved(
        f"main was moved by someone else while a batch was packed: {how}",
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
