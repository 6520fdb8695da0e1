"""Bytes between reading and writing: nothing goes into the zip before it is known to be what was kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256

from nbguard.durable import unlink_quietly, write_all
from nbguard.errors import ArchiveTrouble
from nbguard.model import Version

_IN_MEMORY = 4 << 20
_CHUNK = 1 << 20


class Staged:
    """The checked bytes of one version: in memory, or in a file when they are many. Close it."""

    def __init__(self, chunks: Iterable[bytes], version: Version, path: str) -> None:
        """Raises ArchiveTrouble when they are not what was kept; whatever ``chunks`` raises; OSError."""
        self._path = path
        self._fd = -1
        self._data = b""
        self.size = 0
        digest = sha256()
        try:
            if version.size > _IN_MEMORY:
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            parts = []
            for chunk in chunks:
                digest.update(chunk)
                self.size += len(chunk)
                if self._fd >= 0:
                    write_all(self._fd, chunk)
                else:
                    parts.append(chunk)
            self._data = b"".join(parts)
            if digest.hexdigest() != version.sha256:
                raise ArchiveTrouble("its bytes are not what was kept", hint="see `nbguard doctor`")
        except BaseException:
            self.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """The bytes, as often as they are asked for."""
        if self._fd < 0:
            yield self._data
            return
        at = 0
        while chunk := os.pread(self._fd, _CHUNK, at):
            at += len(chunk)
            yield chunk

    def close(self) -> None:
        self._data = b""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            unlink_quietly(self._path)

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
