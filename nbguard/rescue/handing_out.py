"""Everything found, put below one folder: files as they are, sessions as .py and .ipynb, the unlinked ones apart."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from nbguard.errors import NbguardError, StorageTrouble, said
from nbguard.executed import Confidence
from nbguard.names import SUFFIX
from nbguard.rescue.findings import File, Finding, Session, SourceName
from nbguard.rescue.writing import Output, safe_name

Export = Callable[[Session], tuple[bytes, bytes]]
"""A session as py:percent and as a notebook."""

_KEPT = frozenset({SourceName.ARCHIVE, SourceName.SPOOL})


def hand_out(found: Sequence[Finding], output: Output, export: Export) -> tuple[dict[int, str], list[str]]:
    """Write what is worth it; (the file of each finding by its number, what could not be read any more).

    Of the versions that nbguard keeps, the newest good one and the fullest are written: `restore` gives the others.
    Raises StorageTrouble, Refused.
    """
    places: dict[int, str] = {}
    lost: list[str] = []
    for number in _worth_it(found):
        finding = found[number]
        try:
            places[number] = _hand_out_one(finding, output, export)
        except StorageTrouble:
            raise
        except (OSError, NbguardError, sqlite3.Error) as error:
            lost.append(f"{finding.source}: {finding.path}: {said(error)}")
    return places, lost


def _hand_out_one(finding: Finding, output: Output, export: Export) -> str:
    if isinstance(finding.content, File):
        return output.write("found", _file_name(finding), finding.content.read())
    folder = "unlinked" if finding.confidence is Confidence.UNKNOWN else "sessions"
    script, notebook = export(finding.content)
    stem = safe_name(f"{finding.source}-{finding.content.id}")
    output.write(folder, f"{stem}.py", script)
    return output.write(folder, f"{stem}.ipynb", notebook)


def _file_name(finding: Finding) -> str:
    """For example ``eda--git-2026-11-21-0930.ipynb``: the notebook first, so that a listing is sorted by it."""
    name = os.path.basename(finding.notebook or finding.path).removesuffix(SUFFIX)
    when = f"-{finding.time:%Y-%m-%d-%H%M%S}" if finding.time is not None else ""
    return f"{safe_name(name)}--{finding.source}{when}{SUFFIX}"


def _worth_it(found: Sequence[Finding]) -> Iterator[int]:
    chosen: set[int] = set()
    lineages: dict[str, list[int]] = {}
    for number, finding in enumerate(found):
        if finding.source in _KEPT:
            lineages.setdefault(finding.notebook or finding.path, []).append(number)
        else:
            chosen.add(number)
    for numbers in lineages.values():
        good = [number for number in numbers if not found[number].note] or numbers
        chosen.add(good[0])
        chosen.add(max(good, key=lambda number: (found[number].cells or 0, found[number].size)))
    yield from sorted(chosen)
