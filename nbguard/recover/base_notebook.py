"""The last good version as nbformat 4.5 cells, whatever format it has: bytes in, values out."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass

from nbguard.recover.sound_cells import Json, fresh_id, sound_cell


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseNotebook:
    """Cells with ids that differ, and the notebook's metadata. ``left_out`` counts entries that were no cells."""

    cells: tuple[Json, ...]
    metadata: Json
    left_out: int = 0


def read_base(data: bytes) -> BaseNotebook | None:
    """A notebook of nbformat 1 to 4 (or later, as far as it reads as 4); None when it is none. Never raises."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
        if not isinstance(notebook, dict):
            return None
        if "cells" not in notebook:
            notebook = _converted(data)
        cells = notebook.get("cells")
    except (ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(cells, list):
        return None
    taken: set[str] = set()
    sound = [_with_id(sound_cell(cell), number, taken) for number, cell in enumerate(cells) if isinstance(cell, dict)]
    return BaseNotebook(
        cells=tuple(sound), metadata=_metadata(notebook.get("metadata")), left_out=len(cells) - len(sound)
    )


def _converted(data: bytes) -> Json:
    """What nbformat makes of an older notebook. Raises ValueError."""
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # nbformat 5.11 ships type hints, and leaves its readers without
            text = json.dumps(nbformat.reads(data.decode("utf-8-sig"), as_version=4))  # type: ignore[no-untyped-call]
    except Exception as error:  # nbformat raises whatever its input makes it trip over
        raise ValueError(str(error)) from error
    notebook = json.loads(text)
    return notebook if isinstance(notebook, dict) else {}


def _with_id(cell: Json, number: int, taken: set[str]) -> Json:
    """The cell with an id nobody else has: its own, if it is the first to claim it."""
    identity = cell.get("id")
    if isinstance(identity, str) and identity not in taken:
        taken.add(identity)
        return cell
    return {**cell, "id": fresh_id(f"base\0{number}\0{cell['source']}", taken)}


def _metadata(raw: object) -> Json:
    """The notebook's metadata; keys whose form nbformat prescribes are left out when they have another."""
    if not isinstance(raw, dict):
        return {}
    kept: Json = dict(raw)
    kept.pop("orig_nbformat", None)
    for key, needed in (("kernelspec", ("name", "display_name")), ("language_info", ("name",))):
        value = kept.get(key)
        if key in kept and not (isinstance(value, dict) and all(isinstance(value.get(name), str) for name in needed)):
            del kept[key]
    info = kept.get("language_info")
    if isinstance(info, dict):
        kept["language_info"] = {key: value for key, value in info.items() if _is_sound(key, value)}
    if "title" in kept and not isinstance(kept["title"], str):
        del kept["title"]
    authors = kept.get("authors")
    if "authors" in kept and not (isinstance(authors, list) and all(_is_author(author) for author in authors)):
        del kept["authors"]
    return kept


def _is_sound(key: str, value: object) -> bool:
    if key == "codemirror_mode":
        return isinstance(value, str | dict)
    return key not in ("file_extension", "mimetype", "pygments_lexer") or isinstance(value, str)


def _is_author(author: object) -> bool:
    return isinstance(author, dict) and isinstance(author.get("name", ""), str)
