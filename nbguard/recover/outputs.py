"""The outputs that belong to a text: recorded ones, or the text that history kept of the last expression."""

from __future__ import annotations

from nbguard.recover.found import FoundCell
from nbguard.recover.sound_cells import Json, in_lines, read_outputs


def shown_outputs(cell: FoundCell) -> list[Json] | None:
    """The outputs of one executed cell; None when they are not known."""
    if cell.outputs is not None and (recorded := read_outputs(cell.outputs)) is not None:
        return recorded
    if cell.output_text is None:
        return None
    return [
        {
            "data": {"text/plain": in_lines(cell.output_text)},
            "execution_count": sound_count(cell),
            "metadata": {},
            "output_type": "execute_result",
        }
    ]


def sound_count(cell: FoundCell) -> int | None:
    """Its execution count, if that is one."""
    return cell.line if cell.line is not None and cell.line >= 0 else None
