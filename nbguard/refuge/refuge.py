"""The refuge at work: it looks every few seconds, and when HOME is wiped it gives back what it held, as a package."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nbguard.clock import Clock
from nbguard.durable import fsync_folder, unlink_quietly
from nbguard.errors import NbguardError, Refused, storage_trouble
from nbguard.problems import ProblemBoard
from nbguard.refuge.alive import Alive
from nbguard.refuge.emergency import EmergencyPlace
from nbguard.refuge.notes import WipedNote, write_note
from nbguard.refuge.seeing import baseline, sight
from nbguard.refuge.wiped import Baseline, Home, Sight, decide, is_like
from nbguard.refuge.words import words

_log = logging.getLogger(__name__)

PACKAGE = "nbguard-recovery.zip"
_KEPT = "kept"
_BASELINE_SECONDS = 600.0
_REFRESH_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take, in seconds. ``quiet_seconds``: how long HOME must stand still before a folder of ours that
    was removed is made anew, so that no removal that is going on is hindered."""

    quiet_seconds: float = 60.0
    package_seconds: float = 15.0
    retry_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What others do for the refuge. ``make_anew``: spool and state, without their parents' leave. ``move_to``: from
    now on, everything is written to that emergency place. ``package(home, target)`` makes the package; ``home`` is
    laid out as NBGUARD_HOME, or None where all of ours is still in its place. All may raise NbguardError, OSError."""

    make_anew: Callable[[], None]
    move_to: Callable[[str], None]
    package: Callable[[str | None, str], None]
    another_place: Callable[[], str]


class Refuge:
    """One daemon's refuge: the port that the spool is given, and a worker. ``step`` from one thread."""

    def __init__(
        self,
        alive: Alive,
        place: EmergencyPlace,
        *,
        home: str,
        ours: Sequence[str],
        roots: Sequence[str],
        orders: Orders,
        clock: Clock,
        board: ProblemBoard,
        pace: Pace | None = None,
    ) -> None:
        self._alive = alive
        self._place = place
        self._home = home
        self._ours = tuple(ours)
        self._roots = tuple(roots)
        self._orders = orders
        self._clock = clock
        self._board = board
        self._pace = pace or Pace()
        self._before: Baseline | None = None
        self._note: WipedNote | None = None
        self._source: str | None = None
        self._still: tuple[Sight, float] | None = None
        self._packed: frozenset[tuple[str, int]] | None = None
        self._package_at = self._baseline_at = self._refresh_at = clock.monotonic()

    @property
    def is_wiped(self) -> bool:
        """Whether HOME was wiped under this daemon."""
        return self._note is not None

    # -- the port ----------------------------------------------------------------------------------------------------

    def hold(self, path: str) -> None:
        if self._note is None:
            self._alive.hold(path)

    def release(self, names: Sequence[str]) -> None:
        if self._note is None:
            self._alive.release(names, now=self._clock.monotonic())

    # -- the worker --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The first look: all that is there is held."""
        self._prepare()
        self._before = baseline(self._home, self._ours, self._roots)
        self._baseline_at = self._clock.monotonic() + _BASELINE_SECONDS
        look = self._alive.look(now=self._clock.monotonic())
        self._tell(look.unheld, look.reason)

    def step(self) -> None:
        """One look. Raises nothing that a repetition would not mend."""
        now = self._clock.monotonic()
        if self._note is not None:
            self._pack_again(now)
        else:
            self._watch(now)
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_SECONDS
            self._place.refresh(int(self._clock.now().timestamp() * 1e9))

    def end(self) -> None:
        """The daemon stops: what only its descriptors hold is put down first."""
        try:
            self.step()
            if self._note is None and self._alive.is_last() and self._has_place():
                for reason in self._alive.give_all(self._place.folder):
                    _log.error("not given back: %s", reason)
        except (NbguardError, OSError) as error:
            _log.error("the last look of the refuge: %s", error)
        finally:
            self._alive.close()
            self._place.close()

    def _watch(self, now: float) -> None:
        if self._before is None:
            self._before = baseline(self._home, self._ours, self._roots)
            self._alive.look(now=now)
            return
        seen = sight(self._before)
        verdict = decide(self._before, seen)
        look = self._alive.look(now=now, is_well=verdict is Home.INTACT)
        self._tell(look.unheld, look.reason)
        if verdict is Home.WIPED:
            self._wiped(now)
            return
        self._give_back(look.lost)
        if verdict is Home.OURS_GONE:
            self._ours_gone(seen, now)
        else:
            self._still = None
            self._board.clear("refuge")
            if verdict is Home.INTACT and now >= self._baseline_at:
                self._baseline_at = now + _BASELINE_SECONDS
                self._take_baseline(self._before)

    def _take_baseline(self, before: Baseline) -> None:
        found = baseline(self._home, self._ours, self._roots)
        if found is not None and is_like(before, found):
            self._before = found

    def _prepare(self) -> None:
        """Make the emergency place; one that is refused is not used, and descriptors do until there is another."""
        try:
            self._place.prepare()
        except Refused as refused:
            self._alive.folder = None
            self._say_refused(refused)
        except NbguardError as error:
            self._board.note_error(error, subject="emergency")

    def _say_refused(self, refused: Refused) -> None:
        _log.error("the emergency place is refused: %s", refused.message)
        self._board.note("emergency-refused", f"it is not used: {refused.message}", refused.hint, subject="emergency")

    def _tell(self, unheld: int, reason: str = "") -> None:
        if unheld:
            self._board.note(
                "refuge-partial",
                f"{unheld} files of nbguard's own would not outlive a removal of the home folder: {reason}",
                "free some space where the emergency place lies, or allow more open files (`ulimit -n`)",
                subject="held",
            )
        else:
            self._board.clear("held")

    def _give_back(self, lost: Sequence[str]) -> None:
        """Drafts and segments that vanished unpacked: the emergency place takes them, where everybody finds them."""
        if not self._has_place():
            return  # they are held; once it is clear what happened, there will be one
        for name in lost:
            try:
                self._alive.give(name, os.path.join(self._place.folder, name))
            except OSError as error:
                raise storage_trouble(error, "cannot put back what was removed from the spool") from error
        if lost:
            _log.warning("%d files vanished from the spool; they are in %s now", len(lost), self._place.folder)

    def _has_place(self) -> bool:
        """Whether the emergency place can be written to without making anew what somebody has just removed."""
        return os.path.isdir(os.path.dirname(self._place.folder))

    def _ours_gone(self, seen: Sight, now: float) -> None:
        before = self._before
        assert before is not None
        gone = sorted(path for path, _ in before.ours - seen.ours)
        if all(os.path.lexists(path) for path in gone):
            self._adopt(before)  # brought back, or replaced
            return
        self._board.note(
            "own-files-removed",
            f"{gone[0]} was removed under the running daemon",
            "bring it back, or restart nbguard; what was not packed yet is in the emergency place, and not lost",
            subject="refuge",
        )
        if self._still is None or self._still[0] != seen:
            self._still = (seen, now)
        elif now - self._still[1] >= self._pace.quiet_seconds:
            self._orders.make_anew()
            self._adopt(before)

    def _adopt(self, before: Baseline) -> None:
        found = baseline(self._home, self._ours, self._roots)
        if found is not None:
            kept = {path for path, _ in found.ours}
            self._before = replace(before, ours=found.ours | {one for one in before.ours if one[0] not in kept})

    # -- wiped -------------------------------------------------------------------------------------------------------

    def _wiped(self, now: float) -> None:
        """Raises StorageTrouble, Refused; then it is tried again at the next step, and everything is still held."""
        at = self._clock.now()
        _log.critical("%s was wiped; everything kept goes to the emergency place", self._home)
        if _is_below(self._home, self._place.folder):
            self._place.close()
            self._place = EmergencyPlace(self._orders.another_place())
        self._prepare_at_last()
        folder = self._place.folder
        if any(not os.path.lexists(path) for path in self._ours):
            failed = self._alive.give_all(folder)
            for reason in failed:
                _log.error("not given back: %s", reason)
            self._source = folder
            if not failed:
                self._alive.close()
                shutil.rmtree(os.path.join(folder, _KEPT), ignore_errors=True)  # second names of what was given
        note = WipedNote(folder=folder, home=self._home, at=at)
        write_note(note)
        self._note = note
        self._orders.move_to(folder)
        self._say(note)
        self._pack_again(now)

    def _prepare_at_last(self) -> None:
        try:
            self._place.prepare()
        except Refused as refused:
            self._say_refused(refused)
            self._place = EmergencyPlace(self._orders.another_place())
            self._place.prepare()

    def _pack_again(self, now: float) -> None:
        """The package anew when more was kept since, at a bounded rate; aside first, then in its place."""
        note = self._note
        assert note is not None
        if now < self._package_at:
            return
        kept = _files(os.path.join(self._place.folder, "spool"))
        if kept == self._packed:
            return
        target = os.path.join(note.folder, PACKAGE)
        making = os.path.join(note.folder, f".nbguard-{os.urandom(6).hex()}.zip")
        began = self._clock.monotonic()
        try:
            self._orders.package(self._source, making)
            os.rename(making, target)
            fsync_folder(note.folder)
        except (NbguardError, OSError) as error:
            reason = error.message if isinstance(error, NbguardError) else str(error)
            _log.error("the package could not be made: %s", reason)
            self._note = replace(note, trouble=reason)
            self._package_at = self._clock.monotonic() + self._pace.retry_seconds
        else:
            took = self._clock.monotonic() - began
            _log.info("everything that was kept is in %s (made in %.1f s)", target, took)
            self._packed = kept
            self._note = replace(note, package=target, written_at=self._clock.now(), trouble="")
            self._package_at = self._clock.monotonic() + max(self._pace.package_seconds, 5 * took)
        finally:
            unlink_quietly(making)
        write_note(self._note)
        self._say(self._note)

    def _say(self, note: WipedNote) -> None:
        problem = words(note)
        self._board.note(problem.code, problem.message, problem.hint, subject=problem.subject)


def _files(folder: str) -> frozenset[tuple[str, int]]:
    """Every file below a folder with its size: when it differs, more was kept."""
    found = set()
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                found.add((path, status.st_size))
    return frozenset(found)


def _is_below(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
