"""Every byte of a mirror that is a folder, read again and compared with its checksums, in little memory.

git's own check holds every object in memory (about 170 MB for 360,000 of them): too much for the daemon's children.
Formats: gitformat-pack(5); a pack and its index end with the SHA-1 of all before, a loose object is named by its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from nbguard.errors import ReadBackFailed

DAMAGED_HINT = (
    "its copy is not whole: check its disk, or make a new one (move this one away, then `nbguard mirror add` again)"
)
_CHUNK = 1 << 20
_DIGEST = 20
_LOOSE = re.compile(r"[0-9a-f]{38}")


def check_files(path: str, is_over: Callable[[], bool]) -> None:
    """Read every pack, index and loose object of the repository at ``path``; ends early once ``is_over``.

    Raises ReadBackFailed, OSError. What git removes meanwhile is passed over.
    """
    objects = os.path.join(path, "objects")
    for file in _packs(os.path.join(objects, "pack")):
        _passing_over(partial(_check_sum, file, is_over))
    for name, file in _loose(objects):
        if is_over():
            return
        _passing_over(partial(_check_name, name, file))


def _passing_over(check: Callable[[], None]) -> None:
    try:
        check()
    except FileNotFoundError:
        return


def _packs(folder: str) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        base, suffix = os.path.splitext(name)
        if not name.startswith("pack-") or suffix not in (".pack", ".idx"):
            continue
        if suffix == ".pack" and not os.path.exists(os.path.join(folder, f"{base}.idx")):
            if not os.path.exists(os.path.join(folder, name)):
                continue
            raise ReadBackFailed(f"the mirror is damaged: {name} has no index", hint=DAMAGED_HINT)
        yield os.path.join(folder, name)


def _loose(objects: str) -> Iterator[tuple[str, str]]:
    for folder in sorted(os.listdir(objects)):
        if len(folder) == 2 and folder.isalnum():
            for name in sorted(os.listdir(os.path.join(objects, folder))):
                if _LOOSE.fullmatch(name):
                    yield folder + name, os.path.join(objects, folder, name)


def _check_sum(path: str, is_over: Callable[[], bool]) -> None:
    digest, tail = hashlib.sha1(usedforsecurity=False), b""
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            if is_over():
                return
            tail += chunk
            digest.update(tail[:-_DIGEST])
            tail = tail[-_DIGEST:]
    if digest.digest() != tail:
        raise ReadBackFailed(
            f"the mirror is damaged: {os.path.basename(path)} is not what was written", hint=DAMAGED_HINT
        )


def _check_name(name: str, path: str) -> None:
    digest, inflate = hashlib.sha1(usedforsecurity=False), zlib.decompressobj()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                while chunk:
                    digest.update(inflate.decompress(chunk, _CHUNK))
                    chunk = inflate.unconsumed_tail
        digest.update(inflate.flush())
        is_whole = inflate.eof and digest.hexdigest() == name
    except zlib.error:
        is_whole = False
    if not is_whole:
        raise ReadBackFailed(
            f"the mirror is damaged: the object {name[:12]} is not what was written", hint=DAMAGED_HINT
        )
