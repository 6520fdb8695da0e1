"""What is mounted where, and whether changes made elsewhere would pass unseen there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_MOUNTINFO = "/proc/self/mountinfo"
_REMOTE = frozenset(
    {"9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre"}
    | {"ncpfs", "ocfs2", "orangefs", "panfs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "webdav"}
)
_REMOTE_BEGINNINGS = ("nfs", "fuse", "smb", "cifs")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: where, which kind, and the kernel's number for it."""

    point: str
    kind: str
    number: int


@lru_cache(maxsize=1)  # asked every few seconds, of a text that hardly ever changes
def parse_mounts(text: bytes) -> tuple[Mount, ...]:
    """The mounts in the text of /proc/self/mountinfo, in its order; lines that make no sense are skipped."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(b" - ")
        words, kind = before.split(b" "), after.split(b" ")[0]
        if dash and len(words) >= 5 and words[0].isdigit():
            mounts.append(Mount(os.fsdecode(_unescaped(words[4])), kind.decode("ascii", "replace"), int(words[0])))
    return tuple(mounts)


def _unescaped(word: bytes) -> bytes:
    """Mountinfo writes space, tab, newline and backslash as three octal digits."""
    if b"\\" not in word:
        return word
    first, *rest = word.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def read_mounts() -> tuple[Mount, ...]:
    """The mounts this process sees; none where the system has no mountinfo."""
    try:
        with open(_MOUNTINFO, "rb") as file:
            return parse_mounts(file.read())
    except (OSError, ValueError):
        return ()


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that ``path`` (absolute, without symlinks) lies on: the last of the longest that hold it."""
    best: Mount | None = None
    for mount in mounts:
        if _holds(mount.point, path) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def mounts_touching(path: str, mounts: Iterable[Mount]) -> frozenset[Mount]:
    """The mounts whose coming or going could change what is seen under ``path``."""
    return frozenset(mount for mount in mounts if _holds(mount.point, path) or _holds(path, mount.point))


def is_remote(kind: str) -> bool:
    """Whether files on this kind of file system change without an event here (network, FUSE, shared folders)."""
    return kind in _REMOTE or kind.startswith(_REMOTE_BEGINNINGS)


def remote_kind(path: str, mounts: Iterable[Mount]) -> str | None:
    """The kind of file system if ``path`` is on one that must be polled; None when events can be had."""
    mount = mount_of(path, mounts)
    return mount.kind if mount is not None and is_remote(mount.kind) else None


def remote_below(path: str, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Remote file systems mounted somewhere below ``path``."""
    return tuple(m for m in mounts if m.point != path and _holds(path, m.point) and is_remote(m.kind))


def has_events() -> bool:
    """Whether this system tells of changes as nbguard needs it (inotify; FSEvents by watchdog)."""
    return sys.platform in ("linux", "darwin")


def _holds(point: str, path: str) -> bool:
    return point in (path, "/") or path.startswith(point + "/")
