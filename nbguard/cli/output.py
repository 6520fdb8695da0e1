"""How commands speak: stdout is data, stderr is talk; terminal escapes from notebooks never reach a terminal."""

from __future__ import annotations

import json
import sys
from os import fsencode
from typing import TYPE_CHECKING

from nbguard.clock import SystemClock, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbguard.model import Version


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def print_json_array(items: Iterable[object]) -> None:
    """One JSON array on stdout, as print_json writes it, each item as it comes; whole also when the items break off."""
    before = "["
    try:
        for item in items:
            text = json.dumps([item], indent=2, ensure_ascii=True)
            sys.stdout.write(before + text[1:-2])
            if before == "[":
                sys.stdout.flush()  # whoever reads this need not wait for the rest
            before = ","
    finally:
        sys.stdout.write("[]\n" if before == "[" else "\n]\n")


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


def one_line(text: str) -> str:
    """As :func:`clean`, and on one line: for names in tables."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


def print_line(text: str) -> None:
    """A line of data for people on stdout."""
    sys.stdout.write(one_line(text) + "\n")


def print_bytes(data: bytes) -> None:
    """Bytes as they are on stdout."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def path_fields(path: str, key: str = "path") -> dict[str, str]:
    """``path``, and ``path_b64`` beside it when the path is not UTF-8; under another ``key`` likewise."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        from base64 import b64encode

        raw = fsencode(path)
        return {key: raw.decode("utf-8", "replace"), f"{key}_b64": b64encode(raw).decode("ascii")}
    return {key: path}


def table(rows: Iterable[Sequence[str]], right: str = "") -> list[str]:
    """Aligned columns, the last one ragged; columns whose letter in ``right`` is ``r`` are aligned right."""
    cleaned = [[one_line(field) for field in row] for row in rows]
    if not cleaned:
        return []
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    lines = []
    for row in cleaned:
        fields = [
            field.rjust(width) if right[at : at + 1] == "r" else field.ljust(width)
            for at, (field, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(fields).rstrip())
    return lines


def size(count: int) -> str:
    """Bytes for people: ``350.1 kB`` (powers of 1000)."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 999.95:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


class Bar:
    """Progress on stderr: only on a terminal, only when the wait is over a second. Call it with (done, total)."""

    WAIT_SECONDS = 1.0
    EVERY_SECONDS = 0.1

    def __init__(self, label: str) -> None:
        self._label = label
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = self._clock.monotonic()
        if not sys.stderr.isatty() or now - self._began < self.WAIT_SECONDS:
            return
        if done >= total > 0:
            self.clear()
        elif now - self._drawn >= self.EVERY_SECONDS:
            self._drawn = now
            share = f"{'#' * (24 * done // total):<24} {done}/{total}" if total else str(done)
            sys.stderr.write(f"\r{self._label} {share}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away, if it was drawn."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = 0.0


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
