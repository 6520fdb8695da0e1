"""Facts, gathered: every reading of disk, process and clock that the verdict needs happens here."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import Clock, SystemClock
from nbguard.errors import NbguardError
from nbguard.health.facts import Allowances, ArchiveFacts, DaemonFacts, Facts, RootFacts, SpoolFacts, Unprotected
from nbguard.health.heartbeat import read_heartbeat
from nbguard.model import Head, Heartbeat, Problem, Signature, Status
from nbguard.places import Places
from nbguard.processes import boot_id, is_alive
from nbguard.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from. ``walk`` gives the notebooks in scope under the given roots; it must not raise for a
    root that is gone; ``unreadable`` then names the folders it was kept out of. ``heads`` and ``spool`` may raise
    NbguardError, which becomes a fact itself."""

    places: Places
    settings: Settings | None
    walk: Callable[[Sequence[str]], Mapping[str, Signature]]
    heads: Callable[[], Sequence[Head]]
    spool: Callable[[], SpoolFacts]
    clock: Clock
    boot: str
    heartbeat: Callable[[], Heartbeat | None]
    pid_alive: Callable[[int], bool]
    lock_held: Callable[[], bool]
    digest: Callable[[str], str | None]
    bad_configuration: NbguardError | None = None
    unreadable: Callable[[], Sequence[str]] = tuple
    wiped: Callable[[], Sequence[Problem]] = tuple


def system_sources(
    places: Places,
    settings: Settings | None,
    *,
    walk: Callable[[Sequence[str]], Mapping[str, Signature]],
    heads: Callable[[], Sequence[Head]],
    spool: Callable[[], SpoolFacts],
    bad_configuration: NbguardError | None = None,
    unreadable: Callable[[], Sequence[str]] = tuple,
    wiped: Callable[[], Sequence[Problem]] = tuple,
) -> Sources:
    """Sources on this machine; only what other rooms know must be handed in."""
    return Sources(
        places=places,
        settings=settings,
        walk=walk,
        heads=heads,
        spool=spool,
        clock=SystemClock(),
        boot=boot_id(),
        heartbeat=lambda: read_heartbeat(places.heartbeat),
        pid_alive=is_alive,
        lock_held=lambda: is_locked(places.daemon_lock),
        digest=digest_file,
        bad_configuration=bad_configuration,
        unreadable=unreadable,
        wiped=wiped,
    )


def allowances(settings: Settings | None) -> Allowances:
    """How long things may take, as the configured intervals have it (defaults: 60 s, 60 s, 10 min, 31 min)."""
    settings = settings or Settings()
    intervals, limits = settings.intervals, settings.limits
    heartbeat_seconds = max(2.0, 6 * intervals.heartbeat_seconds)
    return Allowances(
        heartbeat_seconds=heartbeat_seconds,
        quiet_seconds=max(5.0, intervals.sweep_seconds / 4),
        stalled_seconds=max(20.0, 2.5 * intervals.sweep_seconds),
        pack_seconds=2 * intervals.pack_seconds + heartbeat_seconds,
        slow_interval_seconds=limits.slow_interval_seconds,
        slow_over_bytes=limits.slow_over_bytes,
        refuse_over_bytes=limits.refuse_over_bytes,
    )


def gather(sources: Sources) -> Facts:
    """Read everything once. Raises nothing for what is broken: that is what the facts are about."""
    settings = sources.settings
    daemon = _daemon(sources)
    roots = tuple(_root(path) for path in watched_roots(settings, daemon.heartbeat))
    on_disk = sources.walk([root.path for root in roots if not root.trouble])
    heads, trouble = _heads(sources)
    # After the walk, not before: what was saved while we looked must not seem to come from the future.
    now = sources.clock.now()
    unread = _unread(trouble, now) if trouble is not None else None
    unprotected = () if unread else _unprotected(on_disk, heads, sources.digest, now, daemon.heartbeat)
    slow_over_bytes = (settings or Settings()).limits.slow_over_bytes
    return Facts(
        now=now,
        daemon=daemon,
        configured=settings is not None,
        roots=roots,
        notebooks=len(on_disk),
        unprotected=unprotected,
        slow=tuple(sorted(path for path, signature in on_disk.items() if signature.size > slow_over_bytes)),
        emptied=tuple(sorted(head.path for head in heads.values() if head.status is Status.EMPTIED)),
        spool=_spool(sources),
        archive=_archive(sources.places),
        unread=unread,
        bad_configuration=_bad_configuration(sources, now),
        unreadable=_shut(sources.unreadable(), heads),
        wiped=tuple(sources.wiped()),
    )


def watched_roots(settings: Settings | None, heartbeat: Heartbeat | None) -> tuple[str, ...]:
    """Configured roots, then those that only the running daemon has (`run --watch`), each once."""
    configured = settings.roots if settings is not None else ()
    lent = () if heartbeat is None or heartbeat.stopped else (report.path for report in heartbeat.roots)
    return tuple(dict.fromkeys((*configured, *lent)))


