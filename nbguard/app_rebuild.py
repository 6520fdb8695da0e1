"""The composition root's page for making a vanished or broken archive anew: from mirrors, from what is kept alive
outside HOME, and from what of it can be read. What does that is loaded when it is needed: it hardly ever is."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from nbguard.durable import replace_durably, unlink_quietly
from nbguard.errors import ArchiveMoved, ArchiveTrouble, BadConfiguration, UsageError
from nbguard.mirror.rebuild import (
    Away,
    RebuiltNote,
    is_vanished,
    pause_seconds,
    read_note,
    words,
    write_note,
)
from nbguard.settings import Settings
from nbguard.watch.mounts import mount_of, read_mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbguard.app import Store
    from nbguard.archive.rebuilding import Mirrored, Rebuilt, Source
    from nbguard.archive.repository import Archive
    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.model import Version
    from nbguard.problems import ProblemBoard
    from nbguard.settings import Mirror

_log = logging.getLogger(__name__)
_MOST_NAMED = 20
_BRANCH = "refs/heads/"
_GRACE = 5.0
"""A vanished archive may just be being moved to another disk: so many times as long as a daemon may be down."""


class Mending:
    """Looks after one archive, in the thread that packs. ``install`` is the id under which mirrors know us."""

    def __init__(
        self, context: Context, store: Store, *, install: Callable[[], str], clock: Clock, board: ProblemBoard
    ) -> None:
        self._context = context
        self._store = store
        self._install = install
        self._clock = clock
        self._board = board
        self._grace_seconds = _GRACE * (context.settings or Settings()).checks.down_seconds
        self._missing_since: float | None = None
        self._try_at = clock.monotonic()
        self._failures = 0
        self._mount: str | None = None
        self._note = read_note(self._note_path, clock.now())
        self._tell()

    @property
    def _note_path(self) -> str:
        return os.path.join(self._context.places.state, "rebuilt.json")

    @property
    def _mount_path(self) -> str:
        return os.path.join(self._context.places.state, "archive-mount")

    def look(self) -> None:
        """Cheap while the archive is there. One that is gone is made anew where there is a mirror, once it is sure that
        it is gone and not only away. Raises NbguardError when that fails; it is tried again later."""
        archive, now = self._store.archive, self._clock.monotonic()
        if archive.exists():
            self._missing_since = None
            self._remember_mount(archive)
            self._forget()
            return
        if not archive.was_made() or not _mirrors(self._context):
            return
        self._missing_since = now if self._missing_since is None else self._missing_since
        folder = os.path.dirname(archive.folder)
        away = Away(
            seconds=now - self._missing_since,
            is_folder_there=os.path.isdir(folder),
            mount=_mount(folder),
            mount_before=self._mount or _read(self._mount_path),
        )
        if is_vanished(away, grace_seconds=self._grace_seconds):
            self._rebuild("had vanished", is_needed=lambda: not archive.exists())

    def mend(self, trouble: ArchiveTrouble) -> bool:
        """Whether the archive was made anew, for packing met trouble with it and it is broken. False where it is sound,
        or was moved by somebody: that is for people to decide. Raises NbguardError."""
        if isinstance(trouble, ArchiveMoved) or trouble.code != ArchiveTrouble.code:
            return False
        from nbguard.archive.rebuilding import broken

        return self._rebuild("was damaged", is_needed=lambda: bool(broken(self._store.archive)))

    def _rebuild(self, reason: str, *, is_needed: Callable[[], bool]) -> bool:
        if self._clock.monotonic() < self._try_at:
            return False
        self._failures += 1
        self._try_at = self._clock.monotonic() + pause_seconds(self._failures)
        if not is_needed():
            return False
        from nbguard.archive.rebuilding import rebuild

        _log.error("the archive %s: it is made anew", reason)
        done = rebuild(
            self._store.archive,
            spool=self._store.spool,
            catalog=self._store.catalog,
            records=self._context.places.records,
            sources=sources_of(self._context, self._install()),
            mirrored=_mirrored(self._context),
        )
        self._store.folder.catch_up()
        self._failures, self._missing_since, self._try_at = 0, None, self._clock.monotonic()
        self._board.clear("packer")
        self._write_down(done, reason)
        return True

    def _write_down(self, done: Rebuilt, reason: str) -> None:
        self._note = RebuiltNote(
            at=self._clock.now(),
            source=done.source,
            reason=reason,
            aside=done.aside,
            back=done.back,
            lost=len(done.lost),
            named=tuple(_named(version) for version in done.lost[:_MOST_NAMED]),
        )
        for version in done.lost:
            _log.critical("lost with the archive: %s", _named(version))
        self._tell()
        try:
            write_note(self._note_path, self._note)
        except OSError as error:
            _log.error("cannot remember that the archive was made anew: %s", error)

    def _tell(self) -> None:
        if self._note is not None:
            message, hint = words(self._note)
            self._board.note("archive-rebuilt", message, hint, subject="rebuilt")

    def _forget(self) -> None:
        if self._note is not None and read_note(self._note_path, self._clock.now()) is None:
            self._note = None
            self._board.clear("rebuilt")
            unlink_quietly(self._note_path)

    def _remember_mount(self, archive: Archive) -> None:
        """Once in a process; durable, for the next daemon may start while the disk is not mounted."""
        if self._mount is not None:
            return
        self._mount = _mount(os.path.dirname(archive.folder))
        if _read(self._mount_path) != self._mount:
            try:
                replace_durably(self._mount_path, os.fsencode(self._mount) + b"\n")
            except OSError as error:
                _log.warning("cannot remember on which disk the archive lies: %s", error)


def sources_of(context: Context, install: str) -> list[Source]:
    """Every copy of this archive that there may be; none of them is asked yet."""
    from nbguard.archive.rebuilding import Source

    home = os.path.expanduser("~")
    found = []
    kept = os.path.join(context.places.emergency, "kept", "archive.git") if context.places.emergency else ""
    if kept and os.path.isfile(os.path.join(kept, "HEAD")):
        found.append(Source(f"the copy in {os.path.dirname(kept)}", _from(kept, home, lambda refs: _BRANCH)))
    for mirror in _mirrors(context):
        name = f"the mirror {mirror.name}"
        found.append(Source(name, _from(mirror.url, home, lambda refs: _our_branches(refs, install))))
    return found


def _mirrored(context: Context) -> list[Mirrored]:
    """The tips of main that mirrors are known to hold."""
    from nbguard.archive.rebuilding import Mirrored
    from nbguard.mirror.state import StateFile, key_of

    file = StateFile(context.places.state)
    found = []
    for mirror in _mirrors(context):
        try:
            tip = file.of(key_of(mirror.name, mirror.url)).main
        except OSError:
            tip = None
        if tip is not None:
            found.append(Mirrored(mirror.name, tip))
    return found


def _mirrors(context: Context) -> tuple[Mirror, ...]:
    """As the configuration has them now: one may have been added while the daemon ran, perhaps for this."""
    try:
        settings = type(context)(home=context.home, config=context.config).settings
    except BadConfiguration:
        settings = context.settings
    return settings.mirrors if settings is not None else ()


def _from(url: str, home: str, branches: Callable[[dict[str, str]], str]) -> Callable[[str, str], None]:
    def fetch(into: str, prefix: str) -> None:
        from nbguard.archive.rebuilding import BRANCHES
        from nbguard.mirror import reader
        from nbguard.mirror.addresses import parse_address

        try:
            mirror = reader.Mirrored(parse_address(url, home=home), environment=os.environ, home=home)
        except UsageError as error:
            raise ArchiveTrouble(error.message, hint=error.hint) from error
        refs = mirror.refs()
        ours = branches(refs)
        wanted = {f"{ours}{name}": f"{prefix}{name}" for name in BRANCHES if f"{ours}{name}" in refs}
        if not wanted:
            raise ArchiveTrouble(f"{mirror.shown} holds nothing of this archive")
        mirror.fetch(into, wanted)

    return fetch


def _our_branches(refs: dict[str, str], install: str) -> str:
    """Where a mirror has our branches: the host may have had another name then, the id is the same."""
    from nbguard.mirror.layout import Namespace
    from nbguard.mirror.there import hosts_in

    for namespace in hosts_in(refs):
        if namespace.endswith(f"-{install.lower()}"):
            return Namespace(namespace).main.removesuffix("main")
    return f"{Namespace('none').main}/"


def _mount(folder: str) -> str:
    found = mount_of(os.path.realpath(folder), read_mounts())
    return found.point if found is not None else "/"


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(65_536).rstrip(b"\n")) or None
    except OSError:
        return None


def _named(version: Version) -> str:
    return f"{version.path} of {version.saved_at:%Y-%m-%d %H:%M:%S} UTC"
