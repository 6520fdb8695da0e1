"""The places of an aligned notebook as cells, each with what nbguard knows of it in ``metadata.nbguard``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.recover.alignment import Slot, Step
from nbguard.recover.found import FoundCell
from nbguard.recover.notebook_text import code_cell, markdown_cell, notebook_text
from nbguard.recover.outputs import shown_outputs
from nbguard.recover.sound_cells import Json, fresh_id, normal

_MOST_REPLACED_CHARS = 200_000
_SCRATCH = (
    "# Probably scratch\n\n"
    "These cells were executed, and look as if they had not stayed in the notebook: a glance at a value, a copy of a "
    "few lines, a cell that later runs passed over. Where one belongs above, move it there."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The cells of the best guess, and the state of each."""

    cells: tuple[Json, ...]
    states: tuple[str, ...]
    never_run: int

    def count(self, state: str) -> int:
        """How many cells are in that state."""
        return Counter(self.states)[state]

    def as_notebook(self, metadata: Json) -> bytes:
        """The bytes of the file."""
        return notebook_text(self.cells, metadata)


def compose(
    base: Sequence[Json],
    executed: Sequence[FoundCell],
    slots: Sequence[Slot],
    scratch: Sequence[Slot],
    *,
    base_origin: str,
) -> Composed:
    """The slots as cells, in order, those of ``scratch`` at the end under a heading.

    Every cell keeps the id it has in the base; new ones get their own.
    """
    taken = {str(cell["id"]) for cell in base}
    writer = _Writer(base, executed, base_origin, taken)
    apart = {id(slot) for slot in scratch}
    written = [writer.cell(slot) for slot in slots if id(slot) not in apart]
    if scratch:
        about: Json = {"nbguard": {"state": "heading"}}
        written.append((markdown_cell(fresh_id("scratch", taken), _SCRATCH, about), "heading"))
        written.extend(writer.cell(slot, "scratch") for slot in scratch)
    never = sum(1 for slot in slots if slot.is_code and slot.base is not None and not slot.runs)
    return Composed(
        cells=tuple(cell for cell, _ in written), states=tuple(state for _, state in written), never_run=never
    )


class _Writer:
    def __init__(self, base: Sequence[Json], executed: Sequence[FoundCell], base_origin: str, taken: set[str]) -> None:
        self._base = base
        self._executed = executed
        self._base_origin = base_origin
        self._taken = taken

    def cell(self, slot: Slot, added: str = "added") -> tuple[Json, str]:
        """One cell, and its state."""
        last = slot.steps[-1]
        origin = self._base_origin if last.run is None else self._executed[last.run].origin
        if slot.base is None:
            state, cell = added, self._added(slot)
            about: Json = {"from": origin}
        else:
            state, cell, about = self._kept(slot, origin)
        if slot.runs:
            about["last_run"] = self._executed[slot.runs[-1]].origin
        if replaced := self._replaced(slot):
            about["replaced"] = replaced
        about["state"] = state
        metadata = cell["metadata"]
        return {**cell, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "nbguard": about}}, state

    def _kept(self, slot: Slot, origin: str) -> tuple[str, Json, Json]:
        assert slot.base is not None
        cell = self._base[slot.base]
        about: Json = {"from": origin}
        if cell["cell_type"] != "code":
            return "unchanged", cell, about
        changed = slot.steps[-1].run is not None and slot.text != slot.steps[0].text
        recorded = self._recorded(slot)
        if recorded is not None:
            run, outputs = recorded
            found = self._executed[run]
            about["outputs"] = {"from": found.origin}
            cell = {**cell, "execution_count": found.line, "outputs": outputs}
        elif changed:
            about["outputs"] = {"from": None, "dropped": bool(cell["outputs"])}
            cell = {**cell, "execution_count": None, "outputs": []}
        elif cell["outputs"]:
            about["outputs"] = {"from": self._base_origin, "stale": bool(slot.runs)}
        if not changed:
            return "unchanged", cell, {**about, "from": self._base_origin}
        last = slot.steps[-1].run
        assert last is not None
        return "edited", {**cell, "source": self._executed[last].source}, about

    def _added(self, slot: Slot) -> Json:
        last = slot.steps[-1].run
        assert last is not None
        found = self._executed[last]
        recorded = self._recorded(slot)
        return code_cell(
            fresh_id(f"{found.origin}\0{found.line}\0{found.source}", self._taken),
            found.source,
            count=self._executed[slot.runs[-1]].line,
            outputs=recorded[1] if recorded else [],
            metadata={},
        )

    def _recorded(self, slot: Slot) -> tuple[int, list[Json]] | None:
        """The newest run of the present text whose outputs are known."""
        for run in reversed(slot.runs):
            if normal(self._executed[run].source) != slot.text:
                continue
            outputs = shown_outputs(self._executed[run])
            if outputs is not None:
                return run, outputs
        return None

    def _replaced(self, slot: Slot) -> list[Json]:
        """The texts it had before, newest first, as far as they are not too long; all are in the log or the base."""
        room = _MOST_REPLACED_CHARS
        kept: list[Json] = []
        seen = {slot.text}
        for step in reversed(slot.steps[:-1]):
            if step.text in seen or len(step.text) > room:
                continue
            seen.add(step.text)
            room -= len(step.text)
            kept.append({"source": self._whole(slot, step), "from": self._origin(step)})
        return kept

    def _whole(self, slot: Slot, step: Step) -> str:
        if step.run is not None:
            return self._executed[step.run].source
        return str(self._base[slot.base]["source"]) if slot.base is not None else step.text

    def _origin(self, step: Step) -> str:
        return self._base_origin if step.run is None else self._executed[step.run].origin
