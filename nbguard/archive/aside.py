"""Drafts that cannot be packed: put aside where they stop nobody, kept, and tried again at the next start."""

from __future__ import annotations

import os
from collections.abc import Iterable

from nbguard.durable import fsync_folder, make_private_folder


def put(new: str, name: str) -> None:
    """Move the draft ``name`` out of a spool's folder ``new``. Raises OSError."""
    folder = _beside(new)
    make_private_folder(folder)
    try:
        os.rename(os.path.join(new, name), os.path.join(folder, name))
    except FileNotFoundError:
        return
    fsync_folder(folder)


def found(new_folders: Iterable[str]) -> list[str]:
    """Paths of what lies aside."""
    paths: list[str] = []
    for new in new_folders:
        try:
            paths += [os.path.join(_beside(new), name) for name in sorted(os.listdir(_beside(new)))]
        except OSError:
            continue
    return paths


def try_again(new_folders: Iterable[str]) -> None:
    """Another chance: the disk may be well again, or nbguard newer."""
    for new in new_folders:
        for path in found([new]):
            try:
                os.rename(path, os.path.join(new, os.path.basename(path)))
            except OSError:
                continue


def _beside(new: str) -> str:
    return os.path.join(os.path.dirname(new), "aside")
