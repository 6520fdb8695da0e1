"""Executed cells as a file to open: py:percent, as jupytext reads it, or a notebook. Nothing is run.

The source is what was typed, magics and ``!`` lines included. Three ways to write a cell, the first that gives back
exactly this source: plain, with its magics commented; all of it commented; all of it quoted. How jupytext reads:
its cell_reader.py, magics.py and stringparser.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import iso


@dataclass(frozen=True, slots=True)
class ExportedCell:
    """One cell to write: its line in the session (None where that is not known), and when it ran."""

    source: str
    line: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class PyText:
    """A py:percent file, and how many of its cells could not be written exactly (odd line ends, broken Unicode)."""

    text: str
    inexact: int


_HEADER = """# ---
# jupyter:
#   jupytext:
#     comment_magics: true
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---
"""

# Characters that Python's splitlines, and so jupytext, takes for the end of a line, and those no UTF-8 file holds.
_ODD_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BROKEN = re.compile("[\ud800-\udfff]")

_MARKER = re.compile(r"^\s*#\s*(%%%*\s.*|(%%|<codecell>|In\[[0-9 ]*\]:?)\s*)$")
_CODE_START = re.compile(r"^(# |#)*(#|# )\+")
# Lines that jupytext may take for magics, whatever comment signs stand before them.
_WILD = re.compile(
    r"^[\s#]*(%{1,3}[A-Za-z]|[!?]\s*[A-Za-z.~$\\/{}]|(cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren)(\s|$)"
    r"|\S*\?\s*$|[A-Za-z_$0-9]+\s*=\s*[%!])"
)
# Those that it surely knows for magics, and that were no comments before.
_MAGIC = re.compile(
    r"\s*%[A-Za-z]|\s*[!?]\s*[A-Za-z.~$\\/{}]|[A-Za-z_][A-Za-z_0-9]*\s*=\s*[%!][A-Za-z]|[A-Za-z_][A-Za-z_0-9.]*\?$"
)
_LEFT_ALONE = re.compile(r"\\\s*$|#\s*(no)?escape")


def as_percent(cells: Iterable[ExportedCell]) -> PyText:
    """A py:percent file; what cannot stand in one is replaced, and counted."""
    parts = [_HEADER]
    inexact = 0
    for cell in cells:
        source = _ODD_ENDS.sub("\n", cell.source)
        source = _BROKEN.sub("\N{REPLACEMENT CHARACTER}", source)
        text = _plain(source) or _commented(source) or _quoted(source)
        if text is None or source != cell.source:
            inexact += 1
        parts.append((text or _commented(source, anyway=True) or "") + "\n")
    return PyText("\n".join(parts), inexact)


def as_notebook(cells: Sequence[ExportedCell], session: str) -> bytes:
    """A notebook (nbformat 4.5) without outputs; ``metadata.nbguard`` says where each cell comes from."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": cell.line if cell.line is not None and cell.line >= 0 else None,
                "id": f"cell-{number}",
                "metadata": {"nbguard": {"session": session, "line": cell.line, "executed_at": iso(cell.at)}},
                "outputs": [],
                "source": cell.source.splitlines(keepends=True),
            }
            for number, cell in enumerate(cells, 1)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "nbguard": {"session": session},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    try:
        return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: as an escape it survives
        return (json.dumps(notebook, indent=1) + "\n").encode("ascii")


def _plain(source: str) -> str | None:
    """As code, its magics commented; None where jupytext would read it otherwise."""
    lines = source.split("\n")
    if source and not lines[-1].strip():
        return None  # blank lines at the end of a cell are taken for those between cells
    if source.startswith("%%"):
        return None  # its body is another language: as comments the file stays valid Python
    written = []
    quotes = _Quotes()
    for line in lines:
        if _CODE_START.match(line):
            return None
        if not quotes.is_open:
            if _MARKER.match(line):
                return None
            if _WILD.match(line):
                if not _MAGIC.match(line) or _LEFT_ALONE.search(line):
                    return None
                bare = line.lstrip()
                line = f"{line[: len(line) - len(bare)]}# {bare}"  # noqa: PLW2901 - this is the line as written
                if _MARKER.match(line):
                    return None
        quotes.read(line)
        written.append(line)
    if quotes.is_open:
        return None
    return "\n".join(["# %%", *written]) if source else "# %%"


def _commented(source: str, *, anyway: bool = False) -> str | None:
    """All of it as comments: jupytext takes away one comment sign from each line, and nothing else."""
    lines = [f"# {line}" for line in source.split("\n")]
    if not anyway and any(_MARKER.match(line) for line in lines):
        return None
    return "\n".join(['# %% active="ipynb"', *lines])


def _quoted(source: str) -> str | None:
    """All of it between quotes: for lines that are a cell's marker once they are comments."""
    for quote in ('"""', "'''"):
        if quote not in source and not source.endswith("\n"):
            return "\n".join(['# %% active="ipynb"', quote, source, quote])
    return None


class _Quotes:
    """Whether a line begins within triple quotes, as jupytext counts them (not as Python does)."""

    def __init__(self) -> None:
        self._triple: str | None = None

    @property
    def is_open(self) -> bool:
        return self._triple is not None

    def read(self, line: str) -> None:
        """Go on over one line."""
        if self._triple is None and line.lstrip().startswith("#"):
            return
        single: str | None = None
        begun = -1
        for at, char in enumerate(line):
            if single is None and self._triple is None and char == "#":
                break
            if char not in "\"'" or line[at - 1 : at] == "\\":
                continue
            if single is not None:
                if single == char:
                    single = None
                continue
            if line[at - 2 : at + 1] == 3 * char and at >= begun + 3:
                if self._triple is None or self._triple == char:
                    self._triple = char if self._triple is None else None
                    begun = at
                continue
            if self._triple is None:
                single = char
