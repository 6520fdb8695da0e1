"""Facts, gathered: every reading of disk, process and clock that the verdict needs happens here or in check.py."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from nbguard.errors import NbguardError
from nbguard.health.ages import Ages, awake_since, clock_facts, jump_between
from nbguard.health.compare import unprotected
from nbguard.health.deadline import TookTooLong, within
from nbguard.health.facts import (
    ArchiveFacts,
    Choices,
    DaemonFacts,
    Facts,
    RootFacts,
    ServiceFacts,
    SpaceFacts,
    SpoolFacts,
    Unprotected,
    Unseen,
)
from nbguard.health.memory import CheckMemory
from nbguard.health.places_seen import look_at_root, look_at_space, stale_locks
from nbguard.health.remembered import Run
from nbguard.health.sources import Sources, allowances, this_run, watched_roots
from nbguard.model import Head, Heartbeat, Problem, Signature, Status
from nbguard.places import Places
from nbguard.settings import Settings

_WALKS = 4
"""A large root on a slow network takes longer to walk than one that is there takes to answer."""


def gather(sources: Sources) -> Facts:
    """Read everything once. Raises nothing for what is broken: that is what the facts are about."""
    settings, memory = sources.settings, sources.memory()
    base = gather_light(sources)
    unseen = list(base.unseen)
    roots, on_disk = _roots(sources, base.daemon.heartbeat, memory, unseen)
    heads, trouble = _heads(sources)
    living = {head.path: head for head in heads if not head.is_deleted}
    # After the walk, not before: what was saved while we looked must not seem to come from the future.
    run = this_run(sources)
    jump = jump_between(memory.looked, run, memory.jump)
    ages = Ages(now=run.at.timestamp(), jump=jump)
    unread = _unread(trouble, run.at) if trouble is not None else None
    late: tuple[Unprotected, ...] = ()
    if unread is None:
        try:
            late = within(
                2 * sources.deadline_seconds,
                lambda: unprotected(
                    on_disk,
                    living,
                    digest=sources.digest,
                    rehash=sources.rehash,
                    ages=ages,
                    beat=base.daemon.heartbeat,
                    awake_since=base.awake_since,
                ),
                "the disk that notebooks are on",
            )
        except TookTooLong as error:
            unread = _unread(error, run.at)
    slow_over_bytes = (settings or Settings()).limits.slow_over_bytes
    return replace(
        base,
        now=run.at,
        roots=tuple(_counted(root, on_disk, None if trouble else living) for root in roots),
        notebooks=len(on_disk),
        unprotected=late,
        slow=tuple(sorted(path for path, signature in on_disk.items() if signature.size > slow_over_bytes)),
        emptied=tuple(sorted(head.path for head in living.values() if head.status is Status.EMPTIED)),
        spool=_spool(sources, ages, base.awake_since, unseen),
        archive=_archive(sources, run, unseen),
        unread=unread,
        unreadable=_shut(sources.unreadable(), living),
        wiped=tuple(sources.wiped()),
        space=_space(sources, roots, memory, unseen),
        choices=base.choices and replace(base.choices, shares_disk=_shares_disk(sources.places, roots)),
        unseen=tuple(unseen),
    )


def gather_light(sources: Sources) -> Facts:
    """The daemon, its manager, the clock, and who hears of it: no folder, no archive, no catalog. What else there is
    is as the last full check had it."""
    memory, run, settings = sources.memory(), this_run(sources), sources.settings
    daemon, bad = _daemon(sources), sources.bad_configuration
    unseen: list[Unseen] = []
    service = _service(sources, unseen)
    return Facts(
        now=run.at,
        daemon=daemon,
        configured=settings is not None,
        roots=tuple(RootFacts(path=path) for path in watched_roots(settings, daemon.heartbeat)),
        notebooks=memory.notebooks,
        unprotected=(),
        slow=(),
        emptied=(),
        spool=SpoolFacts(),
        archive=ArchiveFacts(made=os.path.exists(sources.places.archive_marker), present=True),
        bad_configuration=None
        if bad is None
        else Problem(code=bad.code, message=bad.message, hint=bad.hint, since=run.at),
        noted=tuple(sources.noted()),
        service=service,
        choices=_choices(settings, service),
        clock=clock_facts(jump_between(memory.looked, run, memory.jump), run),
        channels=tuple(sources.channels()),
        about_channels=tuple(sources.about_channels()),
        mirrors=tuple(sources.mirrors()),
        awake_since=_awake_since(memory, daemon.heartbeat, run),
        unseen=tuple(unseen),
    )


def _daemon(sources: Sources) -> DaemonFacts:
    beat, clock = sources.heartbeat(), sources.clock
    up_seconds = clock.boottime_ns() / 1e9
    if beat is None:
        return DaemonFacts(up_seconds=up_seconds, is_excused=sources.excused(None), bad_starts=sources.bad_starts())
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
        is_excused=sources.excused(beat.since),
        bad_starts=sources.bad_starts(),
    )


def _service(sources: Sources, unseen: list[Unseen]) -> ServiceFacts | None:
    try:
        return within(sources.deadline_seconds, sources.service, "the service manager")
    except NbguardError as error:
        unseen.append(Unseen(what="service", reason=error.message))
        return None


def _roots(
    sources: Sources, beat: Heartbeat | None, memory: CheckMemory, unseen: list[Unseen]
) -> tuple[list[RootFacts], dict[str, Signature]]:
    """Each root and the notebooks in it, each with a deadline of its own: one dead mount hides no other root."""
    facts: list[RootFacts] = []
    on_disk: dict[str, Signature] = {}
    for path in watched_roots(sources.settings, beat):

        def look(path: str = path) -> RootFacts:
            return look_at_root(path, memory.covered.get(path))

        def walk(path: str = path) -> Mapping[str, Signature]:
            return sources.walk([path])

        try:
            root = within(sources.deadline_seconds, look, path)
        except TookTooLong as error:
            unseen.append(Unseen(what=path, reason=error.message))
            facts.append(RootFacts(path=path, trouble="root-unreadable", reason="it does not answer"))
            continue
        if not root.trouble:
            try:
                on_disk.update(within(_WALKS * sources.deadline_seconds, walk, path))
            except TookTooLong as error:
                unseen.append(Unseen(what=path, reason=error.message))
                root = replace(root, is_unseen=True)
        facts.append(root)
    return facts, on_disk


def _counted(root: RootFacts, on_disk: Mapping[str, Signature], living: Mapping[str, Head] | None) -> RootFacts:
    prefix = root.path.rstrip("/") + "/"
    return replace(
        root,
        notebooks=sum(1 for path in on_disk if path.startswith(prefix)),
        living=None if living is None else sum(1 for path in living if path.startswith(prefix)),
    )


def _heads(sources: Sources) -> tuple[Sequence[Head], NbguardError | None]:
    try:
        return within(2 * sources.deadline_seconds, sources.heads, "the catalog"), None
    except NbguardError as error:
        return (), error


def _unread(error: NbguardError, now: datetime) -> Problem:
    message = f"cannot tell which notebooks are protected: {error.message}"
    return Problem(code=error.code, message=message, hint=error.hint or "run `nbguard doctor`", since=now)


def _shut(unreadable: Sequence[str], heads: Mapping[str, Head]) -> tuple[str, ...]:
    """Of the folders that cannot be read, those with notebooks we know: somebody's database is no concern of ours."""
    return tuple(folder for folder in unreadable if any(path.startswith(folder + "/") for path in heads))


