"""Proofs by doing: a canary kept and given back, the tip read, an old version restored, old objects read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbguard.errors import ArchiveTrouble, Busy, NbguardError, StorageTrouble, storage_trouble
from nbguard.health import rot
from nbguard.health.ages import awake_seconds_since
from nbguard.health.canary import inodes_left
from nbguard.health.deadline import TookTooLong, within
from nbguard.health.facts import Failed, Proof, Unseen
from nbguard.health.memory import CheckMemory
from nbguard.health.remembered import PackRead, Run, Still
from nbguard.model import Problem
from nbguard.settings import Checks

USUAL_DRILL = 1
WHOLE_DRILL = 20
_BUDGET_SECONDS = 300.0
_USUAL_SECONDS = 30.0
_LONG_SECONDS = 200.0
_READING_SECONDS = 45.0


class DrillFailed(ArchiveTrouble):
    """A version was not given back as it was kept; ``version`` is its id."""

    def __init__(self, message: str, *, hint: str, version: str, code: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.version = version


@dataclass(frozen=True, slots=True, kw_only=True)
class Provers:
    """What a full check does. Each raises NbguardError or OSError when it fails, and is None where there is nothing to
    try. ``emergency`` is tried when the canary failed. ``drill`` restores so many random versions, after the one named,
    and returns how many it compared."""

    canary: Callable[[], None] | None
    emergency: Callable[[], None] | None
    archive_disk: Callable[[], None] | None
    state_disk: Callable[[], None] | None
    tip: Callable[[], None] | None
    drill: Callable[[int, str | None], int] | None
    connectivity: Callable[[], None] | None
    archive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What came of it: failures, what could not be tried, and when each last succeeded (None: not now)."""

    failed: tuple[Failed, ...]
    unseen: tuple[Unseen, ...]
    canary_at: datetime | None
    drill_at: datetime | None
    whole_drill_at: datetime | None
    connected_at: datetime | None
    packs: Mapping[str, PackRead]
    still: Mapping[str, Still]

    @property
    def is_proven(self) -> bool:
        """Whether a canary came back, and no restore failed."""
        return self.canary_at is not None and not any(each.proof is Proof.DRILL for each in self.failed)


def prove(provers: Provers, memory: CheckMemory, run: Run, checks: Checks, monotonic: Callable[[], float]) -> Proved:
    """Do all that is due, each within its time, all within five minutes."""
    session = _Session(memory, run, monotonic)
    canary = session.tries(Proof.CANARY, provers.canary, "spool")
    refuses = Proof.CANARY in session.still
    session.tries(Proof.EMERGENCY, provers.emergency if refuses else None, "emergency place")
    session.tries(Proof.ARCHIVE_DISK, provers.archive_disk, "archive")
    session.tries(Proof.STATE_DISK, provers.state_disk, "state")
    session.tries(Proof.TIP, provers.tip, "tip")
    is_whole = _is_due(memory.whole_drill_at, run, checks.drill_seconds)
    drilled = _drill(session, provers, WHOLE_DRILL if is_whole else USUAL_DRILL)
    is_due = _is_due(memory.connected_at, run, checks.drill_seconds) or Proof.CONNECTIVITY in memory.still
    connected = is_due and session.tries(Proof.CONNECTIVITY, provers.connectivity, "connectivity", _LONG_SECONDS)
    packs = _objects(session, provers, checks) if provers.tip is not None else memory.packs
    return Proved(
        failed=tuple(session.failed),
        unseen=tuple(session.unseen),
        canary_at=run.at if canary else None,
        drill_at=run.at if drilled else None,
        whole_drill_at=run.at if drilled and is_whole else None,
        connected_at=run.at if connected else None,
        packs=packs,
        still=session.still,
    )


@dataclass
class _Session:
    """One run: what failed before is remembered with its time, and what was not tried now is remembered as it was."""

    memory: CheckMemory
    run: Run
    monotonic: Callable[[], float]
    failed: list[Failed] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)
    still: dict[str, Still] = field(default_factory=dict)
    _ends_at: float = 0.0

    def __post_init__(self) -> None:
        self._ends_at = self.monotonic() + _BUDGET_SECONDS
        self.still.update(self.memory.still)

    def left(self) -> float:
        return max(0.0, self._ends_at - self.monotonic())

    def tries(
        self, proof: Proof, work: Callable[[], object] | None, subject: str, seconds: float = _USUAL_SECONDS
    ) -> bool:
        """Whether it succeeded; False also when there is nothing to try."""
        if work is None:
            self.still.pop(proof, None)
            return False
        try:
            within(min(seconds, self.left()), work, subject)
        except (TookTooLong, Busy) as error:
            self.unseen.append(Unseen(what=subject, reason=error.message))
            return False
        except NbguardError as error:
            self.fails(proof, error, subject)
            return False
        except OSError as error:
            self.fails(proof, _trouble(error, f"cannot write to the {subject}"), subject)
            return False
        self.still.pop(proof, None)
        return True

    def fails(self, proof: Proof, error: NbguardError, subject: str, *, key: str = "", remembered: str = "") -> None:
        known = self.memory.still.get(key or proof)
        since = min(known.since, self.run.at) if known is not None else self.run.at
        problem = Problem(
            code=error.code,
            message=error.message,
            hint=error.hint or "nbguard doctor",
            since=since,
            subject=subject,
        )
        self.failed.append(Failed(proof=proof, problem=problem))
        self.still[key or proof] = Still(
            code=problem.code, message=problem.message, hint=problem.hint, since=since, subject=remembered or subject
        )


