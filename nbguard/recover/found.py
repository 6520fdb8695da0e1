"""What rescue hands to a rebuild: cells, from wherever they were found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCell:
    """One cell that was executed, or that lay in some notebook file (``executed=False``).

    ``origin`` is the label people read: ``history 3f9a12bc-42:7``, ``recorder``, ``kernel``, ``checkpoint``, ``git``.
    ``group`` holds together what was found together: the id of a session, or the path of the file; within a group
    the cells are in order. ``kind`` is code, markdown or raw. ``line`` is the execution count. ``seen_at`` is UTC: when
    the cell ran (or was first seen), for a file the time it is from.

    ``outputs`` is the JSON text of a list of outputs as nbformat 4 has them (``[]``: it ran and gave none; None: not
    known); ``output_text`` the text of the last expression, where history holds only that. ``failed`` means that it
    raised. ``cell_id`` is the notebook's own id of the cell where the source knows it. ``metadata`` and
    ``attachments`` are JSON objects as text, or empty.
    """

    source: str
    origin: str
    group: str = ""
    kind: str = "code"
    executed: bool = True
    line: int | None = None
    seen_at: datetime | None = None
    outputs: str | None = None
    output_text: str | None = None
    failed: bool = False
    cell_id: str | None = None
    metadata: str = ""
    attachments: str = ""
