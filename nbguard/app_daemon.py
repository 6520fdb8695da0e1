"""The composition root's third page: the daemon's cast."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.app import install_id, knowing, open_store, scopes_of, spool_of
from nbguard.app_alert import DaemonAlerts
from nbguard.app_following import Following
from nbguard.app_history import output_store_of, record_log_of
from nbguard.app_importing import Importing
from nbguard.app_lease import lease_of
from nbguard.app_mirroring import Mirroring
from nbguard.app_packing import Packing
from nbguard.app_rebuild import Mending
from nbguard.app_refuge import preload
from nbguard.app_sheltering import Sheltering
from nbguard.archive.recorder import Recorder
from nbguard.cadence import CalendarJob
from nbguard.clock import Clock, SystemClock
from nbguard.daemon import Cast, Daemon
from nbguard.errors import ArchiveTrouble
from nbguard.heads import Heads
from nbguard.health.checker import CheckerWatch
from nbguard.health.heartbeat import write_heartbeat
from nbguard.health.memory import CHECKS_FILE
from nbguard.health.starts import CALM_SECONDS, MOST_STARTS
from nbguard.mirror.lease import Lease, LeaseLost
from nbguard.model import Draft, Head, Problem
from nbguard.notebook import Remeasuring
from nbguard.notify import Notifier
from nbguard.ports import Progress
from nbguard.problems import ProblemBoard
from nbguard.processes import boot_id, use_few_heaps
from nbguard.saves import wire
from nbguard.settings import Settings
from nbguard.workers import Worker

if TYPE_CHECKING:
    from nbguard.archive.catalog import Catalog
    from nbguard.cli.context import Context

_log = logging.getLogger(__name__)

# An idle daemon wakes up every other second in all: its budget is a thousandth of one core, sweeps included.
_IDLE_SECONDS = 30.0
_MIRROR_PATIENCE_SECONDS = 86_400.0  # a first copy over a slow line; each child in it has a time limit of its own
_PACKER_PATIENCE_SECONDS = 3600.0  # a full repack of a large archive, on a slow disk


class Assembly:
    """Everything of one daemon process, wired. Each worker has a catalog connection of its own."""

    def __init__(
        self, context: Context, roots: Sequence[str], clock: Clock | None = None, lease: Lease | None = None
    ) -> None:
        settings = context.settings or Settings()
        self.clock = clock or SystemClock()
        self.board = ProblemBoard(self.clock)
        self.settings = settings
        self._woken = threading.Event()
        self.spool = spool = spool_of(context, self.clock)
        spool.make()
        spool.sweep_leftovers()
        self.recording = open_store(context, spool)
        self.packing = open_store(context, spool)
        self.lease = lease or lease_of(context, self.clock)
        self.lease_lost: LeaseLost | None = None
        self.stop_daemon = threading.Event().set
        self.mending = Mending(
            context, self.packing, install=lambda: install_id(context), clock=self.clock, board=self.board
        )
        self._catch_up()
        self.heads = Heads(_doubting_the_latest(self.recording.catalog, install_id(context)))
        self.recorder = Recorder(
            folder=self.recording.folder, spool=spool, measure=Remeasuring().measure, clock=self.clock
        )
        self.record_log = record_log_of(context)
        self.outputs = output_store_of(context)
        self.mirrors = Mirroring(context, self.clock)
        self.packs = Packing(
            context,
            self.packing,
            spool=spool,
            recorder=self.recorder,
            record_log=self.record_log,
            outputs=self.outputs,
            kept=lambda: self.saves.kept,
            packed=self.mirrors.soon,
            clock=self.clock,
            board=self.board,
            woken=self._woken,
        )
        self.packer, self.policy = self.packs.packer, self.packs.policy
        self.scopes = scopes_of(context, roots)
        self.watcher, self.saves = wire(
            self.scopes,
            store=spool,
            heads=self.heads,
            clock=self.clock,
            limits=settings.limits,
            intervals=settings.intervals,
            kept=self._kept,
            knows=knowing(open_store(context, spool)),
        )
        self.importing = Importing(context, self.packing, self.heads, self.scopes, clock=self.clock, board=self.board)
        self.following = Following(context, roots, clock=self.clock, board=self.board, woken=self._woken)
        self.sheltering = Sheltering(
            context,
            roots,
            spool=spool,
            record_log=self.record_log,
            outputs=self.outputs,
            clock=self.clock,
            board=self.board,
            woken=self._woken,
        )
        self._calm_at = float("inf")
        self.checker = CheckerWatch(
            os.path.join(context.places.state, CHECKS_FILE),
            clock=self.clock,
            boot=boot_id(),
            checks=settings.checks,
            is_installed=lambda: os.path.exists(context.places.service_marker),
        )
        self.alerts = DaemonAlerts(context, clock=self.clock, problems=self.problems)

    def _catch_up(self) -> None:
        """The catalog as it should be, also where a broken archive must be made anew first. Raises NbguardError."""
        try:
            self.recording.folder.catch_up()
        except ArchiveTrouble as trouble:
            if not self.mending.mend(trouble):
                raise
            self.recording.folder.catch_up()

    # -- once ------------------------------------------------------------------------------------------------------

    def import_first(self, progress: Progress = lambda done, total: None) -> None:
        """First versions of notebooks nobody has seen; what fails is noted and found again by the sweep."""

        def meanwhile() -> None:
            self.sheltering.meanwhile()
            self._refresh_lease()

        self.importing.run(progress, meanwhile)

    def once(self, progress: Progress = lambda done, total: None) -> tuple[Problem, ...]:
        """Import, sweep, keep, pack, and return what is wrong."""
        self.import_first(progress)
        self.watcher.sweep_now()
        self.saves.drain(wait_seconds=15.0)
        self.recorder.drain()
        self.following.once()
        self.packer.pack()
        self.packs.record_packer.pack()
        return self.problems()

    # -- workers ---------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        self._refresh_lease()
        self.watcher.step(self.clock.monotonic())
        self.watcher.wait(_IDLE_SECONDS)

    def save(self) -> None:
        self.saves.step(_IDLE_SECONDS)

    def record(self) -> None:
        if self.sheltering.is_wiped:  # the catalog went too; what is kept now is read from its drafts
            self._woken.wait(_IDLE_SECONDS)
        else:
            self.recorder.step(_IDLE_SECONDS)

    def _kept(self, draft: Draft, data: bytes | None) -> None:
        self.recorder.put(draft, data)
        self.packs.look()

    def pack(self) -> None:
        """Wait until there may be something to do, then pack_due()."""
        self.packs.wait()
        if not self.sheltering.is_wiped and self.lease.is_ours():
            self.mending.look()
            try:
                self.pack_due()
            except ArchiveTrouble as trouble:
                if not self.mending.mend(trouble):
                    raise
        self.packs.rest()

    def pack_due(self) -> None:
        """Pack when it is worth it, then see to maintenance."""
        self.importing.look()
        self.packs.pack_due()

    def _refresh_lease(self) -> None:
        """Move the lease on. When another machine has taken it, this daemon ends: the other one is right."""
        try:
            self.lease.refresh()
        except LeaseLost as lost:
            _log.critical("%s", lost.message)
            self.lease_lost = lost
            self.stop_daemon()
        except OSError as error:
            _log.warning("the lease could not be written: %s", error)

    def tell(self) -> None:
        """Send what is due to people, then wait."""
        self.alerts.step()
        self._woken.wait(self.alerts.pause_seconds)

    def mirror(self) -> None:
        """Bring mirrors up to date that are due, then wait."""
        if self.sheltering.is_wiped:
            self._woken.wait(_IDLE_SECONDS)
        else:
            self.mirrors.step()

    # -- what is told ----------------------------------------------------------------------------------------------

    def note_starts(self, unmeant: int) -> None:
        """Say it when the daemon was started too often lately after ends that nobody meant; for an hour."""
        if unmeant > MOST_STARTS:
            self.board.note(
                "crash-loop",
                f"the daemon was started {unmeant} times in an hour after it had ended unexpectedly",
                "see `nbguard service logs`; what was acknowledged is not lost by it",
                subject="starts",
            )
            self._calm_at = self.clock.monotonic() + CALM_SECONDS

    def problems(self) -> tuple[Problem, ...]:
        if self.clock.monotonic() >= self._calm_at:
            self.board.clear("starts")
        moved = self.sheltering.is_wiped  # then the emergency place is where things go
        # Also when the emergency place takes what the spool does not.
        if (trouble := self.spool.trouble()) and not moved:
            self.board.note_error(trouble, subject="spool")
        else:
            self.board.clear("spool")
        if (trouble := self.record_log.trouble()) and not moved:
            self.board.note_error(trouble, subject="records")
        else:
            self.board.clear("records")
        if damaged := self.spool.aside():
            self.board.note(
                "draft-damaged",
                f"{len(damaged)} drafts could not be packed; the first: {damaged[0]}",
                "check the disk, or update nbguard; they are kept, and tried again at the next start",
                subject="aside",
            )
        else:
            self.board.clear("aside")
        told = (self.watcher, self.saves, self.following, self.checker)
        return (*self.board.all(), *(problem for each in told for problem in each.problems()))

    def wake(self) -> None:
        """End every wait: the daemon stops."""
        self._woken.set()
        self.packs.wake()
        self.following.wake()
        self.watcher.wake()
        self.saves.wake()
        self.recorder.wake()
        self.mirrors.stop()

    def begin(self) -> None:
        preload()
        self.alerts.begin()
        self.sheltering.begin()
        self.recorder.count_spool()
        self.watcher.start()

    def end(self) -> None:
        self.watcher.stop()
        self.following.stop_recording()
        self.saves.drain()
        self.following.end()
        if not self.sheltering.is_wiped:
            self.recorder.drain()
        self.sheltering.end()


def _doubting_the_latest(catalog: Catalog, install: str) -> list[Head]:
    """All heads; those kept shortly before the last end are read once more.

    A file can be written again within the tick of its time stamp, and the daemon that would have heard of it is gone.
    A notebook of an archive that was taken over, which this machine never had, is not missed here.
    """
    fresh, elsewhere = catalog.spooled_ids(), catalog.heads_from_elsewhere(install)
    heads = [head for head in catalog.heads() if head.path not in elsewhere or os.path.lexists(head.path)]
    return [replace(head, signature=None) if head.version in fresh else head for head in heads]


def assemble(context: Context, roots: Sequence[str], lease: Lease | None = None) -> Assembly:
    """Wire a daemon for ``roots``, under a lease that was taken. Raises NbguardError."""
    use_few_heaps()
    return Assembly(context, roots, lease=lease)


def daemon_of(assembly: Assembly, context: Context) -> Daemon:
    """The daemon that runs an assembly until it is stopped."""
    settings, notifier = assembly.settings, Notifier(os.environ)
    cast = Cast(
        workers=(
            Worker(name="watcher", step=assembly.watch),
            Worker(name="saves", step=assembly.save),
            Worker(name="recorder", step=assembly.record),
            Worker(name="links", step=assembly.following.link),
            Worker(name="flight", step=assembly.following.record_flight),
            Worker(name="history", step=assembly.following.read_histories),
            Worker(
                name="history-copies", step=assembly.following.copy_histories, patience_seconds=_PACKER_PATIENCE_SECONDS
            ),
            Worker(name="refuge", step=assembly.sheltering.step, patience_seconds=_PACKER_PATIENCE_SECONDS),
            Worker(name="packer", step=assembly.pack, patience_seconds=_PACKER_PATIENCE_SECONDS),
            Worker(name="alerts", step=assembly.tell),
            Worker(name="mirrors", step=assembly.mirror, patience_seconds=_MIRROR_PATIENCE_SECONDS),
        ),
        jobs=(
            CalendarJob(
                name="maintenance",
                every_seconds=settings.intervals.maintenance_seconds,
                run=assembly.packs.maintain_soon,
            ),
        ),
        start=assembly.begin,
        wake=assembly.wake,
        stop=assembly.end,
        doubt=assembly.watcher.request_sweep,
        roots=assembly.watcher.reports,
        problems=assembly.problems,
        kept=lambda: assembly.importing.versions + assembly.saves.kept,
        missed_events=lambda: assembly.watcher.missed_events,
        beat=lambda heartbeat: write_heartbeat(assembly.sheltering.heartbeat, heartbeat),
    )
    daemon = Daemon(
        cast,
        clock=assembly.clock,
        board=assembly.board,
        boot=boot_id(),
        pid=os.getpid(),
        heartbeat_seconds=settings.intervals.heartbeat_seconds,
        watchdog_seconds=notifier.watchdog_seconds,
        tell=notifier.tell,
    )
    assembly.stop_daemon = daemon.stop
    return daemon
