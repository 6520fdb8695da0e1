"""One draft on its way into a spool's folder."""

from __future__ import annotations

import os

from nbguard.archive.draft_header import file_name
from nbguard.durable import free_space, fsync_folder, unlink_quietly
from nbguard.errors import StorageTrouble, storage_trouble
from nbguard.model import Draft


class DraftWriting:
    """One draft being written: tmp, fsync, rename, fsync of the folder; nothing is left behind on a failure.

    ``free``: the descriptor and the path of a file that is written over instead of a new one in tmp.
    """

    def __init__(self, folder: str, draft: Draft, free: tuple[int, str] | None = None) -> None:
        self._folder = folder
        self._is_reused = free is not None
        self.fd, self._temporary = free or (-1, os.path.join(folder, "tmp", f"{os.getpid()}-{draft.id}"))
        self._target: str | None = None

    def __enter__(self) -> DraftWriting:
        if self._is_reused:
            return self
        try:
            self.fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._trouble(error) from error
        return self

    def acknowledge(self, draft: Draft) -> None:
        if self._is_reused:
            os.ftruncate(self.fd, os.lseek(self.fd, 0, os.SEEK_CUR))
            os.fdatasync(self.fd)  # its times may wait for the folder's commit; fsync would make a commit for them
        else:
            os.fsync(self.fd)
        new = os.path.join(self._folder, "new")
        self._target = os.path.join(new, file_name(draft))
        os.rename(self._temporary, self._target)
        fsync_folder(new)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        os.close(self.fd)
        if error is None:
            return
        for leftover in (self._temporary, self._target):
            try:
                if leftover is not None:
                    unlink_quietly(leftover)
            except OSError:
                pass  # the same fault again; a leftover in tmp/ is swept, one in new/ is a version twice, not lost
        if isinstance(error, OSError):
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> StorageTrouble:
        try:
            inodes = free_space(self._folder)[2]
        except OSError:
            inodes = None
        return storage_trouble(error, "cannot keep a version in the spool", free_inodes=inodes)
