"""The finished zip, opened anew: every member is read and compared with what was written, and the seal."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from hashlib import sha256

from nbguard.errors import StorageTrouble
from nbguard.package.contents import Member
from nbguard.package.manifest import Rows
from nbguard.package.restore import SEAL
from nbguard.ports import Progress

_CHUNK = 1 << 20


def check(path: str, rows: Rows, manifest: Member, progress: Progress) -> tuple[int, str]:
    """The zip's size in bytes and its SHA-256. Raises StorageTrouble when it is not what was written, OSError."""
    try:
        with zipfile.ZipFile(path) as opened:
            infos = opened.infolist()
            if len(infos) != rows.count + 1:
                raise _bad(f"it has {len(infos)} members instead of {rows.count + 1}")
            for number, (info, (name, digest)) in enumerate(zip(infos, _written(rows, manifest), strict=True)):
                progress(number, len(infos))
                if info.filename != name or _digest(opened, info) != digest:
                    raise _bad(f"{name} does not come back as it was written")
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise _bad(str(error)) from error
    return os.path.getsize(path), _sealed(path)


def _written(rows: Rows, manifest: Member) -> Iterator[tuple[str, str]]:
    rows.flush()
    with open(rows.path, encoding="ascii") as file:
        for line in file:
            if text := line.strip(" ,\n"):
                row = json.loads(text)
                yield row["path"], row["sha256"]
    yield manifest.path, manifest.sha256


def _digest(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    digest = sha256()
    with opened.open(info) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sealed(path: str) -> str:
    digest, left = sha256(), os.path.getsize(path) - 64
    tail = b""
    with open(path, "rb") as file:
        while left:
            chunk = file.read(min(_CHUNK, left))
            digest.update(chunk)
            left -= len(chunk)
            tail = (tail + chunk)[-len(SEAL) :]
        seal = file.read()
    if tail != SEAL or seal != digest.hexdigest().encode("ascii"):
        raise _bad("its seal is not the one that was written")
    digest.update(seal)
    return digest.hexdigest()


def _bad(why: str) -> StorageTrouble:
    return StorageTrouble(f"the package cannot be read back: {why}", hint="check the disk, or write it to another one")
