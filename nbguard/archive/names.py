"""Paths on disk to paths in the archive's tree and back, reversibly.

A component that `git fsck --strict` or a common file system would refuse is percent-escaped. Sources: git's
fsck.c and path.c (``.git`` in HFS and NTFS disguises, ``.gitmodules`` and its kin), NTFS (reserved characters and
names, trailing dot or space), APFS (names must be UTF-8).
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

TREE = "notebooks"

_REFUSED_BYTES = re.compile(rb'[\x00-\x1f\x7f%\\:*?"<>|]')
_GIT_NAMES = re.compile(
    r"^(?:\.git|git~\d+|\.gitmodules|\.gitattributes|\.gitignore|\.mailmap|(?:gitmod|gitatt|gitign|mailma)~\d+"
    r"|gi[0-9a-f]{4,6}~\d+|ma[0-9a-f]{4,6}~\d+)[ .]*$"
)
_WINDOWS_DEVICES = re.compile(r"^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?$")
# Code points that HFS+ ignores when it compares names (git's utf8.c, next_hfs_char).
_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF], None)


def tree_path(path: str) -> str:
    """The path in the tree, e.g. ``notebooks/home/ada/eda.ipynb``; always valid UTF-8."""
    parts = [part for part in path.split("/") if part]
    return "/".join([TREE, *(escape_component(part) for part in parts)])


def disk_path(tree: str) -> str:
    """The reverse of :func:`tree_path`: an absolute path. Raises ValueError."""
    first, _, rest = tree.partition("/")
    if first != TREE or not rest:
        raise ValueError(f"{tree!r} is not below {TREE}/")
    return "/" + "/".join(unescape_component(part) for part in rest.split("/"))


@lru_cache(maxsize=4096)  # folders repeat in every path below them
def escape_component(name: str) -> str:
    """One path component, made safe; ordinary names stay as they are."""
    if name.isascii() and name.isalnum() and not _WINDOWS_DEVICES.match(name.lower()):
        return name  # the common case, told apart quickly
    raw = _REFUSED_BYTES.sub(lambda found: b"%%%02X" % found.group()[0], os.fsencode(name))
    text = "".join(
        f"%{ord(character) - 0xDC00:02X}" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in raw.decode("utf-8", "surrogateescape")
    )
    if text.endswith((".", " ")):
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    if _is_refused(text):
        head, rest = text[0].encode("utf-8"), text[1:]
        text = "".join(f"%{byte:02X}" for byte in head) + rest
    return text


def unescape_component(text: str) -> str:
    """The reverse of :func:`escape_component`."""
    if "%" not in text:
        return text
    raw = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found.group(1), 16)]), text.encode("utf-8"))
    return os.fsdecode(raw)


def _is_refused(text: str) -> bool:
    folded = text.translate(_HFS_IGNORED).lower()
    return folded in (".", "..", "") or bool(_GIT_NAMES.match(folded) or _WINDOWS_DEVICES.match(folded))


def fast_import_path(tree: str) -> bytes:
    """A tree path as fast-import wants it: C-quoted, so that spaces, quotes and leading dashes mean nothing."""
    raw = tree.encode("utf-8").replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'
