"""Events of one root, as hints: watchdog's threads translate and enqueue, and do nothing else.

watchdog can stop working while it looks alive, so this module also answers what it can see of its own state; what
follows from that is decided in guard.py. The only module that imports watchdog.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter

from nbguard.clock import Clock
from nbguard.model import NoticeKind, SaveNotice

_log = logging.getLogger(__name__)

# Without a filter watchdog 7.1 also asks for open and close-without-write; its own walk then overflows its own
# queue from about 4,000 folders on: 15 of 4,000 saves seen, one core busy.
EVENT_FILTER: list[type[FileSystemEvent]] = [
    FileMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
_JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class EventState:
    """What an event source can see of itself. ``watches`` is None where that cannot be known."""

    alive: bool
    reason: str = ""
    watches: int | None = None
    faults: int = 0
    at_limit: bool = False


class Translator(FileSystemEventHandler):
    """Turns watchdog's events into notices. Never raises: an exception would end watchdog's dispatcher for good."""

    def __init__(
        self,
        *,
        covers: Callable[[str], bool],
        put: Callable[[SaveNotice], None],
        folder_changed: Callable[[str], None],
        clock: Clock,
        real_root: str,
        named_root: str,
    ) -> None:
        self.faults = 0
        self._covers = covers
        self._put = put
        self._folder_changed = folder_changed
        self._clock = clock
        self._real_root = real_root
        self._named_root = named_root

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            self._translate(event)
        except Exception:  # noqa: BLE001 -- anything that escapes here ends the dispatcher thread, silently
            self.faults += 1
            _log.exception("an event could not be handled; a sweep follows")

    def _translate(self, event: FileSystemEvent) -> None:
        path = self._named(event.src_path)
        if isinstance(event, FileMovedEvent):
            self._moved(path, self._named(event.dest_path))
        elif isinstance(event, FileClosedEvent):
            self._notice(path, NoticeKind.CLOSED)
        elif isinstance(event, FileCreatedEvent):
            self._notice(path, NoticeKind.CREATED)
        elif isinstance(event, FileDeletedEvent):
            self._notice(path, NoticeKind.GONE)
        elif isinstance(event, DirMovedEvent):
            self._folder_changed(path)
            self._folder_changed(self._named(event.dest_path))
        elif isinstance(event, DirCreatedEvent | DirDeletedEvent):
            self._folder_changed(path)

    def _moved(self, source: str, destination: str) -> None:
        source_is_ours = self._covers(source)
        self._notice(destination, NoticeKind.MOVED_IN, source if source_is_ours else None)
        if source_is_ours:
            self._notice(source, NoticeKind.GONE)

    def _notice(self, path: str, kind: NoticeKind, renamed_from: str | None = None) -> None:
        if self._covers(path):
            self._put(SaveNotice(path, kind, self._clock.monotonic(), renamed_from))

    def _named(self, path: bytes | str) -> str:
        """The path under the root as the user named it: a root may be reached through a symlink."""
        text = os.fsdecode(path)
        if self._real_root == self._named_root or not text.startswith(self._real_root):
            return text
        return self._named_root + text[len(self._real_root) :]

    def real(self, path: str) -> str:
        """The reverse of naming: the path as watchdog knows it."""
        return self._real_root + path[len(self._named_root) :]


class EventSource:
    """One watchdog observer for one root; built anew rather than mended."""

    def __init__(self, translator: Translator, real_root: str) -> None:
        self._translator = translator
        self._real_root = real_root
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Begin. Raises OSError: no such root, or the limit of watches or instances is reached."""
        # Where a folder is made while watchdog walks into it, it watches it twice and warns of that. With warnings as
        # errors (`python -W error`) that ends its reader thread.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        observer = Observer()
        try:
            observer.schedule(self._translator, self._real_root, recursive=True, event_filter=EVENT_FILTER)
            observer.start()
        except BaseException:
            observer.stop()  # Its reader thread runs from the constructor on; never started, it cannot be joined.
            raise
        self._observer = observer

    def stop(self) -> None:
        """End; harmless when it never began."""
        observer, self._observer = self._observer, None
        if observer is None:
            return
        observer.stop()
        observer.join(_JOIN_SECONDS)

    def state(self) -> EventState:
        """What can be seen of the threads and of the watches."""
        observer = self._observer
        if observer is None:
            return EventState(False, "not started")
        reason = _dead_part(observer)
        return EventState(
            alive=not reason, reason=reason, watches=self._count_watches(), faults=self._translator.faults
        )

    def watches(self, folder: str) -> bool:
        """Whether ``folder`` (as the user names it) has a watch; True where that cannot be known."""
        paths = self._watched_paths()
        if paths is None:
            return True
        return os.fsencode(self._translator.real(folder)) in paths

    def _count_watches(self) -> int | None:
        paths = self._watched_paths()
        return None if paths is None else len(paths)

    def _watched_paths(self) -> dict[bytes, int] | None:
        """watchdog's own table for this root, without watches that the kernel refused (they are registered as -1)."""
        observer = self._observer
        for emitter in tuple(observer.emitters) if observer is not None else ():
            table = _table_of(emitter)
            if table is None:
                return None
            if -1 in table.values():
                return {path: number for path, number in table.items() if number != -1}
            return table
        return {}


def _table_of(emitter: EventEmitter) -> dict[bytes, int] | None:
    # Private to watchdog 7, which has no other way to tell; elsewhere than on Linux there is none.
    group = getattr(emitter, "_inotify", None)
    table = getattr(group, "_active_callbacks_by_path", None)
    return dict(table) if isinstance(table, dict) else None


def _dead_part(observer: BaseObserver) -> str:
    """Which of watchdog's threads has ended, or nothing."""
    if not observer.is_alive():
        return "the dispatcher thread has ended"
    emitters = tuple(observer.emitters)
    if not emitters or not all(emitter.is_alive() for emitter in emitters):
        return "the emitter thread has ended"
    reader = getattr(observer, "_inotify_fd", None)
    if isinstance(reader, threading.Thread) and not reader.is_alive():
        return "the reader thread has ended"
    return ""


class LostEvents(logging.Handler):
    """Hears what watchdog only logs: that the kernel's queue overflowed, or that watches could not be rebuilt."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "queue overflowed" in message or "Unable to rebuild" in message:
            self._lost()

    def attach(self) -> None:
        logging.getLogger("watchdog").addHandler(self)

    def detach(self) -> None:
        logging.getLogger("watchdog").removeHandler(self)
