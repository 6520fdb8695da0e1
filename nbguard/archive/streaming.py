"""A version's bytes piece by piece, for those that are too large to be held whole."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from nbguard.archive.draft_header import OpenDraft
from nbguard.archive.names import tree_path
from nbguard.archive.repository import Archive
from nbguard.archive.spool import Spool
from nbguard.errors import ArchiveTrouble
from nbguard.git import hermetic_environment
from nbguard.model import Version

_CHUNK = 1 << 20


def stream(archive: Archive, spool: Spool, version: Version) -> Iterator[bytes]:
    """The bytes of a version that is not a tombstone, unchecked. Raises ArchiveTrouble, also in the middle."""
    if version.commit is None:
        yield from _spooled(spool, version)
        return
    with subprocess.Popen(
        archive.git.command("cat-file", "blob", f"{version.commit}:{tree_path(version.path)}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=hermetic_environment(archive.folder),
        cwd="/",
    ) as child:
        assert child.stdout is not None
        while chunk := child.stdout.read(_CHUNK):
            yield chunk
    if child.returncode != 0:
        raise ArchiveTrouble(f"the archive cannot give back version {version.id[:10]}", hint="see `nbguard doctor`")


def _spooled(spool: Spool, version: Version) -> Iterator[bytes]:
    spooled = spool.find(version.id)
    if spooled is None:
        raise ArchiveTrouble(
            f"version {version.id[:10]} is not in the spool", hint="it was packed meanwhile: try again"
        )
    try:
        with OpenDraft(spooled.path) as opened:
            yield from opened.chunks()
    except (FileNotFoundError, ValueError) as error:
        raise ArchiveTrouble(f"version {version.id[:10]} cannot be read: {error}", hint="try again") from error
