"""Where things go in a package: names that every file system and every unzip program takes, each used once.

Characters that some system refuses are written as ``%XX`` (the manifest has the exact path); what is too long is cut,
and what differs only in case from another name gets a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from unicodedata import normalize

from nbguard.package.restore import why_refused

NOTEBOOKS = "notebooks"
VERSIONS = "versions"
REBUILT = "rebuilt"
EXECUTED = "executed"
DATABASES = "databases"
PAGES = "pages"
BUNDLE = "bundle/notebooks.bundle"

EscapeComponent = Callable[[str], str]
"""One component of a path, made safe for git and common file systems, reversibly."""

_LONGEST_PART_BYTES = 180  # Leaves room for a number, and for what unzip programs add.
_LONGEST_FOLDER_BYTES = 1500
_UNSEEN = re.compile("[\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Names:
    """Gives every member its name; none is given twice, also not in another case or another Unicode form."""

    def __init__(self, escape: EscapeComponent) -> None:
        self._escape = escape
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}

    def file(self, top: str, path: str, suffix: str = "") -> str:
        """A file below ``top`` for an absolute path, with ``suffix`` before its extension (``.rebuilt``)."""
        *folders, name = self._parts(path)
        stem, dot, extension = name.rpartition(".")
        if not dot or len(extension) > 8:
            stem, extension = name, ""
        stem = _cut(stem, _LONGEST_PART_BYTES - len(suffix) - len(extension) - 1)
        return self._unused(self._folder(top, folders), stem + suffix, f".{extension}" if extension else "")

    def folder_for(self, top: str, path: str) -> str:
        """A folder of its own below ``top``, called as the notebook."""
        *folders, name = self._parts(path)
        return self._unused(self._folder(top, folders), _cut(name, _LONGEST_PART_BYTES), "")

    def inside(self, folder: str, stem: str, extension: str) -> str:
        """A file in a folder given before."""
        return self._unused(folder, _cut(self._clean(stem), _LONGEST_PART_BYTES), extension)

    def _parts(self, path: str) -> list[str]:
        return [self._clean(part) for part in path.split("/") if part] or ["%2F"]

    def _clean(self, part: str) -> str:
        return _UNSEEN.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), self._escape(part))

    def _folder(self, top: str, folders: list[str]) -> str:
        """The folder of these parts, spelt as it was first; a twin in another case becomes a folder of its own."""
        if len("/".join(folders).encode()) > _LONGEST_FOLDER_BYTES:
            folders = ["deep", sha256("/".join(folders).encode()).hexdigest()[:16]]
        here, meant = top, top
        for part in folders:
            meant = f"{meant}/{part}"
            if meant not in self._folders:
                self._folders[meant] = self._unused(here, _cut(part, _LONGEST_PART_BYTES), "")
            here = self._folders[meant]
        return here

    def _unused(self, folder: str, stem: str, extension: str) -> str:
        number = 1
        while True:
            name = f"{folder}/{stem}{f'~{number}' if number > 1 else ''}{extension}"
            key = _key(name)
            if key not in self._files:
                self._files.add(key)
                assert not why_refused(name), name
                return name
            number += 1


def stamp(moment: datetime) -> str:
    """A time in a file's name: ``20261121T093000Z``."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _key(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())


def _cut(text: str, most: int) -> str:
    """At most so many bytes; what is cut leaves a digest behind, so that two long names stay two."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    digest = sha256(raw).hexdigest()[:8]
    return raw[: most - 9].decode("utf-8", "ignore").rstrip(". %") + "-" + digest
