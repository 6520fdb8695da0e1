"""The places of an aligned notebook as cells, each with what nbguard knows of it in ``metadata.nbguard``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nbguard.recover.bindings import names_of
from nbguard.recover.found import FoundCell
from nbguard.recover.notebook_text import code_cell, markdown_cell, notebook_text
from nbguard.recover.outputs import shown_outputs, sound_count
from nbguard.recover.slots import Slot, Step
from nbguard.recover.sound_cells import SKIPPED, Json, fresh_id, normal
from nbguard.recover.union import Held, United

_MOST_REPLACED_CHARS = 200_000
_SCRATCH = (
    "# Probably scratch\n\n"
    "These cells were executed, and look as if they had not stayed in the notebook: a glance at a value, a copy of a "
    "few lines, a cell that later runs passed over. Where one belongs above, move it there."
)
_OLDER = (
    "# Only in older files\n\n"
    "These cells lie in files that are older than the last version, and are not in it: perhaps they were deleted on "
    "purpose."
)
_EARLIER = (
    "# Executed before the last version\n\n"
    "These cells were executed before the last version was saved, and are not in it: perhaps they were deleted on "
    "purpose."
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
    united: United,
    executed: Sequence[FoundCell],
    slots: Sequence[Slot],
    scratch: Sequence[Slot],
    earlier: Sequence[FoundCell],
    *,
    base_origin: str,
) -> Composed:
    """The slots as cells, in order; at the end, each under a heading: what is only in older files, cells that ran
    before the last version and are not in it, and those of ``scratch``.

    Every cell keeps the id it has in the base; new ones get their own.
    """
    writer = _Writer(united.cells, executed, base_origin, _newly_bound(slots))
    apart = {id(slot) for slot in scratch}
    written = [writer.cell(slot) for slot in slots if id(slot) not in apart]
    if united.older:
        written += [writer.heading(_OLDER), *(writer.lying(cell) for cell in united.older)]
    if earlier:
        written += [writer.heading(_EARLIER), *(writer.ran_earlier(cell) for cell in earlier)]
    if scratch:
        written += [writer.heading(_SCRATCH), *(writer.cell(slot, "scratch") for slot in scratch)]
    never = sum(1 for slot in slots if slot.is_code and slot.base is not None and not slot.runs)
    return Composed(
        cells=tuple(cell for cell, _ in written), states=tuple(state for _, state in written), never_run=never
    )


class _Writer:
    def __init__(
        self, held: Sequence[Held], executed: Sequence[FoundCell], base_origin: str, newly_bound: frozenset[str]
    ) -> None:
        self._held = held
        self._newly_bound = newly_bound
        self._executed = executed
        self._base_origin = base_origin
        self._taken = {str(held.cell["id"]) for held in held if "id" in held.cell and held.origin == base_origin}
        self._given = set(self._taken)

    def heading(self, text: str) -> tuple[Json, str]:
        """A heading of ours before one of the sections at the end."""
        return markdown_cell(fresh_id(text, self._taken), text, {"nbguard": {"state": "heading"}}), "heading"

    def cell(self, slot: Slot, added: str = "added") -> tuple[Json, str]:
        """One cell, and its state."""
        if slot.base is None:
            state, cell = added, self._added(slot)
            about: Json = {"from": self._origin(slot, slot.steps[-1])}
        else:
            state, cell, about = self._kept(slot, self._held[slot.base])
        if slot.runs:
            about["last_run"] = self._executed[slot.runs[-1]].origin
        if replaced := self._replaced(slot):
            about["replaced"] = replaced
        noted = _noted(cell, {**about, "state": state})
        return (_skipped(noted) if state == "scratch" else noted), state

    def lying(self, held: Held) -> tuple[Json, str]:
        """A cell that was found in a file, as it lay there."""
        about: Json = {"from": held.origin, "state": "older"}
        if variants := _texts(held.variants, {held.text}):
            about["replaced"] = variants
        return _skipped(_noted(self._with_id(held), about)), "older"

    def ran_earlier(self, found: FoundCell) -> tuple[Json, str]:
        """A cell that ran before the last version was saved."""
        identity = fresh_id(f"{found.origin}\0{found.line}\0{found.source}", self._taken)
        cell = code_cell(
            identity, found.source, count=sound_count(found), outputs=shown_outputs(found) or [], metadata={}
        )
        return _skipped(_noted(cell, {"from": found.origin, "state": "earlier"})), "earlier"

    def _kept(self, slot: Slot, held: Held) -> tuple[str, Json, Json]:
        cell = self._with_id(held)
        about: Json = {"from": self._origin(slot, slot.steps[-1])}
        state = "unchanged" if held.origin == self._base_origin else "found"
        if cell["cell_type"] != "code":
            return state, cell, about
        run = slot.steps[-1].run
        changed = run is not None and slot.text != held.text
        recorded = self._recorded(slot)
        if recorded is not None:
            number, outputs = recorded
            about["outputs"] = {"from": self._executed[number].origin}
            cell = {**cell, "execution_count": sound_count(self._executed[number]), "outputs": outputs}
        elif changed:
            about["outputs"] = {"from": None, "dropped": bool(cell["outputs"])}
            cell = {**cell, "execution_count": None, "outputs": []}
        elif cell["outputs"]:
            is_stale = bool(slot.runs) or not self._newly_bound.isdisjoint(names_of(slot.text).used)
            about["outputs"] = {"from": held.origin, "stale": is_stale}
        if changed and run is not None:
            return "edited", {**cell, "source": self._executed[run].source}, about
        return state, cell, {**about, "from": held.origin}

    def _with_id(self, held: Held) -> Json:
        """The cell with an id that no other has; the base's keep theirs."""
        identity = held.cell.get("id")
        if held.origin == self._base_origin and isinstance(identity, str) and identity in self._given:
            self._given.discard(identity)
            return held.cell
        if not isinstance(identity, str) or identity in self._taken:
            identity = fresh_id(f"{held.origin}\0{held.text}", self._taken)
        self._taken.add(identity)
        return {**held.cell, "id": identity}

    def _added(self, slot: Slot) -> Json:
        last = slot.steps[-1].run
        assert last is not None
        found = self._executed[last]
        recorded = self._recorded(slot)
        return code_cell(
            fresh_id(f"{found.origin}\0{found.line}\0{found.source}", self._taken),
            found.source,
            count=sound_count(self._executed[slot.runs[-1]]) if slot.runs else None,
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
        """The texts it had before, newest first, and its variants in other files."""
        texts = [(self._whole(slot, step), self._origin(slot, step)) for step in reversed(slot.steps[:-1])]
        variants = self._held[slot.base].variants if slot.base is not None else []
        return _texts([*texts, *variants], {slot.text})

    def _whole(self, slot: Slot, step: Step) -> str:
        if step.run is not None:
            return self._executed[step.run].source
        return str(self._held[slot.base].cell["source"]) if slot.base is not None else step.text

    def _origin(self, slot: Slot, step: Step) -> str:
        if step.run is not None:
            return self._executed[step.run].origin
        return self._held[slot.base].origin if slot.base is not None else self._base_origin


def _newly_bound(slots: Sequence[Slot]) -> frozenset[str]:
    """Names that cells bind whose text is not the base's: what was shown before of them is not sure any more."""
    changed = [slot for slot in slots if slot.is_code and slot.steps[-1].run is not None]
    return frozenset(name for slot in changed for name in names_of(slot.text).bound)


def _noted(cell: Json, about: Json) -> Json:
    metadata = cell["metadata"]
    return {**cell, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "nbguard": about}}


def _skipped(cell: Json) -> Json:
    """The cell with the tag by which nbclient, and so nbconvert and papermill, know cells not to execute."""
    metadata = cell["metadata"]
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    kept = [tag for tag in tags if tag != SKIPPED] if isinstance(tags, list) else []
    return {**cell, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "tags": [*kept, SKIPPED]}}


def _texts(texts: Iterable[tuple[str, str]], seen: set[str]) -> list[Json]:
    """Texts that differ, with where they are from, as far as they are not too long; all are in the log or in a file."""
    room = _MOST_REPLACED_CHARS
    kept: list[Json] = []
    for text, origin in texts:
        if normal(text) in seen or len(text) > room:
            continue
        seen.add(normal(text))
        room -= len(text)
        kept.append({"source": text, "from": origin})
    return kept
