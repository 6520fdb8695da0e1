"""Every notebook on disk against what is known to be durable: nobody's word is taken but that of equal bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping

from nbguard.health.ages import Ages
from nbguard.health.facts import Unprotected
from nbguard.model import Head, Heartbeat, Signature


def unprotected(
    on_disk: Mapping[str, Signature],
    heads: Mapping[str, Head],
    *,
    digest: Callable[[str], str | None],
    rehash: Callable[[str], bool],
    ages: Ages,
    beat: Heartbeat | None,
    awake_since: float = 0.0,
) -> tuple[Unprotected, ...]:
    """Notebooks whose bytes are not those of their head.

    Equal signatures are believed, but for those that ``rehash`` picks; a file that was only touched (same size, new
    times) is read, so that `touch` raises no alarm.
    """
    found = []
    for path, signature in on_disk.items():
        head, is_hidden = heads.get(path), False
        if head is not None:
            if head.signature == signature:
                if not rehash(path) or _is_as_kept(path, head, signature, digest):
                    continue
                is_hidden = True
            else:
                same_size = head.signature is None or head.signature.size == signature.size
                if same_size and digest(path) == head.sha256:
                    continue
        changed = max(signature.mtime_ns, signature.ctime_ns) / 1e9
        reachable = max(awake_since, _reachable_since(path, beat, is_new=head is None))
        found.append(
            Unprotected(
                path=path,
                size=signature.size,
                quiet_seconds=ages.of(changed),
                waiting_seconds=min(ages.of(changed), ages.of(reachable)),
                is_hidden=is_hidden,
            )
        )
    return tuple(found)


def digest_file(path: str) -> str | None:
    """SHA-256 of a file's bytes in hex; None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _is_as_kept(path: str, head: Head, signature: Signature, digest: Callable[[str], str | None]) -> bool:
    """Read it, though nothing says that it changed. A file that is saved meanwhile is looked at the next time."""
    found = digest(path)
    if found is None or found == head.sha256:
        return True
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return True
    now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    then = (signature.device, signature.inode, signature.size, signature.mtime_ns, signature.ctime_ns)
    return now != then


def _reachable_since(path: str, beat: Heartbeat | None, *, is_new: bool) -> float:
    """The wall-clock second since which this daemon can have seen the notebook (0 when no daemon says).

    A folder that is moved into a root brings notebooks whose own times are old; its own ctime tells. That excuses only
    what has no version yet, and only until the next sweep: in a busy folder the ctime is always new.
    """
    if beat is None or beat.stopped:
        return 0.0
    since = beat.since.timestamp()
    report = next((report for report in beat.roots if path.startswith(report.path.rstrip("/") + "/")), None)
    if is_new and report is not None:
        swept = report.last_sweep_at.timestamp() if report.last_sweep_at is not None else since
        folder = os.path.dirname(path)
        while len(folder) >= len(report.path):
            try:
                moved = os.stat(folder).st_ctime
            except OSError:
                break
            if moved > swept:
                since = max(since, moved)
            folder = os.path.dirname(folder) if folder != "/" else ""
    return since
