"""The texts that sessions and nameless contents are compared with: what was found of the notebook, and the others."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from nbguard.errors import NbguardError
from nbguard.executed import Confidence
from nbguard.rescue.findings import File, Finding, Session, Wanted
from nbguard.rescue.matching import in_order
from nbguard.rescue.reading import read_regular

_MOST_NOTEBOOKS = 1_000
_MOST_NOTEBOOK_BYTES = 16_000_000
_MOST_SECONDS = 15.0
_MOST_STATES = 5  # of each source, the newest
_SURE = frozenset({Confidence.EXACT, Confidence.PROBABLE})


def texts_to_compare(
    found: Sequence[Finding],
    wanted: Wanted,
    present: Sequence[str],
    others: Iterable[str],
    monotonic: Callable[[], float],
) -> dict[str, list[str]]:
    """Sources of cells by notebook; all that was found of the wanted one under its first path.

    Nothing is read when there is nothing to compare with it. ``others`` are notebooks that lie there.
    """
    texts: dict[str, list[str]] = {}
    deadline = monotonic() + _MOST_SECONDS
    taken: Counter[tuple[str, str]] = Counter()
    for finding in in_order(found):
        if finding.confidence in _SURE and isinstance(finding.content, File) and finding.notebook:
            key = wanted.paths[0] if wanted.paths else finding.notebook
            taken[key, finding.source] += 1
            if taken[key, finding.source] > _MOST_STATES or monotonic() > deadline:
                continue
            texts.setdefault(key, []).extend(_read(finding.content.read))
    for path in present:
        texts.setdefault(wanted.paths[0], []).extend(_of_file(path))
    if not any(isinstance(each.content, Session) and each.confidence is Confidence.UNKNOWN for each in found):
        return texts
    known = set(wanted.paths) | set(present)
    for count, path in enumerate(others):
        if count >= _MOST_NOTEBOOKS or monotonic() > deadline:
            break
        if path not in known:
            texts.setdefault(path, []).extend(_of_file(path))
    return texts


def sources_of(data: bytes) -> list[str]:
    """The sources of a notebook's code cells; none when it is not a notebook. Never raises."""
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError):
        return []
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    holders = [notebook, *(sheets if isinstance(sheets, list) else [])]
    sources: list[str] = []
    for holder in holders:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        sources += [
            _joined(cell.get("source", cell.get("input", "")))
            for cell in (cells if isinstance(cells, list) else [])
            if isinstance(cell, dict) and cell.get("cell_type") == "code"
        ]
    return [source for source in sources if source.strip()]


def _joined(value: object) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _read(read: Callable[[], bytes]) -> list[str]:
    try:
        return sources_of(read())
    except (OSError, NbguardError):
        return []


def _of_file(path: str) -> list[str]:
    try:
        if os.stat(path).st_size > _MOST_NOTEBOOK_BYTES:
            return []
    except OSError:
        return []
    return _read(lambda: read_regular(path))
