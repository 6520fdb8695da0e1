"""All history databases of this user, watched: found, read as they change, copied, and missed when they go.

A look at every file each half second costs less than file events would: an execution writes and removes a journal, and
an idle database costs two calls of stat.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nbguard.clock import Clock
from nbguard.errors import Busy, ChangedMeanwhile, NbguardError, StorageTrouble
from nbguard.history import process_table
from nbguard.history.copies import DatabaseCopies, parts_held_by, parts_of, stamps_of
from nbguard.history.databases import LIVE, left_in, profiles_in
from nbguard.history.databases import stamps_of as times_of
from nbguard.history.generations import FileIdentity
from nbguard.history.kernels import LiveKernel
from nbguard.history.reading import DatabaseState, NeedsCopy, Unreadable, reading, state_of
from nbguard.history.silent import HeldFile, KernelSeen, Loss, losses
from nbguard.history.tail import Source, Tail
from nbguard.problems import ProblemBoard

_log = logging.getLogger(__name__)
LOST = "kernel-history-lost"
UNKNOWN = "unknown"
_POLL_SECONDS = 0.5
_BUSY_SECONDS = 0.1
_SCAN_SECONDS = 60.0
# A kernel opens its database about a second after its process began; what is wrong with it shows later.
_SCANS_AFTER_NEWS_SECONDS = (2.0, 20.0)
_SAVE_SECONDS = 60.0
_STAND_IN_SECONDS = 2.0
_WORK_SECONDS = 1.0
_COPY_WORK_SECONDS = 5.0
_ORPHAN_AGAIN_SECONDS = 5.0


@dataclass(slots=True)
class _Watched:
    """One database by its path. ``state`` is what was read last, if a later write is sure to be told from it."""

    path: str
    state: DatabaseState | None = None
    file: FileIdentity | None = None
    is_behind: bool = False
    told: str = ""
    copy_read_at: float = float("-inf")


@dataclass(slots=True)
class _Orphan:
    """A database without its name, which a process still holds open."""

    pid: int
    file: FileIdentity
    path: str
    stamps: tuple[tuple[int, ...], ...] = ()
    kept: str | None = None
    due: float = float("-inf")
    is_behind: bool = False


class Histories:
    """One worker steps it; see :meth:`step`.

    ``folders`` are IPython's own, ``kernels`` tells which IPythons live now (and what they hold open),
    ``lost`` is called once for each kernel that is found to have lost its history.
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
        runtimes: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._folders = list(folders)
        self.tail = tail
        self._copies = copies
        self._kernels = kernels
        self._clock = clock
        self._board = board
        self._lost = lost
        self._runtimes = runtimes
        self._watched: dict[str, _Watched] = {}
        self._orphans: dict[FileIdentity, _Orphan] = {}
        self._profiles: list[str] = []
        self._listed: tuple[int, ...] = (-1,)
        self._runtime_times: tuple[int, ...] = ()
        self._losses: dict[int, Loss] = {}
        self._scans_due: list[float] = [float("-inf")]
        self._save_due = clock.monotonic() + _SAVE_SECONDS

    def step(self) -> float:
        """Look at everything once; seconds after which to look again. Raises StorageTrouble: nothing is forgotten."""
        now = self._clock.monotonic()
        self._list()
        wait = _POLL_SECONDS
        for watched in list(self._watched.values()):
            wait = min(wait, self._look(watched, now))
        for orphan in list(self._orphans.values()):
            wait = min(wait, self._look_at_orphan(orphan, now))
        self._look_for_kernels(now)
        if now >= self._save_due:
            self._save_due = now + _SAVE_SECONDS
            self.tail.save()
        return wait

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
        times = times_of([*self._folders, *self._profiles])
        if times == self._listed:
            return
        profiles = [profile for folder in self._folders for profile in profiles_in(folder)]
        for profile in profiles:
            for path in (os.path.join(profile, LIVE), *left_in(profile)):
                self._watch(path)
        if profiles != self._profiles:
            self._profiles = profiles
            times = times_of([*self._folders, *profiles])
        self._listed = times

    def _watch(self, path: str) -> _Watched:
        """``path`` by its real name: a profile may be reached in several ways."""
        return self._watched.setdefault(os.path.realpath(path), _Watched(os.path.realpath(path)))

    # -- reading ---------------------------------------------------------------------------------------------------

    def _look(self, watched: _Watched, now: float) -> float:
        """Read one database if it changed; seconds after which to look again."""
        try:
            state = state_of(watched.path)
        except Unreadable as error:
            self._tell(watched, error)
            return _POLL_SECONDS
        if state is None or state.file != watched.file:
            self._is_another(watched, state)
        if state is None or state.size == 0 or (state == watched.state and not watched.is_behind):
            return _POLL_SECONDS
        source = Source(path=watched.path, file=state.file, name=watched.path)
        try:
            watched.is_behind = self._read(watched, source, now)
        except (Busy, ChangedMeanwhile):
            return _BUSY_SECONDS
        except FileNotFoundError:
            return _BUSY_SECONDS
        except Unreadable as error:
            self._tell(watched, error)
            watched.state = state
            return _POLL_SECONDS
        self._tell(watched, None)
        watched.state = state if state.is_settled(self._now_ns()) else None
        return 0.0 if watched.is_behind else _POLL_SECONDS

    def _read(self, watched: _Watched, source: Source, now: float) -> bool:
        until = now + _WORK_SECONDS
        try:
            while self.tail.look(source):
                if self._clock.monotonic() >= until:
                    return True
        except NeedsCopy:
            if now < watched.copy_read_at + _STAND_IN_SECONDS:
                raise Busy(f"{source.path} cannot be read where it lies", hint="its copy is read later") from None
            watched.copy_read_at = now
            return self._read_copy(parts_of(source.path), source, until)
        return False

    def _read_copy(self, parts: dict[str, str], source: Source, until: float) -> bool:
        """Read a private copy that is thrown away; it takes long to make, so more of it is read at once."""
        try:
            with self._copies.borrow(parts) as copy:
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
        if text == watched.told:
            return
        watched.told = text
        if error is None:
            self._board.clear(watched.path)
            return
        _log.warning("%s", text)
        if os.path.basename(watched.path) == LIVE:
            self._board.note(LOST, error.message, error.hint, subject=watched.path)
        self._keep_what_is_there(watched)

    def _keep_what_is_there(self, watched: _Watched) -> None:
        """The bytes of what cannot be read: the next kernel moves it away, and may overwrite it."""
        parts = parts_of(watched.path)
        if "" not in parts or watched.file is None:
            return
        try:
            self._copies.take(parts, self.tail.newest_generation(watched.file) or UNKNOWN)
        except NbguardError as error:
            _log.warning("%s is not copied: %s", watched.path, error.message)

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _scan_after_news(self) -> None:
        now = self._clock.monotonic()
        self._scans_due += [now + after for after in _SCANS_AFTER_NEWS_SECONDS]

    def _look_for_kernels(self, now: float) -> None:
        times = times_of(self._runtimes())
        if times != self._runtime_times:
            self._runtime_times = times
            self._scan_after_news()
        if now < min(self._scans_due):
            return
        self._scans_due = [due for due in self._scans_due if due > now and due <= now + _SCAN_SECONDS]
        self._scans_due.append(now + _SCAN_SECONDS)
        kernels = [_with_databases(kernel) for kernel in self._kernels()]
        held = {}
        for kernel in kernels:
            for file in kernel.databases:
                if not file.deleted:
                    self._watch(file.path)
                else:
                    identity = FileIdentity(file.device, file.inode)
                    held[identity] = _Orphan(pid=kernel.pid, file=identity, path=file.path)
        places = {watched.file for watched in self._watched.values()}
        for identity, orphan in held.items():
            known = self._orphans.get(identity)
            if known is None and identity not in places:
                _log.warning("%s is gone, and process %d holds it open", orphan.path, orphan.pid)
                self._orphans[identity] = orphan
            elif known is not None:
                known.pid = orphan.pid
        for identity in [identity for identity in self._orphans if identity not in held]:
            del self._orphans[identity]
        self._judge(kernels)

    def _judge(self, kernels: Sequence[LiveKernel]) -> None:
        by_pid = {kernel.pid: kernel for kernel in kernels if kernel.is_ipython}
        now = self._clock.now().timestamp()
        found = {loss.pid: loss for loss in losses(_seen(kernel, now) for kernel in by_pid.values())}
        for pid in self._losses:
            if pid not in found:
                self._board.clear(f"kernel {pid}")
        for pid, loss in found.items():
            self._board.note(LOST, loss.message, loss.hint, subject=f"kernel {pid}")
            if pid not in self._losses:
                _log.warning("%s", loss.message)
                self._lost(by_pid[pid])
        self._losses = found

    # -- databases without a name ----------------------------------------------------------------------------------

    def _look_at_orphan(self, orphan: _Orphan, now: float) -> float:
        """Copy what a process still holds open, and read it; again when it changes (a deleted log still grows)."""
        if now < orphan.due:
            return _POLL_SECONDS
        orphan.due = now + _POLL_SECONDS
        parts = parts_held_by(orphan.pid, orphan.file.device, orphan.file.inode)
        if not parts:
            self.scan_soon()
            return _POLL_SECONDS
        try:
            stamps = stamps_of(parts)
            if stamps != orphan.stamps:
                generation = self.tail.newest_generation(orphan.file) or UNKNOWN
                orphan.kept = self._copies.take(parts, generation)
                orphan.stamps, orphan.is_behind = stamps, True
                self._board.clear(orphan.path)
        except (Busy, OSError):
            return _BUSY_SECONDS
        except StorageTrouble as trouble:
            self._board.note_error(trouble, subject=orphan.path)
            orphan.due = now + _ORPHAN_AGAIN_SECONDS
        return self._read_orphan(orphan)

    def _read_orphan(self, orphan: _Orphan) -> float:
        try:
            while orphan.is_behind and orphan.kept is not None:
                source = Source(path=orphan.path, file=orphan.file, name=orphan.path, copy=orphan.kept)
                orphan.is_behind = self.tail.look(source)
        except (Busy, ChangedMeanwhile):
            return _BUSY_SECONDS
        except (Unreadable, NeedsCopy, FileNotFoundError) as error:
            _log.warning("%s, held open by process %d: %s", orphan.path, orphan.pid, error)
            orphan.is_behind = False
        return _POLL_SECONDS

    # -- whole copies ----------------------------------------------------------------------------------------------

    def copy_due(self) -> None:
        """Copy every database that changed since its last copy, a day or more ago. For a thread of its own."""
        for watched in list(self._watched.values()):
            generation = self.tail.newest_generation(watched.file) if watched.file is not None else None
            state = watched.state
            if generation is None or state is None:
                continue
            if self._copies.is_due(generation, state.mtime_ns):
                try:
                    self._copies.take(parts_of(watched.path), generation)
                except (Busy, KeyError):
                    continue

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)