def _awake_since(memory: CheckMemory, beat: Heartbeat | None, run: Run) -> float:
    """When the machine woke, by whoever looked last: a check, or the daemon with its heartbeat."""
    woke = awake_since(memory.looked, memory.woke_at, run)
    if beat is None or beat.beat_monotonic is None:
        return woke
    beaten = Run(
        at=beat.beat_at,
        boot=beat.boot,
        boottime_seconds=beat.beat_boottime_ns / 1e9,
        monotonic_seconds=beat.beat_monotonic,
    )
    return max(woke, awake_since(beaten, 0.0, run))


def _spool(sources: Sources, ages: Ages, woke: float, unseen: list[Unseen]) -> SpoolFacts:
    try:
        found = within(sources.deadline_seconds, sources.spool, "the spool")
    except NbguardError as error:
        unseen.append(Unseen(what="spool", reason=error.message))
        return SpoolFacts()
    if found.oldest_seconds is None:
        return found
    # While it slept, nobody could pack.
    return replace(found, oldest_seconds=min(ages.of(ages.now - found.oldest_seconds), ages.of(woke)))


def _archive(sources: Sources, run: Run, unseen: list[Unseen]) -> ArchiveFacts:
    places, older_than_seconds = sources.places, allowances(sources.settings).stalled_seconds

    def look() -> ArchiveFacts:
        return ArchiveFacts(
            made=os.path.exists(places.archive_marker),
            present=os.path.isfile(os.path.join(places.archive, "HEAD")),
            stale_locks=stale_locks(places.archive, run.at.timestamp(), older_than_seconds),
        )

    try:
        return within(sources.deadline_seconds, look, "the archive")
    except TookTooLong as error:
        unseen.append(Unseen(what="archive", reason=error.message))
        return ArchiveFacts(made=True, present=True)


def _space(
    sources: Sources, roots: Sequence[RootFacts], memory: CheckMemory, unseen: list[Unseen]
) -> tuple[SpaceFacts, ...]:
    places, checks = sources.places, (sources.settings or Settings()).checks
    ours = [("archive", places.archive), ("spool", places.spool), ("state", places.state)]
    if not os.path.isdir(places.state) and not os.path.isdir(places.archive):
        return ()  # nothing of ours is here
    roles = [*ours, *(("root", root.path) for root in roots if not root.trouble)]

    def look() -> tuple[SpaceFacts, ...]:
        return look_at_space(roles, memory.space, sources.reserve, least_seconds=4 * checks.full_seconds)

    try:
        return within(sources.deadline_seconds, look, "the file systems")
    except TookTooLong as error:
        unseen.append(Unseen(what="space", reason=error.message))
        return ()


def _choices(settings: Settings | None, service: ServiceFacts | None) -> Choices | None:
    if settings is None:
        return None
    return Choices(
        channels=len(settings.channels),
        without_channels=settings.alerts.without_channels,
        mirrors=len(settings.mirrors),
        has_service=service is not None,
    )


def _shares_disk(places: Places, roots: Sequence[RootFacts]) -> bool:
    try:
        device = os.stat(places.archive).st_dev
    except OSError:
        return False
    return any(root.device == device for root in roots)