def _trouble(error: OSError, doing: str) -> StorageTrouble:
    return storage_trouble(error, doing, free_inodes=inodes_left(error.filename))


def _is_due(last: datetime | None, run: Run, every_seconds: float) -> bool:
    return last is None or abs((run.at - last).total_seconds()) >= every_seconds


def _drill(session: _Session, provers: Provers, count: int) -> bool:
    """What was not given back the last time is asked for again first, so that its finding stays until it is."""
    drill = provers.drill
    if drill is None:
        session.still.pop(Proof.DRILL, None)
        return False
    before = session.memory.still.get(Proof.DRILL)
    try:
        seconds = min(2 * _USUAL_SECONDS, session.left())
        compared = within(seconds, lambda: drill(count, before.subject if before else None), "the restore drill")
    except (TookTooLong, Busy) as error:
        session.unseen.append(Unseen(what="drill", reason=error.message))
        return False
    except DrillFailed as error:
        session.fails(Proof.DRILL, error, "restore drill", remembered=error.version)
        return False
    except NbguardError as error:
        session.fails(Proof.DRILL, error, "restore drill", remembered="")
        return False
    except OSError as error:
        session.fails(Proof.DRILL, _trouble(error, "cannot write what is restored"), "restore drill")
        return False
    session.still.pop(Proof.DRILL, None)
    return compared > 0


def _objects(session: _Session, provers: Provers, checks: Checks) -> Mapping[str, PackRead]:
    memory, run = session.memory, session.run
    ends_at = session.monotonic() + min(_READING_SECONDS, session.left())

    def is_time_up() -> bool:
        return session.monotonic() >= ends_at

    def look() -> tuple[rot.Reread, list[rot.Broken]]:
        old = [found for key in memory.still if (found := _parse(key)) is not None]
        staying = [broken for broken in old if rot.is_still_broken(provers.archive, broken)]
        elapsed = awake_seconds_since(memory.full, run) if memory.full is not None else checks.full_seconds
        fresh = rot.reread(
            provers.archive,
            memory.packs,
            now=run.at.timestamp(),
            elapsed_seconds=elapsed,
            every_seconds=checks.every_object_seconds,
            is_time_up=is_time_up,
        )
        return fresh, staying

    try:
        fresh, staying = within(_READING_SECONDS + _USUAL_SECONDS, look, "the archive's packs")
    except TookTooLong as error:
        session.unseen.append(Unseen(what="packs", reason=error.message))
        return memory.packs
    except OSError as error:
        session.fails(Proof.OBJECTS, storage_trouble(error, "cannot read the archive's packs"), "packs")
        return memory.packs
    session.still.pop(Proof.OBJECTS, None)
    for key in [key for key in session.still if _parse(key) is not None]:
        del session.still[key]
    for broken in dict.fromkeys([*staying, *fresh.broken][: rot.MOST_BROKEN]):
        where = f" at byte {broken.offset}" if broken.offset >= 0 else ""
        found = ArchiveTrouble(
            f"{broken.pack}{where}: {broken.reason}",
            hint="a mirror has it whole: keep the archive as it is, and see `nbguard doctor`",
        )
        session.fails(Proof.OBJECTS, found, f"{broken.pack}{where}", key=_key(broken), remembered=broken.reason)
    return fresh.packs


def _key(broken: rot.Broken) -> str:
    return f"{Proof.OBJECTS}:{broken.pack}:{broken.offset}"


def _parse(key: str) -> rot.Broken | None:
    kind, _, rest = key.partition(":")
    pack, _, offset = rest.rpartition(":")
    is_name = pack == rot.LOOSE or (pack.startswith("pack-") and "/" not in pack)
    if kind != Proof.OBJECTS or not is_name or not offset.lstrip("-").isdecimal():
        return None
    return rot.Broken(pack=pack, offset=int(offset), reason="its bytes are not those that were written")
