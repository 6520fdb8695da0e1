"""The composition root's third page: the daemon's cast."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.app import first_import, install_id, knowing, open_store, reserve_of, scopes_of, spool_of
from nbguard.app_alert import DaemonAlerts
from nbguard.app_flight import flight_recorder_of
from nbguard.app_history import histories_of, linking_of, output_store_of, record_log_of, record_packer_of
from nbguard.app_lease import lease_of
from nbguard.app_mirroring import Mirroring
from nbguard.app_rebuild import Mending
from nbguard.app_refuge import preload, refuge_of
from nbguard.archive.maintenance import Maintenance, count_packs, is_due
from nbguard.archive.packer import Packer
from nbguard.archive.recorder import PackPolicy, Recorder
from nbguard.bell import Bell
from nbguard.cadence import CalendarJob
from nbguard.clock import Clock, SystemClock
from nbguard.daemon import Cast, Daemon
from nbguard.durable import FileLock, make_private_folder
from nbguard.errors import ArchiveTrouble, Busy, NbguardError
from nbguard.heads import Heads
from nbguard.health.checker import CheckerWatch
from nbguard.health.heartbeat import write_heartbeat
from nbguard.health.memory import CHECKS_FILE
from nbguard.health.starts import CALM_SECONDS, MOST_STARTS
from nbguard.history.generations import FileIdentity
from nbguard.history.linking import TICK_SECONDS
from nbguard.logs import move_log
from nbguard.mirror.lease import Lease, LeaseLost
from nbguard.model import Draft, Head, Problem
from nbguard.notebook import Remeasuring
from nbguard.notify import Notifier
from nbguard.places import find_places
from nbguard.ports import Progress
from nbguard.problems import ProblemBoard
from nbguard.processes import boot_id, give_back_memory, use_few_heaps
from nbguard.saves import wire
from nbguard.settings import Settings
from nbguard.watch.mounts import read_mounts, remote_kind
from nbguard.workers import Worker

if TYPE_CHECKING:
    from nbguard.archive.catalog import Catalog
    from nbguard.cli.context import Context
    from nbguard.history.kernels import LiveKernel
    from nbguard.history.process_table import Life

_log = logging.getLogger(__name__)

# An idle daemon wakes up every other second in all: its budget is a thousandth of one core, sweeps included.
_IDLE_SECONDS = 30.0
_PACK_POLL_SECONDS = 3.0
_PACK_GATHER_SECONDS = 1.0
_COPY_HISTORIES_SECONDS = 60.0
_REFUGE_SECONDS = 5.0
_LOOK_FOR_KERNELS_SECONDS = 10.0
# Commands keep versions too, and nobody tells the daemon: the spool is counted so often while nothing else waits.
_COUNT_SECONDS = 60.0
_QUIET_SECONDS = 6.0
_LOOK_FOR_UNSEEN_SECONDS = 60.0
_MIRROR_PATIENCE_SECONDS = 86_400.0  # a first copy over a slow line; each child in it has a time limit of its own
_LOCKED_OUT_SECONDS = 110.0
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
        self._context = context
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
        self.packer = Packer(
            archive=self.packing.archive,
            spool=spool,
            catalog=self.packing.catalog,
            folder=self.packing.folder,
            batch_bytes=settings.packing.bytes,
            reserve=reserve_of(settings),
        )
        self.record_log = record_log_of(context)
        self.record_packer = record_packer_of(context)
        self.outputs = output_store_of(context)
        self.maintenance = Maintenance(self.packing.archive)
        self.policy = PackPolicy(
            drafts=settings.packing.drafts, bytes=settings.packing.bytes, seconds=settings.intervals.pack_seconds
        )
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
        self._lost: set[Life] = set()
        self.histories = histories_of(
            context,
            environment=os.environ,
            clock=self.clock,
            board=self.board,
            kernels=self._kernels,
            lost=lambda kernel: self._lost.add(kernel.life),
            last_line=lambda kernel: self.linking.last_line(kernel.life),
        )
        self.linking = linking_of(
            context,
            environment=os.environ,
            clock=self.clock,
            generation_of=lambda device, inode, session: self.histories.tail.generation_of(
                FileIdentity(device, inode), session
            ),
            stopped_writing=lambda: tuple(self._lost),
            is_sound=lambda device, inode: (
                self.histories.tail.newest_generation(FileIdentity(device, inode)) is not None
            ),
        )
        self.flight = flight_recorder_of(context, roots, self.clock, self.linking.kernels)
        self.heartbeat = context.places.heartbeat
        self._next_shelter = self.clock.monotonic()
        self.refuge = refuge_of(
            context, roots, clock=self.clock, board=self.board, make_anew=self._make_anew, move_to=self._move_to
        )
        self.first_versions = 0
        self._calm_at = float("inf")
        self._look_for_unseen_at: float | None = None
        self._next_count = self._next_records = self.clock.monotonic()
        self._kept_before = self._kept_when_given_back = 0
        self._quiet_since = self.clock.monotonic()
        self._locked_out_since: float | None = None
        self._maintain_now = threading.Event()
        self._pack_soon = threading.Event()
        self._packed_at = self.clock.monotonic()
        self._woken = threading.Event()
        self.mirrors = Mirroring(context, self.clock)
        self.checker = CheckerWatch(
            os.path.join(context.places.state, CHECKS_FILE),
            clock=self.clock,
            boot=boot_id(),
            checks=settings.checks,
            is_installed=lambda: os.path.exists(context.places.service_marker),
        )
        self.alerts = DaemonAlerts(context, clock=self.clock, problems=self.problems)
        self._history_bell, self._kernel_bell = Bell(self.clock, tells_all), Bell(self.clock, tells_all)

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

        def told(done: int, total: int) -> None:
            progress(done, total)
            self._shelter_meanwhile()
            self._refresh_lease()

        try:
            report = first_import(self._context, self.packing, self.heads).run(self.scopes, told)
        except NbguardError as error:
            _log.error("first import: %s", error.message)
            self.board.note_error(error, subject="import")
            self._look_for_unseen_at = self.clock.monotonic() + _LOOK_FOR_UNSEEN_SECONDS
            return
        self._look_for_unseen_at = None
        self.board.clear("import")
        self.first_versions += report.versions
        if report.versions:
            _log.info("kept %d first versions of %d notebooks", report.versions, report.notebooks)

    def once(self, progress: Progress = lambda done, total: None) -> tuple[Problem, ...]:
        """Import, sweep, keep, pack, and return what is wrong."""
        self.import_first(progress)
        self.watcher.sweep_now()
        self.saves.drain(wait_seconds=15.0)
        self.recorder.drain()
        self.linking.step()
        self.histories.catch_up()
        self.packer.pack()
        self.record_packer.pack()
        return self.problems()

    # -- workers ---------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        self._refresh_lease()
        self.watcher.step(self.clock.monotonic())
        self.watcher.wait(_IDLE_SECONDS)

    def save(self) -> None:
        self.saves.step(_IDLE_SECONDS)

    def record(self) -> None:
        if self.refuge.is_wiped:  # the catalog went too; what is kept now is read from its drafts
            self._woken.wait(_IDLE_SECONDS)
        else:
            self.recorder.step(_IDLE_SECONDS)

    def _kept(self, draft: Draft, data: bytes | None) -> None:
        self.recorder.put(draft, data)
        if not self._pack_soon.is_set() and self.policy.is_due(self.recorder.waiting()):
            self._pack_soon.set()

    def _kernels(self) -> tuple[LiveKernel, ...]:
        return self.linking.kernels()

    def read_histories(self) -> None:
        """Keep what was executed since the last look, then wait a little, or until there may be more."""
        seconds = self.histories.step()
        if rest_seconds := self.histories.rest_seconds():
            self._history_bell.rest(self.histories.folders(), rest_seconds, otherwise_seconds=seconds)
        else:
            self._history_bell.wait(seconds)

    def copy_histories(self) -> None:
        """Copy history databases that changed, once a day; looked at now and then."""
        self._woken.wait(_COPY_HISTORIES_SECONDS)
        if not self._woken.is_set():
            self.histories.copy_due()

    def link(self) -> None:
        """Tie sessions to notebooks, then wait a little, or until a kernel may have come."""
        before = self.linking.kernels()
        self.linking.step()
        if self.flight is not None and self.linking.kernels() is not before:
            self.flight.look_now()
        if self.linking.is_resting:
            self._kernel_bell.rest(self.linking.runtimes, _LOOK_FOR_KERNELS_SECONDS, otherwise_seconds=TICK_SECONDS)
        else:
            self._kernel_bell.wait(TICK_SECONDS)

    def record_flight(self) -> None:
        """Hear the kernels for a while, or wait, where nothing is to be recorded."""
        if self.flight is None:
            self._woken.wait(_IDLE_SECONDS)
        else:
            self.flight.step(_IDLE_SECONDS)

    def pack(self) -> None:
        """Wait until there may be something to do, then pack_due()."""
        if self._pack_soon.wait(self._until_pack()):
            self._pack_soon.clear()
            since = self.clock.monotonic() - self._packed_at
            # What comes together is packed together.
            self._woken.wait(max(_PACK_GATHER_SECONDS, _PACK_POLL_SECONDS - since))
        if not self.refuge.is_wiped and self.lease.is_ours():
            self.mending.look()
            try:
                self.pack_due()
            except ArchiveTrouble as trouble:
                if not self.mending.mend(trouble):
                    raise
        self._packed_at = self.clock.monotonic()

    def _until_pack(self) -> float:
        """Seconds until the packer has something to do, unless more is kept meanwhile."""
        waiting, most = self.recorder.waiting(), self.settings.intervals.pack_seconds
        is_owed = self.saves.kept - self._kept_when_given_back >= self.policy.drafts  # memory, once it is quiet
        if is_owed or self._maintain_now.is_set() or self.policy.is_due(waiting):
            return _PACK_POLL_SECONDS
        seconds = min(_COUNT_SECONDS, most - waiting.oldest_seconds if waiting.drafts else most)
        return max(_PACK_POLL_SECONDS, seconds)

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
        if self.refuge.is_wiped:
            self._woken.wait(_IDLE_SECONDS)
        else:
            self.mirrors.step()

    def shelter(self) -> None:
        """One look of the refuge, then wait."""
        if not self.refuge.is_wiped:
            self.spool.tend()
        self.refuge.step()
        if not self.refuge.is_wiped:
            self.record_log.tend()
        self._woken.wait(_REFUGE_SECONDS)

    def _shelter_meanwhile(self) -> None:
        """A first import takes minutes, before there are workers: what it has kept is held all the same."""
        if self.spool.outside is None or self.clock.monotonic() < self._next_shelter:
            return
        self._next_shelter = self.clock.monotonic() + _REFUGE_SECONDS
        try:
            self.refuge.step()
        except (NbguardError, OSError) as error:
            _log.error("refuge: %s", error)  # the worker tells it once it runs

    def _make_anew(self) -> None:
        """Folders of ours that were removed while all around them stayed."""
        make_private_folder(self._context.places.state)
        self.spool.make()
        self.record_log.make()
        self.outputs.make()

    def _move_to(self, emergency: str) -> None:
        """HOME was wiped: whatever is written goes there, and nothing is made anew where it was."""
        there = find_places(home=emergency)
        make_private_folder(there.state)
        for each in (self.spool, self.record_log, self.outputs):
            each.spill_to(emergency)
        self.heartbeat = there.heartbeat
        move_log(there.log_file)
        self._lock_there = FileLock(there.daemon_lock)
        self._lock_there.acquire()

    def pack_due(self) -> None:
        """Pack when it is worth it, then see to maintenance."""
        self._forget_import()
        self._count_others()
        try:
            self._pack_versions()
        finally:
            self._pack_records()
        if self._maintain_now.is_set():
            self._maintain_now.clear()
            self.outputs.prune()
            self._maintain()
        self._give_back_memory()

    def _pack_versions(self) -> None:
        if self.policy.is_due(self.recorder.waiting()):
            try:
                done = self.packer.pack()
            except Busy:
                self._note_locked_out()
                raise
            finally:
                self.recorder.count_spool()
            self._locked_out_since = None
            self.board.clear("lock")
            if done.tip is not None:
                _log.info("packed %d versions, %d bytes", done.versions, done.bytes)
                self.mirrors.soon()
                self._maintain()

    def _note_locked_out(self) -> None:
        """Others that write refs are done in seconds; whoever holds the lock for minutes may do so for ever."""
        now = self.clock.monotonic()
        since = self._locked_out_since = now if self._locked_out_since is None else self._locked_out_since
        if now - since >= min(_LOCKED_OUT_SECONDS, self.settings.intervals.pack_seconds / 8):
            self.board.note(
                "packer-behind",
                f"versions wait to be packed, and another process has held the archive's lock for {now - since:.0f} s",
                f"they are durable meanwhile; `fuser {self.packing.archive.lock_path}` says which process it is",
                subject="lock",
            )

    def _pack_records(self) -> None:
        self.record_log.tend()
        now = self.clock.monotonic()
        if now < self._next_records:
            return
        self._next_records = now + min(_COUNT_SECONDS, self.settings.intervals.pack_seconds)
        if self.record_packer.is_due():
            done = self.record_packer.pack()
            _log.info("packed %d segments of executed cells, %d bytes", done.segments, done.bytes)
            self._maintain()

    def _give_back_memory(self) -> None:
        """Once many saves were kept and it is quiet: a burst, and packing it, leave tens of megabytes behind."""
        kept, now = self.saves.kept, self.clock.monotonic()
        if kept != self._kept_before:
            self._kept_before, self._quiet_since = kept, now
        elif kept - self._kept_when_given_back >= self.policy.drafts and now - self._quiet_since >= _QUIET_SECONDS:
            self._kept_when_given_back = kept
            give_back_memory()

    def _forget_import(self) -> None:
        """A first import that failed is no problem any more once the sweeps have kept everything."""
        due, now = self._look_for_unseen_at, self.clock.monotonic()
        if due is None or now < due:
            return
        self._look_for_unseen_at = now + _LOOK_FOR_UNSEEN_SECONDS
        if first_import(self._context, self.packing, self.heads).is_done(self.scopes):
            self._look_for_unseen_at = None
            self.board.clear("import")

    def _count_others(self) -> None:
        """Learn of drafts that other processes put there; with one of ours waiting, theirs are packed with it."""
        now = self.clock.monotonic()
        if now >= self._next_count and self.recorder.waiting().drafts == 0:
            self._next_count = now + min(_COUNT_SECONDS, self.settings.intervals.pack_seconds)
            self.recorder.count_spool()

    def _maintain(self) -> None:
        if is_due(count_packs(self.packing.archive)):
            try:
                self.maintenance.run()
            except Busy:
                self._maintain_now.set()

    def maintain_soon(self) -> None:
        self._maintain_now.set()
        self._pack_soon.set()

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
        moved = self.refuge.is_wiped  # then the emergency place is where things go
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
        flight = self.flight.problems() if self.flight is not None else ()
        checker = self.checker.problems()
        return (*self.board.all(), *self.watcher.problems(), *self.saves.problems(), *flight, *checker)

    def wake(self) -> None:
        """End every wait: the daemon stops."""
        self._woken.set()
        self._pack_soon.set()
        self._history_bell.stop()
        self._kernel_bell.stop()
        self.watcher.wake()
        self.saves.wake()
        self.recorder.wake()
        if self.flight is not None:
            self.flight.wake()
        self.mirrors.stop()

    def begin(self) -> None:
        preload()
        self.alerts.begin()
        self.refuge.begin()
        self.spool.outside = self.record_log.outside = self.outputs.outside = self.refuge
        self.recorder.count_spool()
        self.watcher.start()

    def end(self) -> None:
        self.watcher.stop()
        if self.flight is not None:
            self.flight.stop()
        self.saves.drain()
        self.histories.end()
        if not self.refuge.is_wiped:
            self.recorder.drain()
        self.refuge.end()


def tells_all(folder: str) -> bool:
    """Whether every change in a folder is told of by events: not on file systems that others write as well."""
    return remote_kind(os.path.realpath(folder), read_mounts()) is None


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
            Worker(name="links", step=assembly.link),
            Worker(name="flight", step=assembly.record_flight),
            Worker(name="history", step=assembly.read_histories),
            Worker(name="history-copies", step=assembly.copy_histories, patience_seconds=_PACKER_PATIENCE_SECONDS),
            Worker(name="refuge", step=assembly.shelter, patience_seconds=_PACKER_PATIENCE_SECONDS),
            Worker(name="packer", step=assembly.pack, patience_seconds=_PACKER_PATIENCE_SECONDS),
            Worker(name="alerts", step=assembly.tell),
            Worker(name="mirrors", step=assembly.mirror, patience_seconds=_MIRROR_PATIENCE_SECONDS),
        ),
        jobs=(
            CalendarJob(
                name="maintenance",
                every_seconds=settings.intervals.maintenance_seconds,
                run=assembly.maintain_soon,
            ),
        ),
        start=assembly.begin,
        wake=assembly.wake,
        stop=assembly.end,
        doubt=assembly.watcher.request_sweep,
        roots=assembly.watcher.reports,
        problems=assembly.problems,
        kept=lambda: assembly.first_versions + assembly.saves.kept,
        missed_events=lambda: assembly.watcher.missed_events,
        beat=lambda heartbeat: write_heartbeat(assembly.heartbeat, heartbeat),
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
