"""The git bundle: a fresh history of only what is in the package, made in a repository of its own.

The archive's own commits are never used: they name other notebooks. Stock git makes it (`git fast-import`, `git
bundle`), in the form of an archive, so that `git clone --bare` of the bundle is one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from typing import IO

from nbguard.errors import ArchiveTrouble, BadConfiguration
from nbguard.git import EMAIL, GitFolder, hermetic_environment
from nbguard.model import Version

MessageOf = Callable[[Version], str]
"""The message of the commit of one version, as the archive has it."""
TreePath = Callable[[str], bytes]
"""Where the archive's tree has a path, quoted for `git fast-import`."""

_WHO = b"nbguard <%s>" % EMAIL.encode()
# fast-import has made the deltas; pack-objects shall only copy them. Without the limits it took 90 MB.
_SETTINGS = (
    "core.compression=3",
    "fastimport.unpackLimit=1",
    "core.bigFileThreshold=16m",
    "core.deltaBaseCacheLimit=8m",
    "core.packedGitWindowSize=1m",
    "core.packedGitLimit=16m",
    "pack.window=0",
    "pack.threads=1",
    "gc.auto=0",
)


class BundleFailed(Exception):
    """git said no; the text says what. The package is made without a bundle."""


class FreshHistory:
    """Takes versions' bytes as they are read, and makes one commit of each at the end. Every method raises
    BundleFailed."""

    def __init__(self, folder: str, *, message_of: MessageOf, tree_path: TreePath) -> None:
        """``folder`` is not there yet; its parent is private."""
        self._git = GitFolder(folder, _SETTINGS)
        self._message_of = message_of
        self._tree_path = tree_path
        self._marks: dict[bytes, int] = {}
        self._order: list[tuple[bytes, str]] = []
        self._here: dict[str, bytes] = {}
        try:
            self._git.ask("init", "--bare", "--quiet", "--initial-branch=main", "--template=", folder)
            self._child = subprocess.Popen(
                self._git.command("fast-import", "--quiet", "--done", "--depth=100"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=hermetic_environment(folder),
                cwd="/",
                umask=0o077,
            )
        except (OSError, ArchiveTrouble, BadConfiguration) as error:
            raise BundleFailed(str(error)) from error
        assert self._child.stdin is not None
        self._stdin: IO[bytes] = self._child.stdin

    def add(self, version: Version, size: int, chunks: Iterable[bytes]) -> None:
        """One version; equal bytes are sent once. ``size`` and ``chunks`` are of its checked bytes."""
        if version.sha256 is not None:
            digest = bytes.fromhex(version.sha256)
            if digest not in self._marks:
                self._marks[digest] = mark = len(self._marks) + 1
                self._write(b"blob\nmark :%d\ndata %d\n" % (mark, size))
                for chunk in chunks:
                    self._write(chunk)
                self._write(b"\n")
        self._order.append((version.moment.sortable(), version.id))

    def finish(self, version_of: Callable[[str], Version | None], target: str) -> bool:
        """Commit everything in the order of observation, and write the bundle; False when there is nothing in it."""
        for _, identity in sorted(self._order):
            version = version_of(identity)
            if version is not None:
                self._commit(version)
        self._write(b"done\n")
        self._end()
        if not self._order:
            return False
        try:
            self._git.ask("bundle", "create", "--quiet", target, "HEAD", "main")
        except ArchiveTrouble as error:
            raise BundleFailed(error.message) from error
        return True

    def close(self) -> None:
        """End the child, if it is still there."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        for stream in (self._child.stdin, self._child.stderr):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                pass  # what was buffered for a child that is gone

    def _commit(self, version: Version) -> None:
        path = self._tree_path(version.path)
        before = dict(self._here) if not version.tip else {}
        self._head(version, self._message_of(version))
        if version.tip and version.renamed_from is not None:
            self._put(version.renamed_from, None)
        self._put(version.path, version.sha256)
        if not version.tip:  # it never was the latest state: shown once, to be found
            self._head(version, "Back to the latest state\n")
            was = before.get(version.path)
            self._here = before
            self._write(b"M 100644 :%d %s\n" % (self._marks[was], path) if was is not None else b"D %s\n" % path)

    def _put(self, path: str, sha256: str | None) -> None:
        where = self._tree_path(path)
        if sha256 is None:
            if self._here.pop(path, None) is not None:
                self._write(b"D %s\n" % where)
            return
        digest = bytes.fromhex(sha256)
        self._here[path] = digest
        self._write(b"M 100644 :%d %s\n" % (self._marks[digest], where))

    def _head(self, version: Version, message: str) -> None:
        at, text = max(0, int(version.saved_at.timestamp())), message.encode("utf-8")
        self._write(b"commit refs/heads/main\ncommitter %s %d +0000\ndata %d\n%s\n" % (_WHO, at, len(text), text))

    def _write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
        except (OSError, ValueError) as error:
            raise BundleFailed(f"git fast-import ended: {self._last_words() or error}") from error

    def _end(self) -> None:
        try:
            self._stdin.flush()
        except (OSError, ValueError) as error:
            raise BundleFailed(f"git fast-import ended: {self._last_words() or error}") from error
        said = self._last_words()
        if self._child.returncode != 0:
            raise BundleFailed(f"git fast-import ended with {self._child.returncode}: {said}")

    def _last_words(self) -> str:
        try:
            _, said = self._child.communicate(timeout=600)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return ""
        return bytes(said or b"").decode("utf-8", "replace").strip()[-300:]
