"""The composition root's page for alerts: the desk of this installation, for commands, the check and the daemon."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.alerting import ChannelReport, Observation, Observer, Sent, Weighed, Weight
from nbguard.clock import Clock, SystemClock
from nbguard.durable import read_plain
from nbguard.errors import BadConfiguration, Refused
from nbguard.model import Problem
from nbguard.notices import as_problem, failed_units, write_notice
from nbguard.places import last_resort
from nbguard.processes import boot_id
from nbguard.settings import Channel, Settings

if TYPE_CHECKING:
    from nbguard.alert.desk import AlertDesk, Stepped
    from nbguard.alert.roll_call import SharedCall
    from nbguard.alert.shared_json import Fetched
    from nbguard.alert.store import AlertStore
    from nbguard.cli.context import Context

FILE = "alerts.json"
ELSEWHERE = "elsewhere.json"
_MOST_BYTES = 4_000_000

TOLD_BY_THE_DAEMON = frozenset(
    {
        "checker-late",
        "unit-failed",
        "home-wiped",
        "own-files-removed",
        "no-space",
        "no-inodes",
        "read-only",
        "io-error",
        "crash-loop",
    }
)
"""What the daemon tells of itself, in case that the checker is dead, or is gone with the home."""

SEEN_TO_BE_OVER_BY_THE_DAEMON = frozenset({"checker-late", "unit-failed", "home-wiped", "crash-loop"})
"""Of these, what no check finds by itself in other places: those of disks are over when a full check says so."""

_GAPS = frozenset({"home-wiped", "own-files-removed"})


class ConfigurationNow:
    """The configuration as it is on disk, read again only when its file changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self._settings: Settings | None = None

    def settings(self) -> Settings | None:
        """None where there is none, or none that can be used."""
        from nbguard.settings_reading import load_settings

        try:
            status = os.stat(self._path)
        except OSError:
            self._settings, self._mark = None, None
            return None
        mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        if mark != self._mark:
            self._mark = mark
            try:
                self._settings = load_settings(self._path)
            except BadConfiguration:
                self._settings = None
        return self._settings

    def has(self, channels: Sequence[Channel]) -> bool:
        """Whether these are its channels."""
        settings = self.settings()
        return settings is not None and settings.channels == tuple(channels)


def open_desk(context: Context, *, clock: Clock | None = None, at_once: bool = False) -> AlertDesk:
    """The alert desk over this installation's state. ``at_once``: every channel is built now, and delivers also after
    our own files are gone; else each is when it is used."""
    from nbguard.alert.desk import AlertDesk
    from nbguard.alert.sending import open_sender, shown_address

    settings, now = context.settings or Settings(), ConfigurationNow(context.places.config)
    sender = open_sender(
        settings.channels,
        timeout_seconds=settings.alerts.send_timeout_seconds,
        environment=os.environ,
        at_once=at_once,
    )
    return AlertDesk(
        store_of(context),
        channels=settings.channels,
        sender=sender,
        alerts=settings.alerts,
        calls=settings.roll_call,
        clock=clock or SystemClock(),
        boot=boot_id(),
        host=socket.gethostname(),
        show=lambda line: write_notice(context.places.notice, line),
        address=shown_address,
        is_current=lambda: now.has(settings.channels),
    )


def store_of(context: Context) -> AlertStore:
    """Where alerts are remembered: in state, with a copy in the emergency place, and in the runtime folder when no
    disk takes them."""
    from nbguard.alert.store import AlertStore

    places = context.places
    path = os.path.join(places.state, FILE)
    copies = (os.path.join(places.emergency, FILE),) if places.emergency else ()
    if not os.path.isdir(places.state):
        copies = (*copies, *_where_homes_were_wiped())
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    name = f"nbguard-alerts-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}.json"
    return AlertStore(path, copies, last_resort=os.path.join(runtime, name) if os.path.isabs(runtime) else "")


def _where_homes_were_wiped() -> tuple[str, ...]:
    """What a daemon remembers that goes on after its home was wiped: its messages can still be answered."""
    from nbguard.places import open_to_all
    from nbguard.refuge.notes import find_notes

    return tuple(os.path.join(note.folder, FILE) for note in find_notes(open_to_all(), os.getuid())[:1])


def has_told(context: Context) -> bool:
    """Whether anything was ever told from here."""
    return any(inode for inode, _, _ in store_of(context).mark())


def tell(context: Context, observation: Observation, *, sends: bool = True) -> Stepped | None:
    """Hand what was found to the desk, durably, and send what is due; None when nothing was to be sent now."""
    desk = open_desk(context)
    if elsewhere := stand_elsewhere(context):
        desk.merge(elsewhere)
    desk.observe(observation)
    return desk.step() if sends else None


