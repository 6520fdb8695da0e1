"""The nouns of a rebuild: what is aligned, the places it is aligned to, and the thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The thresholds of the alignment; set on real notebooks' histories (docs/benchmarks-rebuild.md)."""

    alike: float = 0.75
    alike_ran: float = 0.90
    just_added: float = 0.93
    added: float = 0.97
    failed: float = 0.60
    here: float = 0.12
    near: float = 0.03
    short_chars: int = 15
    short: float = 0.15
    short_lines: int = 6
    twin: float = 0.85
    tried: float = 0.60
    early: float = 0.90


@dataclass(frozen=True, slots=True)
class Step:
    """A text that a cell had: ``run`` is the execution that showed it, None for the base."""

    text: str
    run: int | None


@dataclass(slots=True, eq=False)
class Slot:
    """One place in the rebuilt notebook: its texts in order (the last counts), and every run of it.

    ``base`` is its number in the base; None for a cell that was added. ``at`` is its place, renumbered on insertion.
    """

    base: int | None
    steps: list[Step]
    is_code: bool = True
    runs: list[int] = field(default_factory=list)
    at: int = 0

    @property
    def text(self) -> str:
        return self.steps[-1].text


@dataclass(frozen=True, slots=True)
class BaseText:
    """One cell of the base, for aligning: its normal text."""

    text: str
    is_code: bool
    cell_id: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution, for aligning: its normal text."""

    text: str
    session: str = ""
    failed: bool = False
    cell_id: str | None = None
