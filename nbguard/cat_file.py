"""Reading objects: one `git cat-file --batch`, kept open or streamed through."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from nbguard.durable import write_all
from nbguard.errors import ArchiveTrouble


class CatFile:
    """One `git cat-file --batch` kept open: names in, objects out."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/"
        )

    def read(self, name: bytes) -> bytes:
        """The object called ``name`` (``<commit>:<path>``, no newline in it). Raises ArchiveTrouble when missing."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(name + b"\n")
            stdin.flush()
            header = stdout.readline()
            fields = header.split()
            if len(fields) != 3 or not fields[2].isdigit():
                said = header.decode("utf-8", "replace").strip() or "git cat-file ended"
                raise ArchiveTrouble(
                    f"the archive has no {name.decode('utf-8', 'replace')}: {said}", hint="see `nbguard doctor`"
                )
            data = stdout.read(int(fields[2]))
            stdout.read(1)
        except OSError as error:
            raise ArchiveTrouble(f"git cat-file ended: {error}", hint="see `nbguard doctor`") from error
        if len(data) != int(fields[2]):
            raise ArchiveTrouble("git cat-file ended in the middle of an object", hint="see `nbguard doctor`")
        return data

    def close(self) -> None:
        """End the child."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        self._process.wait()

    def __enter__(self) -> CatFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sha256_of(command: list[str], environment: dict[str, str], names: Sequence[bytes]) -> list[str | None]:
    """SHA-256 of each object that ``command`` gives (None where missing), without ever holding one whole."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        # Without these, glibc maps and unmaps every object anew: a third of the time goes into page faults.
        env={**environment, "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"},
        cwd="/",
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        widen_pipe(child.stdout.fileno())
        # A thread of its own: hundreds of long names fill the one pipe while git fills the other.
        asking = threading.Thread(target=_ask_all, args=(child.stdin, names), daemon=True)
        asking.start()
        answers = _Answers(child.stdout.fileno())
        found = [answers.next_sha256() for _ in names]
        child.stdout.close()
        asking.join()
        return found


def widen_pipe(fd: int) -> None:
    """Fewer switches between us and git; a refusal (user pipe limits, macOS) does not matter."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    except (OSError, AttributeError):
        pass


def _ask_all(stdin: IO[bytes], names: Sequence[bytes]) -> None:
    try:
        write_all(stdin.fileno(), b"".join(name + b"\n" for name in names))
        stdin.close()
    except OSError:
        pass  # git ended; the missing answers say so


class _Answers:
    """What `cat-file --batch` answers, digested from one buffer that is used again and again."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def next_sha256(self) -> str | None:
        """SHA-256 of the next object, in hex; None when it is missing or the answers ended early."""
        fields = self._header().split()
        if len(fields) != 3 or not fields[2].isdigit():
            return None
        digest, left = hashlib.sha256(), int(fields[2])
        while left:
            if self._start == self._end and not self._fill():
                return None
            part = min(left, self._end - self._start)
            digest.update(self._view[self._start : self._start + part])
            self._start += part
            left -= part
        if self._start < self._end or self._fill():
            self._start += 1  # the newline after the object
        return digest.hexdigest()

    def _header(self) -> bytes:
        line = b""
        while True:
            at = self._buffer.find(b"\n", self._start, self._end)
            if at >= 0:
                line += self._buffer[self._start : at]
                self._start = at + 1
                return line
            line += self._buffer[self._start : self._end]
            if not self._fill():
                return b""

    def _fill(self) -> bool:
        self._start, self._end = 0, os.readv(self._fd, [self._buffer])
        return self._end > 0
