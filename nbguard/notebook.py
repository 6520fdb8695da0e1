"""What a notebook is, read without nbformat: whether its bytes look complete, and how full they are."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nbguard.model import Measure

_MOST_MISSED = 16


def looks_complete(data: bytes) -> bool:
    """Cheap and exact for truncation: False for empty, cut or zero-filled bytes.

    Jupyter and nbformat write indented JSON. A raw newline never stands inside a JSON string, so in indented
    JSON the text ``newline, closing brace`` at the margin is the end of the object and of nothing else; a cut copy
    cannot end with it. Other layouts are parsed.
    """
    if not data or data[0] != 0x7B:
        return False
    tail = data[-64:].rstrip(b" \t\r\n")
    if tail.endswith((b"\n}", b"\r}")):
        return b"\0" not in data[-4096:]
    return measure(data) is not None


def measure(data: bytes) -> Measure | None:
    """Cells and source characters of a readable notebook; None when it is not one.

    Readable means what nbformat's reader accepts: UTF-8 without a byte order mark, a JSON object with ``cells``
    (nbformat 4) or ``worksheets`` (2 and 3). Never raises.
    """
    try:
        return measure_strictly(data)
    except MemoryError:
        return None


def measure_strictly(data: bytes) -> Measure | None:
    """As measure, but raises MemoryError: a lack of memory says nothing of the notebook."""
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(notebook, dict):
        return None
    cells = notebook.get("cells")
    if cells is None:
        worksheets = notebook.get("worksheets")
        if not isinstance(worksheets, list):
            return None
        cells = [
            cell
            for sheet in worksheets
            if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
            for cell in sheet["cells"]
        ]
    if not isinstance(cells, list):
        return None
    return Measure(len(cells), sum(_source_chars(cell) for cell in cells))


@dataclass(frozen=True, slots=True)
class _Cell:
    """The text between a cell's braces, and the characters of its source."""

    text: bytes
    source_chars: int


class Remeasuring:
    """Measures the same notebooks again and again: of a save, only the cells that changed are parsed.

    Jupyter writes every cell's braces on lines of their own. So the text falls into cells without being parsed; if
    each of them is an object, and what stands around them is one with nothing in ``cells``, then the whole is what
    measure() would find. Whatever is laid out otherwise is parsed whole. One thread.
    """

    _HEAD = b'{\n "cells": [\n  {\n'
    _BETWEEN = b"\n  },\n  {\n"
    _TAIL = b"\n  }\n ],\n"

    def __init__(self, most_bytes: int = 12_000_000) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        self._known: dict[str, tuple[list[_Cell], bytes]] = {}  # cells and tail; the least recently measured first

    def measure(self, name: str, data: bytes) -> Measure | None:
        """As measure(); ``name`` says which notebook it is."""
        old, old_tail = self._known.pop(name, ([], b""))
        self._held -= _size(old)
        end = data.rfind(self._TAIL)
        if end < len(self._HEAD) or not data.startswith(self._HEAD):
            return measure(data)
        tail = data[end + len(self._TAIL) :]
        try:
            if tail != old_tail and "cells" in _object(b"{" + tail):
                return measure(data)
            cells = self._cells(data, end, old)
        except (ValueError, RecursionError, MemoryError):
            return measure(data)
        self._remember(name, cells, tail)
        return Measure(len(cells), sum(cell.source_chars for cell in cells))

    def _cells(self, data: bytes, end: int, old: list[_Cell]) -> list[_Cell]:
        """All cells; those that are met again in ``old``, in its order, are not parsed. Raises as _object()."""
        cells = []
        at, following, missed = len(self._HEAD), 0, 0
        while True:
            known = following
            for cell in old[following : following + 2 + missed]:
                after = at + len(cell.text)
                if data.startswith(cell.text, at) and (after == end or data.startswith(self._BETWEEN, after, end)):
                    following, missed = known + 1, 0
                    break
                known += 1
            else:
                stop = data.find(self._BETWEEN, at, end)
                text = data[at : stop if stop >= 0 else end]
                cell = _Cell(text, _source_chars(_object(b"{" + text + b"}")))
                missed = min(missed + 1, _MOST_MISSED)
            cells.append(cell)
            at += len(cell.text)
            if at == end:
                return cells
            at += len(self._BETWEEN)

    def _remember(self, name: str, cells: list[_Cell], tail: bytes) -> None:
        self._known[name] = (cells, tail)
        self._held += _size(cells)
        while self._held > self._most_bytes:
            self._held -= _size(self._known.pop(next(iter(self._known)))[0])


def _size(cells: list[_Cell]) -> int:
    return sum(len(cell.text) for cell in cells)


def _object(text: bytes) -> dict[str, object]:
    """One JSON object with something in it, parsed as deep as it lies in a notebook.

    Raises ValueError, RecursionError.
    """
    match json.loads(f"[[{text.decode('utf-8')}]]"):
        case [[dict(found)]] if found:
            return found
    raise ValueError("not one object")


def _source_chars(cell: object) -> int:
    if not isinstance(cell, dict):
        return 0
    source = cell.get("source", cell.get("input", ""))  # nbformat 2 and 3 call a code cell's source "input"
    if isinstance(source, str):
        return len(source)
    if isinstance(source, list):
        return sum(len(line) for line in source if isinstance(line, str))
    return 0