def channel_reports(context: Context) -> tuple[ChannelReport, ...]:
    """Every configured channel as it stands; nothing is sent, nor written."""
    return open_desk(context).reports()


def alert_problems(context: Context) -> tuple[Weighed, ...]:
    """What is wrong with the channels themselves, for the verdict: recipient-unproven, recipient-overdue,
    single-channel, no-channel, alert-failed, and a record of alerts that cannot be written."""
    return open_desk(context).problems()


def roll_call_of(context: Context) -> bytes | None:
    """What machines with the same mirror may know of our people; None where there is nobody to be told."""
    from nbguard.alert.shared_json import roll_call_text

    if context.settings is None or not context.settings.channels:
        return None
    return roll_call_text(open_desk(context).export())


def fetched_elsewhere(context: Context) -> dict[str, Fetched]:
    """What was last fetched from mirrors about people; empty without mirrors."""
    from nbguard.alert.shared_json import fetched_in

    if context.settings is None or not context.settings.mirrors:
        return {}
    try:
        return fetched_in(read_plain(os.path.join(context.places.state, ELSEWHERE), _MOST_BYTES))
    except OSError:
        return {}


def stand_elsewhere(context: Context) -> tuple[SharedCall, ...]:
    """How people stood on other machines with the same mirror, when the mirror was last asked."""
    from nbguard.alert.shared_json import roll_calls_in

    files = fetched_elsewhere(context).values()
    return tuple(call for each in files if each.text for call in roll_calls_in(each.text.encode()))


def send_test(context: Context, channel: Channel) -> Sent:
    """Send a real message with a code through one channel, and say what it answered."""
    return open_desk(context).ask(channel.name)


def serve_page(context: Context, *, port: int, say: Callable[[str], None]) -> int:
    """Show the page that takes a code, until it was answered (0) or nobody came (1)."""
    from nbguard.alert.ack_page import MINUTES, AckPage, Heard
    from nbguard.alert.answering import words_of

    def answer(typed: str) -> Heard:
        answered = open_desk(context).answer(typed)
        return Heard(is_accepted=answered.is_accepted, words=words_of(answered))

    try:
        page = AckPage(answer, port=port)
    except OSError as error:
        message = f"no page can be shown at port {port}: {error.strerror or error}"
        raise Refused(message, hint="leave --port out, or: nbguard ack CODE") from None
    say(f"open {page.address} within {MINUTES} minutes, and type the code there")
    return 0 if page.serve() else 1


class DaemonAlerts:
    """The daemon's worker: it tells of itself what a dead checker would not, and sends whatever is due."""

    def __init__(self, context: Context, *, clock: Clock, problems: Callable[[], Iterable[Problem]]) -> None:
        alerts = (context.settings or Settings()).alerts
        self.pause_seconds = min(30.0, max(0.2, alerts.next_channel_seconds / 60))
        self._context = context
        self._clock = clock
        self._problems = problems
        self._settings = context.settings or Settings()
        self._configuration = ConfigurationNow(context.places.config)
        self._desk: AlertDesk | None = None
        self._elsewhere: tuple[SharedCall, ...] = ()

    def begin(self) -> None:
        """Build every channel, so that it delivers after the interpreter's own files are gone."""
        self._desk = open_desk(self._context, clock=self._clock, at_once=True)

    def step(self) -> None:
        """One look and one round of sending."""
        self._follow()
        assert self._desk is not None
        if (elsewhere := stand_elsewhere(self._context)) != self._elsewhere:
            self._elsewhere = elsewhere
            self._desk.merge(elsewhere)
        found = tuple(
            Weighed(problem=each, weight=Weight.GAP if each.code in _GAPS else Weight.WARNING)
            for each in (*self._problems(), *self._noted())
            if each.code in TOLD_BY_THE_DAEMON
        )
        self._desk.observe(
            Observation(
                observer=Observer.DAEMON,
                at=self._clock.now(),
                boot=boot_id(),
                boottime_ns=self._clock.boottime_ns(),
                found=found,
                sees=SEEN_TO_BE_OVER_BY_THE_DAEMON,
            )
        )
        self._desk.step()

    def _follow(self) -> None:
        """Channels that came, went or changed since this daemon began. Other settings wait for its next start."""
        settings = self._configuration.settings()
        if settings is None or _about_alerts(settings) == _about_alerts(self._settings):
            return
        self._settings, self._elsewhere = settings, ()
        self._context = replace(self._context)
        self._desk = open_desk(self._context, clock=self._clock, at_once=True)

    def _noted(self) -> Iterable[Problem]:
        """Units that failed: a check whose program is gone cannot say so."""
        return map(as_problem, failed_units(self._context.places.emergency, last_resort()))


def _about_alerts(settings: Settings) -> tuple[object, ...]:
    return settings.channels, settings.alerts, settings.roll_call
