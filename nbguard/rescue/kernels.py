"""What running kernels remember: also what was executed after their database was lost. Nothing is executed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from nbguard.executed import Confidence
from nbguard.rescue.findings import Finding, Look, Session, SourceName, Unavailable, Wanted
from nbguard.rescue.history import NamedSession, is_wanted, session_finding
from nbguard.rescue.matching import fit


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelMemory:
    """What one kernel answered; ``cells`` are (line, source as typed, text of its output).

    ``id`` is what people type for it where it has no number in a database. ``trouble`` says why there are no cells.
    ``path`` is its notebook's, where that is known; ``generation`` and ``session`` too.
    """

    id: str
    kernel: str
    pid: int
    path: str | None
    generation: str | None
    session: int | None
    started_at: datetime | None
    cells: tuple[tuple[int, str, str | None], ...] = ()
    trouble: str = ""


AskKernels = Callable[[], Iterable[KernelMemory]]
"""Ask every running kernel of ours once."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """``ask`` reaches them; ``now`` is when they answered."""

    ask: AskKernels
    now: Callable[[], datetime]

    @property
    def name(self) -> SourceName:
        return SourceName.KERNEL

    def look(self, wanted: Wanted) -> Look:
        """Kernels of the notebook, and those of which nobody knows whose they are."""
        found: list[Finding] = []
        unavailable: list[Unavailable] = []
        for memory in self.ask():
            confidence = _confidence(wanted, memory.path)
            if confidence is None:
                continue
            if memory.trouble:
                said = f"kernel {memory.kernel or memory.pid}: {memory.trouble}"
                unavailable.append(Unavailable(self.name, said))
            if memory.cells:
                finding = self._finding(memory, confidence)
                if is_wanted(wanted, finding):
                    found.append(finding)
        return Look(tuple(found), tuple(unavailable))

    def _finding(self, memory: KernelMemory, confidence: Confidence) -> Finding:
        from dataclasses import replace

        session = NamedSession(memory.session or 0, memory.generation or memory.id, memory.started_at, None)
        place = f"process {memory.pid}" + (f", kernel {memory.kernel}" if memory.kernel else "")
        finding = session_finding(self.name, place, session, memory.cells, self.now())
        assert isinstance(finding.content, Session)
        identity = finding.id if memory.generation is not None and memory.session is not None else memory.id
        return replace(
            finding,
            time=self.now(),
            notebook=memory.path,
            confidence=confidence,
            content=replace(finding.content, id=identity),
            id=identity,
            note="still running: leave it so",
        )


def _confidence(wanted: Wanted, path: str | None) -> Confidence | None:
    if path is None:
        return Confidence.UNKNOWN
    return Confidence.EXACT if wanted.session else fit(wanted, path)
