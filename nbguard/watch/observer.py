"""Events of one root, as hints: watchdog's threads translate and enqueue, and do nothing else.

watchdog can stop working while it looks alive, so this module also answers what it can see of its own state; what
follows from that is decided in guard.py. The only module that imports watchdog.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

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
from nbguard.watch.guard import EventState

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
        path = self.named(event.src_path)
        if isinstance(event, FileMovedEvent):
            self._moved(path, self.named(event.dest_path))
        elif isinstance(event, FileClosedEvent):
            self._notice(path, NoticeKind.CLOSED)
        elif isinstance(event, FileCreatedEvent):
            self._notice(path, NoticeKind.CREATED)
        elif isinstance(event, FileDeletedEvent):
            self._notice(path, NoticeKind.GONE)
        elif isinstance(event, DirMovedEvent):
            self._folder_changed(path)
            self._folder_changed(self.named(event.dest_path))
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

    def named(self, path: bytes | str) -> str:
        """The path under the root as the user named it: a root may be reached through a symlink."""
        text = os.fsdecode(path)
        if self._real_root == self._named_root or not text.startswith(self._real_root):
            return text
        return self._named_root + text[len(self._real_root) :]

    def real(self, path: str) -> str:
        """The reverse of naming: the path as watchdog knows it."""
        return self._real_root + path[len(self._named_root) :]


class Choice(Protocol):
    """Which folders are watched; a Scope is one."""

    def enters(self, folder: str) -> bool: ...
    def below(self, path: str, names: Collection[str], folders: Iterable[str]) -> tuple[list[str], list[str]]: ...


class EventSource:
    """One watchdog observer for one root; built anew rather than mended."""

    def __init__(self, translator: Translator, real_root: str, choice: Choice) -> None:
        self._translator = translator
        self._choice = choice
        self._real_root = real_root
        self._observer: BaseObserver | None = None
        self._counted: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin. Raises OSError: no such root, or the limit of watches or instances is reached."""
        # Where a folder is made while watchdog walks into it, it watches it twice and warns of that. With warnings as
        # errors (`python -W error`) that ends its reader thread.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        observer = _observer_of(self._enters, self._folders_below)
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

    def unwatched(self, folders: Iterable[str]) -> set[str]:
        """Those of the folders (as the user names them) that have no watch; none where that cannot be known."""
        self._counted = None
        paths = self._watched_paths()
        if paths is None:
            return set()
        real = self._translator.real
        return {folder for folder in folders if os.fsencode(real(folder)) not in paths}

    def _enters(self, real: str) -> bool:
        return self._choice.enters(self._translator.named(real))

    def _folders_below(self, real: str) -> list[str]:
        try:
            with os.scandir(real) as entries:
                listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            return []
        names, folders = {name for name, _is in listed}, [name for name, is_folder in listed if is_folder]
        below, _closed = self._choice.below(self._translator.named(real), names, folders)
        return [self._translator.real(folder) for folder in below]

    def _count_watches(self) -> int | None:
        """Counted anew when the table has another size, and after each question for what is unwatched."""
        table = self._table()
        if table is None:
            return None
        size = len(table)
        if self._counted is None or self._counted[0] != size:
            self._counted = size, len(_granted(table))
        return self._counted[1]

    def _watched_paths(self) -> dict[bytes, int] | None:
        table = self._table()
        return None if table is None else _granted(table)

    def _table(self) -> dict[bytes, int] | None:
        """watchdog's own table for this root, which its threads change."""
        observer = self._observer
        for emitter in tuple(observer.emitters) if observer is not None else ():
            return _table_of(emitter)
        return {}


def _observer_of(enters: Callable[[str], bool], below: Callable[[str], list[str]]) -> BaseObserver:
    """An observer that watches only the folders that are entered.

    watchdog itself watches every folder: node_modules alone can use up the user's inotify watches, and each install
    and each git command would be told of, file by file. It has no public way to leave folders out.
    """
    if sys.platform != "linux":
        return Observer()
    from watchdog.observers.inotify import InotifyEmitter, InotifyObserver, InotifyWatchGroup

    class Group(InotifyWatchGroup):
        def _add_all_callbacks(self, path: bytes) -> None:
            if path != self.path and not enters(os.fsdecode(path)):
                return
            stack = [path]
            while stack:
                folder = stack.pop()
                self._add_callback(folder)
                stack += [os.fsencode(found) for found in below(os.fsdecode(folder))]

    class Emitter(InotifyEmitter):
        def on_thread_start(self) -> None:
            self._inotify = Group(
                self._inotify_fd,
                os.fsencode(self.watch.path),
                is_recursive=True,
                event_mask=self.get_event_mask_from_filter(),
            )

    observer = InotifyObserver()
    observer._emitter_class = Emitter
    return observer


def _table_of(emitter: EventEmitter) -> dict[bytes, int] | None:
    # Private to watchdog 7, which has no other way to tell; elsewhere than on Linux there is none.
    group = getattr(emitter, "_inotify", None)
    table = getattr(group, "_active_callbacks_by_path", None)
    return table if isinstance(table, dict) else None


def _granted(table: dict[bytes, int]) -> dict[bytes, int]:
    """A copy, without watches that the kernel refused (they are registered as -1)."""
    table = dict(table)
    if -1 in table.values():
        return {path: number for path, number in table.items() if number != -1}
    return table


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
