"""All history databases of this user, watched: found, read as they change, copied, and missed when they go.

While a kernel lives, a look at every file oftener than once a second costs less than file events would: an execution
makes and removes a journal, and an idle database costs two calls of stat. While none does, see ``rest_seconds``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbguard.clock import Clock
from nbguard.errors import Busy, ChangedMeanwhile, NbguardError, StorageTrouble
from nbguard.history.copies import UNKNOWN, DatabaseCopies
from nbguard.history.copying import parts_of
from nbguard.history.databases import LIVE, left_in, profiles_in, stamps_of
from nbguard.history.generations import FileIdentity
from nbguard.history.held_open import BUSY_SECONDS, POLL_SECONDS, HeldOpen
from nbguard.history.kernels import LiveKernel
from nbguard.history.losing import LOST, Losing, with_databases
from nbguard.history.reading import DatabaseState, state_of
from nbguard.history.tail import Source, Tail
from nbguard.history.trouble import NeedsCopy, Unreadable
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
_SCAN_SECONDS = 30.0
# A kernel opens its database about a second after its process began; what is wrong with it shows later.
_SCANS_AFTER_NEWS_SECONDS = (2.0, 20.0)
_SAVE_SECONDS = 60.0
_STAND_IN_SECONDS = 2.0
# The first cell of a kernel comes later than that after its session.
_NOBODY_SECONDS = 1.0
_LOOK_ALL_THE_SAME_SECONDS = 10.0
_WORK_SECONDS = 1.0
# A kernel under load is busy half of the time; what is busy for longer is locked by somebody.
_MOST_BUSY_LOOKS = 50
_LONG_BUSY_SECONDS = 2.0
_COPY_WORK_SECONDS = 5.0


@dataclass(slots=True)
class _Watched:
    """One database by its path. ``state`` is what was read last, if a later write is sure to be told from it."""

    path: str
    state: DatabaseState | None = None
    file: FileIdentity | None = None
    is_behind: bool = False
    busy: int = 0
    due: float = float("-inf")
    told: str = ""
    is_owed_a_copy: bool = False
    doubted: DatabaseState | None = None
    copy_read_at: float = float("-inf")


class Histories:
    """One worker steps it; see :meth:`step`.

    ``folders`` are IPython's own, ``kernels`` tells which IPythons live now, ``lost`` is called once for each that
    may have lost its history, ``last_line`` is as in Losing, and ``runtimes`` are folders that change when a kernel
    starts or ends.
    """

    def __init__(
        self,
        *,
        folders: Sequence[str],
        tail: Tail,
        copies: DatabaseCopies,
        kernels: Callable[[], Sequence[LiveKernel]],
        clock: Clock,
        board: ProblemBoard,
        lost: Callable[[LiveKernel], None] = lambda kernel: None,
        last_line: Callable[[LiveKernel], int] | None = None,
        runtimes: Sequence[str] = (),
    ) -> None:
        self._folders = list(folders)
        self.tail = tail
        self._copies = copies
        self._kernels = kernels
        self._clock = clock
        self._board = board
        self._runtimes = list(runtimes)
        self._watched: dict[str, _Watched] = {}
        self._held_open = HeldOpen(tail=tail, copies=copies, clock=clock, board=board)
        self._losing = Losing(clock=clock, board=board, lost=lost, last_line=last_line)
        self._profiles: list[str] = []
        self._listed: tuple[int, ...] = (-1,)
        self._runtime_times: tuple[int, ...] = ()
        self._somebody_lives = False
        self._scans_due: list[float] = [float("-inf")]
        self._save_due = clock.monotonic() + _SAVE_SECONDS

    def step(self) -> float:
        """Look at everything once; seconds after which to look again. Raises StorageTrouble: nothing is forgotten."""
        now = self._clock.monotonic()
        self._list()
        wait = POLL_SECONDS if self._somebody_lives else _NOBODY_SECONDS
        for watched in list(self._watched.values()):
            wait = min(wait, self._look(watched, now))
            if watched.is_owed_a_copy:
                self._keep_what_is_there(watched)
        self._look_for_kernels(now)
        wait = min(wait, self._held_open.look())
        if now >= self._save_due:
            self._save_due = now + _SAVE_SECONDS
            self.tail.save()
        return wait

    def rest_seconds(self) -> float:
        """After a step: how long nothing is to be done unless something happens in ``folders()``; 0.0 when that cannot
        be said, as while a kernel lives."""
        is_busy = self._somebody_lives or any(
            one.busy or one.is_behind or one.is_owed_a_copy or (one.file is not None and one.state is None)
            for one in self._watched.values()
        )
        if is_busy:
            return 0.0
        due = min([*self._scans_due, self._save_due]) - self._clock.monotonic()
        return max(0.0, min(_LOOK_ALL_THE_SAME_SECONDS, due))

    def folders(self) -> tuple[str, ...]:
        """Folders in which something happens before there is anything new to be read or found."""
        above = (os.path.dirname(path) for path in self._watched)
        return tuple(dict.fromkeys([*self._runtimes, *self._folders, *self._profiles, *above]))

    def catch_up(self) -> None:
        """Read everything there is now, then note how far: for `run --once`. Raises StorageTrouble."""
        self.step()
        while self.step() == 0.0:
            pass
        self.end()

    def scan_soon(self) -> None:
        """Look at the kernels at the next step: something about them changed."""
        self._scans_due.append(float("-inf"))

    def paths(self) -> list[str]:
        """Every database that is watched, orphans aside."""
        return sorted(self._watched)

    def end(self) -> None:
        """Note how far everything was read."""
        self.tail.save()

    # -- finding ---------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        """Databases that came; those that are gone stay watched: they come back."""
        times = stamps_of([*self._folders, *self._profiles])
        if times == self._listed:
            return
        profiles = [profile for folder in self._folders for profile in profiles_in(folder)]
        for profile in profiles:
            for path in (os.path.join(profile, LIVE), *left_in(profile)):
                self._watch(path)
        if profiles != self._profiles:
            self._profiles = profiles
            times = stamps_of([*self._folders, *profiles])
        self._listed = times

    def _watch(self, path: str) -> _Watched:
        """``path`` by its real name: a profile may be reached in several ways."""
        return self._watched.setdefault(os.path.realpath(path), _Watched(os.path.realpath(path)))

    # -- reading ---------------------------------------------------------------------------------------------------

    def _look(self, watched: _Watched, now: float) -> float:
        """Read one database if it changed; seconds after which to look again."""
        if now < watched.due:
            return watched.due - now
        try:
            state = state_of(watched.path)
        except Unreadable as error:
            self._tell(watched, error)
            return _NOBODY_SECONDS
        if state is None or state.file != watched.file:
            self._is_another(watched, state)
        if state is None or state.size == 0 or (state == watched.state and not watched.is_behind):
            return _NOBODY_SECONDS
        source = Source(path=watched.path, file=state.file, name=watched.path)
        try:
            watched.is_behind = self._read(watched, source, state, now)
        except (Busy, ChangedMeanwhile, FileNotFoundError):
            watched.busy += 1
            wait = BUSY_SECONDS if watched.busy < _MOST_BUSY_LOOKS else _LONG_BUSY_SECONDS
            watched.due = now + wait
            return wait
        except Unreadable as error:
            self._tell(watched, error)
            watched.state = state
            return _NOBODY_SECONDS
        self._tell(watched, None)
        watched.busy = 0
        watched.state = state if state.is_settled(self._now_ns()) else None
        return 0.0 if watched.is_behind else POLL_SECONDS

    def _read(self, watched: _Watched, source: Source, state: DatabaseState, now: float) -> bool:
        until = now + _WORK_SECONDS
        try:
            while self.tail.look(source):
                watched.busy = 0
                if self._clock.monotonic() >= until:
                    return True
        except NeedsCopy as error:
            # sqlite may take the journal of a writer that is just done for one that was left behind.
            is_sure = state == watched.doubted
            watched.doubted = state
            if not is_sure or now < watched.copy_read_at + _STAND_IN_SECONDS:
                raise Busy(error.message, hint="it is read later") from error
            watched.copy_read_at = now
            return self._read_copy(parts_of(source.path), source, until)
        return False

    def _read_copy(self, parts: dict[str, str], source: Source, until: float) -> bool:
        """Read a private copy that is thrown away; it takes long to make, so more of it is read at once."""
        try:
            with self._copies.borrow(parts) as copy:
                self._board.clear(source.path)
                copied = Source(path=source.path, file=source.file, name=source.name, copy=copy)
                while self.tail.look(copied):
                    if self._clock.monotonic() >= until + _COPY_WORK_SECONDS:
                        return True
        except StorageTrouble as trouble:
            self._board.note_error(trouble, subject=source.path)
            raise Busy(f"{source.path}: {trouble.message}", hint="its copy is read later") from trouble
        return False

    def _is_another(self, watched: _Watched, state: DatabaseState | None) -> None:
        """Another file is at this path, or none: whoever had the old one open still has it."""
        if watched.file is not None:
            _log.info("%s was %s", watched.path, "replaced" if state is not None else "deleted")
            self.scan_soon()
        watched.file = state.file if state is not None else None
        watched.state = None
        self._scan_after_news()

    def _tell(self, watched: _Watched, error: NbguardError | None) -> None:
        """A live database that cannot be read is one that no kernel can write."""
        text = error.message if error is not None else ""
        if error is not None and os.path.basename(watched.path) == LIVE:
            self._board.note(LOST, error.message, error.hint, subject=watched.path)
        if text == watched.told:
            return
        watched.told = text
        if error is None:
            self._board.clear(watched.path)
            return
        _log.warning("%s", text)
        watched.is_owed_a_copy = True

    def _keep_what_is_there(self, watched: _Watched) -> None:
        """The bytes of what cannot be read: the next kernel moves it away, and may overwrite it."""
        parts = parts_of(watched.path)
        watched.is_owed_a_copy = False
        if "" not in parts or watched.file is None:
            return
        try:
            self._copies.take(parts, self.tail.newest_generation(watched.file) or UNKNOWN)
        except Busy:
            watched.is_owed_a_copy = True
        except NbguardError as error:
            _log.warning("%s is not copied: %s", watched.path, error.message)

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _scan_after_news(self) -> None:
        now = self._clock.monotonic()
        self._scans_due += [now + after for after in _SCANS_AFTER_NEWS_SECONDS]

    def _look_for_kernels(self, now: float) -> None:
        times = stamps_of(self._runtimes)
        if times != self._runtime_times:
            self._runtime_times = times
            self._scan_after_news()
        if now < min(self._scans_due):
            return
        self._scans_due = [due for due in self._scans_due if due > now and due <= now + _SCAN_SECONDS]
        self._scans_due.append(now + _SCAN_SECONDS)
        kernels = [with_databases(kernel) for kernel in self._kernels()]
        for kernel in kernels:
            for file in kernel.databases:
                if not file.deleted:
                    self._watch(file.path)
        self._held_open.update(kernels, {watched.file for watched in self._watched.values()})
        self._losing.judge(kernels)
        self._somebody_lives = bool(kernels)

    # -- whole copies ----------------------------------------------------------------------------------------------

    def copy_due(self) -> None:
        """Copy every database that changed since its last copy, a day or more ago. For a thread of its own."""
        for watched in list(self._watched.values()):
            try:
                state = state_of(watched.path)
                generation = self.tail.newest_generation(state.file) if state is not None else None
                if state is None or generation is None:
                    continue
                if self._copies.is_due(generation, max(state.mtime_ns, state.wal_mtime_ns)):
                    self._copies.take(parts_of(watched.path), generation)
            except (Busy, Unreadable, KeyError):
                continue  # looked at again in a minute

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)
