"""The problems of watching: some hold as long as they are seen, some are told for a while after they were mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nbguard.model import Problem


@dataclass(frozen=True, slots=True)
class Claim:
    """That something is wrong with ``subject``; a Problem once it has a time."""

    code: str
    subject: str
    message: str
    hint: str


class Board:
    """Problems by (code, subject), each with the time it was first seen."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], Problem] = {}
        self._told: dict[tuple[str, str], tuple[Problem, float]] = {}

    def stand(self, claims: Iterable[Claim], at: datetime) -> None:
        """Replace everything that stands; what stood before keeps its ``since``."""
        before = self._standing
        self._standing = {}
        for claim in claims:
            key = (claim.code, claim.subject)
            since = before[key].since if key in before else at
            self._standing[key] = _problem(claim, since)

    def tell(self, claim: Claim, at: datetime, *, until: float) -> None:
        """Show a claim until that time (monotonic seconds), unless told again."""
        key = (claim.code, claim.subject)
        since = self._told[key][0].since if key in self._told else at
        later = max(until, self._told[key][1]) if key in self._told else until
        self._told[key] = (_problem(claim, since), later)

    def problems(self, now: float) -> tuple[Problem, ...]:
        """Everything that is to be shown at ``now``."""
        self._told = {key: entry for key, entry in self._told.items() if now < entry[1]}
        shown = {key: problem for key, (problem, _until) in self._told.items()}
        return tuple((shown | self._standing).values())


def _problem(claim: Claim, since: datetime) -> Problem:
    return Problem(code=claim.code, message=claim.message, hint=claim.hint, since=since, subject=claim.subject)
