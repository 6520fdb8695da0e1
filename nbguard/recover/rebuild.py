"""A notebook rebuilt from its last good version and what was executed since: a best guess, and the whole log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.recover.alignment import BaseText, Execution, Policy, align
from nbguard.recover.base_notebook import BaseNotebook, read_base
from nbguard.recover.binding_guard import guarded
from nbguard.recover.chronology import chronological_log
from nbguard.recover.found import FoundCell
from nbguard.recover.rebuilt_cells import Composed, compose
from nbguard.recover.scratch import scratch
from nbguard.recover.sound_cells import Json, joined, normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The two results: ``notebook`` is the best guess, ``log`` every executed cell in order (bytes of .ipynb files).

    The counts are of cells in the best guess: as in the base (``unchanged``), with a newer text (``edited``), executed
    and not in the base (``added``), found in other files (``found``), probably scratch (``scratch``, at its end).
    ``never_run`` counts code cells of the base that no execution touched. ``executed`` is how many cells the log
    holds. ``notes`` are sentences for people.
    """

    notebook: bytes
    log: bytes
    unchanged: int
    edited: int
    added: int
    found: int
    scratch: int
    never_run: int
    executed: int
    notes: tuple[str, ...] = ()


def rebuild(
    base: bytes | None,
    found: Sequence[FoundCell],
    *,
    now: datetime,
    base_origin: str = "archive",
    base_at: datetime | None = None,
    policy: Policy | None = None,
) -> Rebuilt:
    """Rebuild from the last good version (None: there is none) and found cells. Never raises for what is in them.

    Executed cells come in the order in which they ran, those of one session together. Cells executed before
    ``base_at`` do not change what the base says; cells of other files are added where their neighbours are.
    ``base_origin`` is the label of the base.
    """
    notebook, notes = _base(base)
    executed = [cell for cell in found if cell.executed and cell.kind == "code"]
    runs = [Execution(normal(cell.source), cell.group, cell.failed, cell.cell_id) for cell in executed]
    slots = guarded(align([_text(cell) for cell in notebook.cells], runs, policy or Policy()))
    apart = scratch(slots, runs, has_base=bool(notebook.cells))
    composed: Composed = compose(notebook.cells, executed, slots, apart, base_origin=base_origin)
    ours: Json = {"v": 1, "what": "rebuilt notebook", "made_at": now.isoformat(), "base": base_origin if base else None}
    return Rebuilt(
        notebook=composed.as_notebook({**notebook.metadata, "nbguard": ours}),
        log=chronological_log(executed, notebook.metadata, now=now),
        unchanged=composed.count("unchanged"),
        edited=composed.count("edited"),
        added=composed.count("added"),
        found=composed.count("found"),
        scratch=composed.count("scratch"),
        never_run=composed.never_run,
        executed=len(executed),
        notes=tuple(notes),
    )


def _base(data: bytes | None) -> tuple[BaseNotebook, list[str]]:
    if data is None:
        return BaseNotebook(cells=(), metadata={}), []
    notebook = read_base(data)
    if notebook is None:
        return BaseNotebook(cells=(), metadata={}), ["the last version is no readable notebook: rebuilt without it"]
    notes = (
        [f"{notebook.left_out} entries of the last version are no cells and are left out"] if notebook.left_out else []
    )
    return notebook, notes


def _text(cell: Json) -> BaseText:
    identity = cell.get("id")
    return BaseText(
        normal(joined(cell["source"])), cell["cell_type"] == "code", identity if isinstance(identity, str) else None
    )
