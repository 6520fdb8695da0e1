"""Where a notebook that appeared at a path comes from: a rename is followed, anything doubtful is a copy."""

from __future__ import annotations

import os

from nbguard.capture.reading import Reading
from nbguard.heads import Heads
from nbguard.model import Head

# Ten thousand copies of one empty notebook say nothing of where a new one comes from, and each costs a stat.
_TOO_MANY = 32


def find_origin(heads: Heads, path: str, reading: Reading, *, hint: str | None, by_sweep: bool) -> Head | None:
    """The head that was renamed to ``path``; None when it is new, changed in place, a copy, or ambiguous.

    ``hint`` is what an event said it was called. ``by_sweep``: nothing was heard, so a file that only shares its
    inode with a missing one may be taken for it; with events, it would have been heard of, and the inode is reused.
    """
    present = heads.get(path)
    if present is not None and not present.is_deleted:
        return None
    hinted = heads.get(hint) if hint is not None else None
    if hinted is not None and _has_left(hinted, path):
        return hinted
    signature = reading.signature
    same_file = [head for head in heads.with_file(signature.device, signature.inode) if _has_left(head, path)]
    same_bytes = [head for head in heads.with_sha256(reading.sha256, most=_TOO_MANY) if _has_left(head, path)]
    for candidates in (
        [head for head in same_file if head.sha256 == reading.sha256],
        [head for head in same_bytes if _folder_is_there(head)],
        [head for head in same_file if by_sweep and _is_alike(head, path, reading)],
    ):
        if candidates:
            return candidates[0] if len(candidates) == 1 else None
    return None


def _has_left(head: Head, path: str) -> bool:
    """Whether a notebook that was kept is no longer at its own path."""
    return head.path != path and not head.is_deleted and not os.path.lexists(head.path)


def _folder_is_there(head: Head) -> bool:
    """Whether its folder is the one it was in: bytes that are also on an unmounted disk were not renamed from it."""
    try:
        device = os.lstat(os.path.dirname(head.path)).st_dev
    except OSError:
        return False
    return head.parent_device is None or device == head.parent_device


def _is_alike(head: Head, path: str, reading: Reading) -> bool:
    """Inodes are reused at once on ext4: it must not have been made since, and the sizes must be of one kind."""
    if head.signature is None:
        return False
    from nbguard.capture.birth import birth_ns  # ctypes, and rarely needed

    born = birth_ns(path)
    if born is not None and born > max(head.signature.ctime_ns, head.signature.mtime_ns):
        return False
    was, now = head.signature.size, reading.signature.size
    return was <= 2 * now and now <= 2 * was
