"""Reading back what was just committed, through stock git, and comparing SHA-256."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from nbguard.archive.names import tree_path
from nbguard.archive.repository import Archive
from nbguard.errors import ReadBackFailed
from nbguard.model import Version

_OFTEN = 8
_AT_ONCE = 200


def verify(archive: Archive, versions: Sequence[tuple[Version, str]]) -> None:
    """Raises ReadBackFailed unless each version is ``<commit>:<path>``, byte for byte."""
    for version, commit, digest in _differing(archive, versions):
        raise ReadBackFailed(
            f"version {version.id[:10]} of {version.path} came back from commit {commit[:12]} "
            f"{'with other bytes' if digest else 'not at all'}",
            hint="its draft stays in the spool; check the disk, then see `nbguard doctor`",
        )


def unreadable(archive: Archive, versions: Sequence[tuple[Version, str]]) -> list[Version]:
    """Those that do not come back; git stops at an object that is broken, so the rest is asked one by one."""
    if not any(True for _ in _differing(archive, versions)):
        return []
    return [pair[0] for pair in versions if any(True for _ in _differing(archive, [pair]))]


def _differing(archive: Archive, versions: Sequence[tuple[Version, str]]) -> Iterator[tuple[Version, str, str | None]]:
    wanted = [(version, commit) for version, commit in versions if version.sha256 is not None]
    # By notebook: the next one is a delta of the one before, which git then has at hand.
    wanted.sort(key=lambda pair: (pair[0].notebook, pair[0].moment))
    trees = _trees(archive, Counter(commit for _, commit in wanted))
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        names = [f"{trees.get(commit, commit)}:{tree_path(version.path)}".encode() for version, commit in part]
        for (version, commit), digest in zip(part, archive.git.sha256_of(names), strict=True):
            if digest != version.sha256:
                yield version, commit, digest


def _trees(archive: Archive, uses: Counter[str]) -> dict[str, str]:
    """The trees of commits that hold many versions, asked of git once: it would parse a long message at each use."""
    often = [commit for commit, count in uses.items() if count > _OFTEN]
    if not often:
        return {}
    answer = archive.git.ask("rev-parse", *(f"{commit}^{{tree}}" for commit in often)).decode("ascii").split()
    return dict(zip(often, answer, strict=True))
