"""How commands speak: stdout is data, stderr is talk; terminal escapes from notebooks never reach a terminal."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Mapping
from os import fsencode

from nbguard.clock import iso
from nbguard.model import Version


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def say(text: str) -> None:
    """A line of talk on stderr."""
    sys.stderr.write(clean(text) + "\n")


def clean(text: str) -> str:
    """Text safe for a terminal: control characters (also C1) and lone surrogates become visible escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def path_fields(path: str) -> Mapping[str, str]:
    """``path``, and ``path_b64`` beside it when the path is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raw = fsencode(path)
        return {"path": raw.decode("utf-8", "replace"), "path_b64": b64encode(raw).decode("ascii")}
    return {"path": path}


def version_fields(version: Version) -> dict[str, object]:
    """One row of ``log --json``; the contract's keys first, ours after."""
    return {
        "id": version.id,
        **path_fields(version.path),
        "saved_at": iso(version.saved_at),
        "bytes": version.size,
        "sha256": version.sha256,
        "cells": version.cells,
        "status": str(version.status),
        "trigger": str(version.trigger),
        "notebook": version.notebook,
        "pinned": version.pinned,
    }
