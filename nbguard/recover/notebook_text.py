"""Cells as the bytes of a notebook file (nbformat 4.5), laid out as Jupyter writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nbguard.recover.sound_cells import Json, in_lines

_PYTHON: Json = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook_text(cells: Sequence[Json], metadata: Json) -> bytes:
    """The file's bytes. Sources are text here; without kernel or language in ``metadata`` it is a Python notebook.

    Lone surrogates, which are no text, are written as JSON escapes; the whole file is ASCII then.
    """
    known = "kernelspec" in metadata or "language_info" in metadata
    notebook = {
        "cells": [{**cell, "source": in_lines(str(cell["source"]))} for cell in cells],
        "metadata": metadata if known else {**_PYTHON, **metadata},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    try:
        return _dumped(notebook, ascii_only=False).encode("utf-8")
    except UnicodeEncodeError:
        return _dumped(notebook, ascii_only=True).encode("ascii")


def markdown_cell(identity: str, source: str, metadata: Json) -> Json:
    """A text cell of ours."""
    return {"cell_type": "markdown", "id": identity, "metadata": metadata, "source": source}


def code_cell(identity: str, source: str, *, count: int | None, outputs: list[Json], metadata: Json) -> Json:
    """A code cell; ``count`` is its execution count."""
    return {
        "cell_type": "code",
        "execution_count": count,
        "id": identity,
        "metadata": metadata,
        "outputs": outputs,
        "source": source,
    }


def _dumped(notebook: Json, *, ascii_only: bool) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=ascii_only, sort_keys=True) + "\n"
