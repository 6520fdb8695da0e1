"""Making a package: choose, read and check everything, write it aside, read the zip back, give it its name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from nbguard import __version__
from nbguard.clock import iso
from nbguard.errors import NbguardError, said, storage_trouble
from nbguard.model import Version
from nbguard.package.aside import Aside
from nbguard.package.belonging import Choose
from nbguard.package.bundle import BundleFailed, FreshHistory, MessageOf, TreePath
from nbguard.package.checking import check
from nbguard.package.contents import Chosen, Member, Missing, Order, PackageReport
from nbguard.package.executed import Base, ExecutedPacking, Export, Rebuild
from nbguard.package.first_words import first_words
from nbguard.package.manifest import FORMAT, document, missing_row
from nbguard.package.members import BUNDLE, DATABASES, EscapeComponent
from nbguard.package.notebooks import AsPage, NotebookPacking, Packed, ReadVersion
from nbguard.package.restore_script import MAIN, RESTORE
from nbguard.package.selection import as_of, is_deleted
from nbguard.package.sink import OURS, Sink
from nbguard.package.stories import HolderAt, Stories, Story
from nbguard.package.timeline import Timeline
from nbguard.package.timeline_page import When
from nbguard.ports import ExecutedLibrary, Library, Progress

_LARGEST_BASE_BYTES = 8_000_000

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """A whole history database that was kept: where the copy lies, and when it was made."""

    path: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a package is made from, as the composition root hands it over."""

    library: Library
    read: ReadVersion
    executed: ExecutedLibrary | None
    holder_at: HolderAt
    choose_link: Choose
    export: Export
    rebuild: Rebuild
    databases: Callable[[], Iterable[DatabaseCopy]]
    as_page: AsPage
    escape: EscapeComponent
    tree_path: TreePath
    message_of: MessageOf
    now: Callable[[], datetime]
    in_words: When
    close: Callable[[], None]


def build(parts: Parts, order: Order, target: str, progress: Progress) -> PackageReport:
    """Make the package at the absolute path ``target``, where nothing may be yet.

    It is read back and checked before it has that name; when this is interrupted, nothing has. What cannot be read is
    named in the report and in the package; ``parts`` are closed. Raises Refused, StorageTrouble.
    """
    with closing(parts), Aside(target) as aside:
        try:
            building = _Building(parts, order, aside)
            try:
                return building.run(progress)
            finally:
                building.close()
        except OSError as error:
            raise storage_trouble(error, f"cannot make a package in {os.path.dirname(target)}") from error


