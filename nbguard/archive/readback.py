"""Reading back what was just committed, through stock git, and comparing SHA-256."""

from __future__ import annotations

from collections.abc import Sequence

from nbguard.archive.names import tree_path
from nbguard.archive.repository import Archive
from nbguard.errors import ReadBackFailed
from nbguard.model import Version

_AT_ONCE = 200  # requests that fit into a pipe before an answer is read


def verify(archive: Archive, versions: Sequence[tuple[Version, str]]) -> None:
    """Raises ReadBackFailed unless each version is ``<commit>:<path>``, byte for byte."""
    wanted = [(version, commit) for version, commit in versions if version.sha256 is not None]
    # By notebook: the next one is a delta of the one before, which git then has at hand.
    wanted.sort(key=lambda pair: (pair[0].notebook, pair[0].moment))
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        names = [f"{commit}:{tree_path(version.path)}".encode() for version, commit in part]
        digests = archive.git.sha256_of(names)
        for (version, commit), digest in zip(part, digests, strict=True):
            if digest != version.sha256:
                raise ReadBackFailed(
                    f"version {version.id[:10]} of {version.path} came back from commit {commit[:12]} "
                    f"{'with other bytes' if digest else 'not at all'}",
                    hint="its draft stays in the spool; check the disk, then see `nbguard doctor`",
                )
