"""The complete log of a rebuild: every executed cell in order, as a notebook that loses none of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nbguard.recover.found import FoundCell
from nbguard.recover.notebook_text import code_cell, markdown_cell, notebook_text
from nbguard.recover.outputs import shown_outputs, sound_count
from nbguard.recover.sound_cells import Json, fresh_id

_PREFACE = (
    "# Every executed cell, in order\n\n"
    "This is what the kernel was asked to run, as it was typed: nothing is merged and nothing left out. The rebuilt "
    "notebook beside this file is a guess made from it."
)


def chronological_log(executed: Sequence[FoundCell], metadata: Json, *, now: datetime) -> bytes:
    """A notebook of all executed cells as given, a heading before each session; ``metadata`` is the base's."""
    taken: set[str] = set()
    cells = [markdown_cell(fresh_id("preface", taken), _PREFACE, {"nbguard": {"state": "heading"}})]
    group: str | None = None
    for number, cell in enumerate(executed):
        if cell.group != group:
            group = cell.group
            cells.append(markdown_cell(fresh_id(f"group\0{number}\0{group}", taken), _heading(cell), _IS_HEADING))
        cells.append(_cell(cell, fresh_id(f"{cell.origin}\0{cell.line}\0{cell.source}", taken)))
    ours: Json = {"v": 1, "what": "chronological log", "made_at": now.isoformat(), "executed": len(executed)}
    return notebook_text(cells, {**metadata, "nbguard": ours})


_IS_HEADING: Json = {"nbguard": {"state": "heading"}}


def _heading(cell: FoundCell) -> str:
    when = f", from {cell.seen_at:%Y-%m-%d %H:%M:%S} UTC" if cell.seen_at else ""
    name = " ".join(cell.group.split()) or "executed"
    return f"## {name}{when}"


def _cell(cell: FoundCell, identity: str) -> Json:
    about: Json = {"from": cell.origin}
    if cell.group:
        about["session"] = cell.group
    if cell.seen_at is not None:
        about["seen_at"] = cell.seen_at.isoformat()
    if cell.failed:
        about["failed"] = True
    return code_cell(
        identity, cell.source, count=sound_count(cell), outputs=shown_outputs(cell) or [], metadata={"nbguard": about}
    )
