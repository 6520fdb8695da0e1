"""A notebook rebuilt from its last good version and what was executed since: a best guess, and the whole log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.recover.alignment import align
from nbguard.recover.base_notebook import BaseNotebook, read_base
from nbguard.recover.binding_guard import guarded
from nbguard.recover.chronology import chronological_log
from nbguard.recover.earlier import not_in_it
from nbguard.recover.found import FoundCell
from nbguard.recover.rebuilt_cells import compose
from nbguard.recover.scratch import scratch
from nbguard.recover.slots import BaseText, Execution, Policy
from nbguard.recover.sound_cells import Json, normal
from nbguard.recover.union import Held, unite


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The two results: ``notebook`` is the best guess, ``log`` every executed cell in order (bytes of .ipynb files).

    The counts are of cells in the best guess: as in the base (``unchanged``), with a newer text (``edited``), executed
    and not in the base (``added``), found in other files (``found``), executed before the
    last version and not in it (``earlier``), probably scratch (``scratch``); the last two stand at its end.
    ``never_run`` counts code cells of the base that no execution touched. ``executed`` is how many cells the log
    holds. ``notes`` are sentences for people.
    """

    notebook: bytes
    log: bytes
    unchanged: int
    edited: int
    added: int
    found: int
    earlier: int
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
    held = [Held(cell=cell, origin=base_origin) for cell in notebook.cells]
    united = unite(held, [cell for cell in found if not cell.executed], base_at=base_at)
    executed = [cell for cell in found if cell.executed]
    since = [cell for cell in executed if not _is_before(cell, base_at)]
    earlier = not_in_it(united, [cell for cell in executed if _is_before(cell, base_at)], since)
    runs = [Execution(normal(cell.source), cell.group, cell.failed, cell.cell_id) for cell in since]
    slots = guarded(align([_text(cell) for cell in united.cells], runs, policy or Policy()))
    apart = scratch(slots, runs, has_base=any(cell.kind == "code" for cell in united.cells))
    composed = compose(united, since, slots, apart, earlier, base_origin=base_origin)
    ours: Json = {"v": 1, "what": "rebuilt notebook", "made_at": now.isoformat(), "base": base_origin if base else None}
    return Rebuilt(
        notebook=composed.as_notebook({**notebook.metadata, "nbguard": ours}),
        log=chronological_log(executed, notebook.metadata, now=now),
        unchanged=composed.count("unchanged"),
        edited=composed.count("edited"),
        added=composed.count("added"),
        found=composed.count("found") + composed.count("older"),
        earlier=composed.count("earlier"),
        scratch=composed.count("scratch"),
        never_run=composed.never_run,
        executed=len(executed),
        notes=tuple(notes),
    )


def _is_before(cell: FoundCell, base_at: datetime | None) -> bool:
    return base_at is not None and cell.seen_at is not None and cell.seen_at < base_at


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


def _text(held: Held) -> BaseText:
    identity = held.cell.get("id")
    return BaseText(held.text, held.kind == "code", identity if isinstance(identity, str) else None)
