"""A version with outputs that were recorded later than its save: of cells whose source is that of a later run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nbguard.executed import Run
from nbguard.recover.sound_cells import Json, in_lines, joined, normal, read_outputs

OutputsOf = Callable[[str], str | None]
"""The JSON text of a run's outputs by its id; None when they are not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The notebook's bytes (the very same when nothing was filled in), and what became of its cells.

    ``gone`` cells ran later, but their outputs were not recorded or are pruned; of ``unclear`` ones there are several
    with the same source, and fewer runs than those.
    """

    data: bytes
    filled: int = 0
    gone: int = 0
    unclear: int = 0

    def in_words(self) -> str:
        """What became of it, on one line."""
        told = f"outputs recorded after the save: filled in for {self.filled} cell{'' if self.filled == 1 else 's'}"
        if self.gone:
            told += f"; not to be had any more for {self.gone}"
        if self.unclear:
            told += f"; unclear whose they are for {self.unclear} with the same source"
        return told


def complete(data: bytes, *, runs: Sequence[Run], outputs_of: OutputsOf, saved_at: datetime, version: str) -> Completed:
    """Fill in what ``runs`` (oldest first) left after ``saved_at``; each cell says so in ``metadata.nbguard``.

    Bytes that are no notebook of format 4 come back as they are. Of several cells with one source, the newest runs are
    theirs in order.
    """
    notebook = _notebook(data)
    if notebook is None:
        return Completed(data=data)
    later: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.source.strip() and run.started_at > saved_at:
            later[normal(run.source)].append(run)
    cells: dict[str, list[Json]] = defaultdict(list)
    for cell in _cells(notebook):
        cells[normal(joined(cell.get("source")))].append(cell)
    filled = gone = unclear = 0
    for source, same in cells.items():
        found = later.get(source, [])
        if not found:
            continue
        if len(found) < len(same):
            unclear += len(same)
            continue
        for cell, run in zip(same, found[-len(same) :], strict=True):
            if _fill(cell, run, outputs_of):
                filled += 1
            else:
                gone += 1
    if not filled:
        return Completed(data=data, gone=gone, unclear=unclear)
    _mark(notebook, {"version": version, "outputs_filled_in": filled})
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return Completed(data=text.encode("utf-8", "surrogatepass"), filled=filled, gone=gone, unclear=unclear)


def _fill(cell: Json, run: Run, outputs_of: OutputsOf) -> bool:
    outputs: list[Json] | None = []
    if run.outputs:
        text = outputs_of(run.id)
        outputs = read_outputs(text) if text is not None else None
    elif run.note:
        return False  # what it showed was left out: the older outputs are worth more than none
    if outputs is None:
        return False
    before = cell.get("outputs")
    mark: Json = {
        "source": "recorder",
        "run": run.id,
        "recorded_at": f"{(run.ended_at or run.started_at).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "status": run.status,
        "replaced_outputs": len(before) if isinstance(before, list) else 0,
    }
    if run.note:
        mark["note"] = run.note
    cell["outputs"] = [_in_lines(output) for output in outputs]
    cell["execution_count"] = run.execution_count
    _mark(cell, {"outputs": mark})
    return True


def _in_lines(output: Json) -> Json:
    text = output.get("text")
    return {**output, "text": in_lines(text)} if isinstance(text, str) else output


def _mark(thing: Json, mark: Json) -> None:
    metadata = thing.get("metadata")
    kept: Json = metadata if isinstance(metadata, dict) else {}
    ours = kept.get("nbguard")
    thing["metadata"] = {**kept, "nbguard": {**(ours if isinstance(ours, dict) else {}), **mark}}


def _notebook(data: bytes) -> Json | None:
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("nbformat") == 4 else None


def _cells(notebook: Json) -> list[Json]:
    cells = notebook.get("cells")
    return [
        cell
        for cell in (cells if isinstance(cells, list) else [])
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]