def is_locked(path: str) -> bool:
    """Whether a process holds the flock on ``path``. On Linux without touching the lock, so that no daemon that is
    just starting finds it taken by us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        inode = os.fstat(fd).st_ino
        try:
            with open("/proc/locks", encoding="ascii", errors="replace") as file:
                # "3: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"; the device is not compared (btrfs shows another)
                return any(" FLOCK " in line and f":{inode} " in line for line in file)
        except OSError:
            return refuses_share(fd)
    finally:
        os.close(fd)


def refuses_share(fd: int) -> bool:
    """Whether another process holds the flock on an open file; takes a shared one for a moment to find out."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    return False


def digest_file(path: str) -> str | None:
    """SHA-256 of a file's bytes in hex; None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _daemon(sources: Sources) -> DaemonFacts:
    beat, clock = sources.heartbeat(), sources.clock
    up_seconds = clock.boottime_ns() / 1e9
    if beat is None:
        return DaemonFacts(up_seconds=up_seconds)
    age_seconds: float | None
    if beat.boot == sources.boot:
        age_seconds = max(0.0, (clock.boottime_ns() - beat.beat_boottime_ns) / 1e9)
    else:
        age_seconds = max(0.0, (clock.now() - beat.beat_at).total_seconds())
    awake_seconds = age_seconds
    if beat.beat_monotonic is not None and beat.boot == sources.boot:
        awake_seconds = min(age_seconds, max(0.0, clock.monotonic() - beat.beat_monotonic))
    return DaemonFacts(
        heartbeat=beat,
        age_seconds=age_seconds,
        awake_seconds=awake_seconds,
        same_boot=beat.boot == sources.boot,
        up_seconds=up_seconds,
        pid_alive=sources.pid_alive(beat.pid),
        lock_held=sources.lock_held(),
    )


def _root(path: str) -> RootFacts:
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except (FileNotFoundError, NotADirectoryError) as error:
        return RootFacts(path=path, trouble="root-gone", reason=error.strerror or "gone")
    except OSError as error:
        return RootFacts(path=path, trouble="root-unreadable", reason=error.strerror or "unreadable")
    return RootFacts(path=path)


def _heads(sources: Sources) -> tuple[dict[str, Head], NbguardError | None]:
    try:
        return {head.path: head for head in sources.heads() if not head.is_deleted}, None
    except NbguardError as error:
        return {}, error


def _unread(error: NbguardError, now: datetime) -> Problem:
    message = f"cannot tell which notebooks are protected: {error.message}"
    return Problem(code=error.code, message=message, hint=error.hint or "run `nbguard doctor`", since=now)


def _shut(unreadable: Sequence[str], heads: Mapping[str, Head]) -> tuple[str, ...]:
    """Of the folders that cannot be read, those with notebooks we know: somebody's database is no concern of ours."""
    return tuple(folder for folder in unreadable if any(path.startswith(folder + "/") for path in heads))


def _bad_configuration(sources: Sources, now: datetime) -> Problem | None:
    error = sources.bad_configuration
    return None if error is None else Problem(code=error.code, message=error.message, hint=error.hint, since=now)


def _spool(sources: Sources) -> SpoolFacts:
    try:
        return sources.spool()
    except NbguardError:
        return SpoolFacts()


def _archive(places: Places) -> ArchiveFacts:
    return ArchiveFacts(
        made=os.path.exists(places.archive_marker),
        present=os.path.isfile(os.path.join(places.archive, "HEAD")),
    )


def _unprotected(
    on_disk: Mapping[str, Signature],
    heads: Mapping[str, Head],
    digest: Callable[[str], str | None],
    now: datetime,
    beat: Heartbeat | None,
) -> tuple[Unprotected, ...]:
    """Notebooks whose bytes are not those of their head. Equal signatures are believed; a file that was only touched
    (same size, new times) is read, so that `touch` raises no alarm."""
    found = []
    for path, signature in on_disk.items():
        head = heads.get(path)
        if head is not None:
            if head.signature == signature:
                continue
            same_size = head.signature is None or head.signature.size == signature.size
            if same_size and digest(path) == head.sha256:
                continue
        changed = max(signature.mtime_ns, signature.ctime_ns) / 1e9
        could_keep_since = max(changed, _reachable_since(path, beat, is_new=head is None))
        found.append(
            Unprotected(
                path=path,
                size=signature.size,
                quiet_seconds=max(0.0, now.timestamp() - changed),
                waiting_seconds=max(0.0, now.timestamp() - could_keep_since),
            )
        )
    return tuple(found)


def _reachable_since(path: str, beat: Heartbeat | None, *, is_new: bool) -> float:
    """The wall-clock second since which this daemon can have seen the notebook (0 when no daemon says).

    A folder that is moved into a root brings notebooks whose own times are old; its own ctime tells. That excuses only
    what has no version yet, and only until the next sweep: in a busy folder the ctime is always new.
    """
    if beat is None or beat.stopped:
        return 0.0
    since = beat.since.timestamp()
    report = next((report for report in beat.roots if path.startswith(report.path.rstrip("/") + "/")), None)
    if is_new and report is not None:
        swept = report.last_sweep_at.timestamp() if report.last_sweep_at is not None else since
        folder = os.path.dirname(path)
        while len(folder) >= len(report.path):
            try:
                moved = os.stat(folder).st_ctime
            except OSError:
                break
            if moved > swept:
                since = max(since, moved)
            folder = os.path.dirname(folder) if folder != "/" else ""
    return since