def _with_databases(kernel: LiveKernel) -> LiveKernel:
    """A kernel with its database also where that was given a name of its own (hist_file)."""
    if kernel.databases or kernel.keeps_nothing or not kernel.is_ipython:
        return kernel
    found = tuple(file for file in process_table.open_files(kernel.pid) if file.deleted or _is_history(file.path))
    return replace(kernel, databases=found) if found else kernel


def _is_history(path: str) -> bool:
    try:
        with reading(path):
            return True
    except Busy:
        return True
    except (NbguardError, OSError):
        return False


def _seen(kernel: LiveKernel, now: float) -> KernelSeen:
    times = Counter((file.path, file.device, file.inode) for file in kernel.databases)
    first = {(file.path, file.device, file.inode): file for file in kernel.databases}
    held = tuple(
        HeldFile(path=key[0], times=count, is_gone=not os.path.exists(key[0]), is_elsewhere=first[key].deleted)
        for key, count in times.items()
    )
    name = os.path.basename(kernel.path) if kernel.path else f"process {kernel.pid}"
    return KernelSeen(
        pid=kernel.pid,
        name=f"the kernel of {name}" if kernel.path else f"the IPython of {name}",
        age_seconds=now - kernel.started_at,
        keeps_nothing=kernel.keeps_nothing,
        held=held,
    )
