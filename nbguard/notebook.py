"""What a notebook is, read without nbformat: whether its bytes look complete, and how full they are."""

from __future__ import annotations

import json

from nbguard.model import Measure


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


def _source_chars(cell: object) -> int:
    if not isinstance(cell, dict):
        return 0
    source = cell.get("source", cell.get("input", ""))  # nbformat 2 and 3 call a code cell's source "input"
    if isinstance(source, str):
        return len(source)
    if isinstance(source, list):
        return sum(len(line) for line in source if isinstance(line, str))
    return 0
