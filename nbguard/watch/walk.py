"""One look at every notebook under a root, for those who ask once (status); the daemon sweeps instead."""

from __future__ import annotations

import os
from collections.abc import Iterator

from nbguard.model import Signature
from nbguard.watch.scope import Scope, closed_by_contents


def walk(scope: Scope, unreadable: list[str] | None = None) -> Iterator[tuple[str, Signature]]:
    """Every notebook in scope with what stat says of it. What cannot be read, or goes meanwhile, is passed over.

    Folders that permissions keep us out of are added to ``unreadable``.
    """
    waiting = [scope.root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            if unreadable is not None and isinstance(error, PermissionError):
                unreadable.append(folder)
            continue
        inside = closed_by_contents(os.path.basename(folder), {entry.name for entry in listed})
        if inside is True and folder != scope.root:
            continue
        shut = inside if isinstance(inside, frozenset) else frozenset()
        for entry in listed:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in shut and scope.enters(entry.path):
                        waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and scope.is_notebook(entry.path):
                    status = entry.stat(follow_symlinks=False)
                    yield (
                        entry.path,
                        Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
                    )
            except OSError:
                continue