class _Building:
    """One package in the making."""

    def __init__(self, parts: Parts, order: Order, aside: Aside) -> None:
        self._parts, self._order, self._aside = parts, order, aside
        self._sink = sink = Sink(aside, parts.escape, order.known_missing)
        self._made_at = parts.now()
        self._timeline = Timeline(aside.path("timeline"), parts.in_words)
        self._notebooks = NotebookPacking(sink, read=parts.read, as_page=parts.as_page, history=None)
        self._executed = ExecutedPacking(sink, export=parts.export, rebuild=parts.rebuild, now=self._made_at)
        self._versions = 0
        try:
            self._notebooks.history = FreshHistory(
                aside.path("history.git"), message_of=parts.message_of, tree_path=parts.tree_path
            )
        except BundleFailed as error:
            self._notebooks.drop_history(error)
        self._stories = self._open_stories()

    def run(self, progress: Progress) -> PackageReport:
        total = sum(chosen.versions for chosen in self._order.notebooks)

        def each() -> None:
            done = self._sink.versions.count
            progress(done, max(total, done + 1))

        for chosen in self._order.notebooks:
            self._notebook(chosen, each)
        if self._order.unsaved:
            self._attempt("executed cells", self._unsaved)
        if self._order.everything:
            self._attempt("executed cells", self._unlinked)
            self._databases()
        self._bundle()
        manifest = self._last_words()
        self._sink.zip.finish()
        size, digest = check(self._aside.path("package"), self._sink.members, manifest, progress)
        self._aside.place("package")
        return PackageReport(
            written_to=self._aside.target,
            members=self._sink.members.count + 1,
            bytes=size,
            notebooks=self._sink.notebooks.count,
            versions=self._versions,
            sessions=self._executed.sessions,
            sha256=digest,
            missing=tuple(self._sink.missing),
            left_out=self._stories.untold() if self._stories is not None and not self._order.everything else 0,
            not_made=tuple(self._sink.not_made),
        )

    def close(self) -> None:
        self._sink.close()
        self._timeline.close()
        if self._notebooks.history is not None:
            self._notebooks.history.close()

    # -- notebooks and what was executed ---------------------------------------------------------------------------

    def _notebook(self, chosen: Chosen, each: Callable[[], None]) -> None:
        log = self._parts.library.log(chosen.notebook) if chosen.notebook else []
        versions = as_of(log, chosen.newest, chosen.at)
        packed = self._notebooks.pack(chosen, versions, each)
        self._versions += packed.versions
        paths = [chosen.path, *(version.path for version in log)]
        stories = self._attempt("executed cells", lambda: self._stories_of(chosen.notebook, paths)) or []
        self._with_stories(chosen, versions, packed, stories)

    def _with_stories(
        self, chosen: Chosen, versions: Sequence[Version], packed: Packed, stories: Sequence[Story]
    ) -> None:
        links = []
        if packed.member is not None:
            links.append(("the notebook", packed.member))
        if packed.page is not None:
            links.append(("read it here", packed.page))
        events = [*packed.events, *self._executed.pack(chosen.path, stories)]
        if stories:
            links += self._executed.rebuild(chosen.path, self._base(chosen.path, packed), stories)
        note = f"{len(versions)} versions" + (f", {len(stories)} sessions" if stories else "")
        if is_deleted(versions):
            note += ", deleted"
        note += "".join(f"; no {item.what}" for item in self._sink.not_made if item.path == chosen.path)
        self._timeline.add(chosen.path, note, links, events)

    def _base(self, path: str, packed: Packed) -> Base | None:
        if packed.face is None:
            return None
        if packed.face.size > _LARGEST_BASE_BYTES:
            reason = (
                f"the notebook has {packed.face.size:,} bytes, and up to {_LARGEST_BASE_BYTES:,} are used for that: "
                "it holds only what was executed"
            )
            self._sink.not_made.append(
                Missing(what="rebuilt notebook with the saved one in it", reason=reason, path=path)
            )
            return None
        try:
            return Base(b"".join(self._parts.read(packed.face)), packed.face.saved_at)
        except NbguardError:
            return None  # it was read a moment ago; what is missing of it is named there

    def _open_stories(self) -> Stories | None:
        executed = self._parts.executed
        if executed is None:
            return None
        parts, at = self._parts, self._order.at
        return self._attempt(
            "executed cells", lambda: Stories(executed, holder_at=parts.holder_at, choose=parts.choose_link, at=at)
        )

    def _stories_of(self, notebook: str, paths: Sequence[str]) -> list[Story]:
        return self._stories.of(notebook, paths) if self._stories is not None else []

    def _unsaved(self) -> None:
        """Notebooks of which no version was ever kept, and cells were executed."""
        known = {chosen.path for chosen in self._order.notebooks if not chosen.notebook}
        for path, stories in self._stories.unsaved() if self._stories is not None else ():
            if path not in known:
                chosen = Chosen(path=path, notebook="")
                packed = self._notebooks.pack(chosen, [], lambda: None)
                self._with_stories(chosen, [], packed, stories)

    def _unlinked(self) -> None:
        for story in self._stories.rest() if self._stories is not None else ():
            self._timeline.note_unlinked(self._executed.pack(None, [story]))

    def _databases(self) -> None:
        copies = self._attempt("history databases", lambda: list(self._parts.databases())) or []
        for copy in copies:
            if self._order.at is not None and copy.time > self._order.at:
                continue  # it holds what came later
            name = self._sink.names.file(DATABASES, os.path.basename(copy.path))
            try:
                self._sink.add_file(name, copy.path, time=copy.time, source="history database")
            except FileNotFoundError:
                continue  # pruned since it was listed

    def _attempt(self, what: str, step: Callable[[], _Answer]) -> _Answer | None:
        """The step's answer; None when what it reads cannot be read, which then is said."""
        try:
            return step()
        except (NbguardError, sqlite3.Error) as error:
            reason = said(error)
            if not any(item.what == what and item.reason == reason for item in self._sink.missing):
                self._sink.missing.append(Missing(what=what, reason=reason))
            return None

    # -- the rest --------------------------------------------------------------------------------------------------

    def _bundle(self) -> None:
        history, path = self._notebooks.history, self._aside.path("bundle")
        self._parts.close()  # one git at a time; it is opened again if it is needed
        if history is None:
            return
        try:
            if not history.finish(self._parts.library.version, path):
                return
        except BundleFailed as error:
            self._notebooks.drop_history(error)
            return
        self._sink.add_file(BUNDLE, path, time=self._made_at, packed=True)

    def _last_words(self) -> Member:
        made_at, sink = self._made_at, self._sink
        counts = f"{sink.notebooks.count} notebooks, {self._versions} versions, {self._executed.sessions} sessions"
        as_of_words = "" if self._order.at is None else f", as of {self._parts.in_words(self._order.at)}"
        page = self._timeline.page(self._parts.in_words(made_at), counts, as_of_words, sink.missing)
        sink.add("index.html", page, size=self._timeline.size, time=made_at, source=OURS)
        sink.add_bytes("restore.py", RESTORE, time=made_at)
        sink.add_bytes("__main__.py", MAIN, time=made_at)
        text = first_words(
            places=sorted(sink.tops | {"MANIFEST.json"}),
            counts=counts,
            made_at=made_at,
            made_by=f"nbguard {__version__}",
            at=self._order.at,
            missing=sink.missing,
            not_made=sink.not_made,
        )
        sink.add_bytes("READ-ME-FIRST.txt", text.encode("utf-8", "replace"), time=made_at)
        head: dict[str, object] = {
            "format": FORMAT,
            "made_by": f"nbguard {__version__}",
            "made_at": iso(made_at),
            "everything": self._order.everything,
            "at": None if self._order.at is None else iso(self._order.at),
            "missing": [missing_row(item) for item in sink.missing],
            "not_made": [missing_row(item) for item in sink.not_made],
        }
        rows = {
            "notebooks": sink.notebooks,
            "versions": sink.versions,
            "sessions": sink.sessions,
            "members": sink.members,
        }
        for each in rows.values():
            each.flush()
        size = sum(os.path.getsize(each.path) for each in rows.values())
        return sink.zip.add("MANIFEST.json", document(head, rows), size=size, time=made_at, source=OURS)
