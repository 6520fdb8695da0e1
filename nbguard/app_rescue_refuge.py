"""The composition root's page for a wiped HOME: what a daemon held alive outside it, read as if it were our own."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from nbguard.rescue.findings import SourceName, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbguard.archive.executed_library import ExecutedArchive
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.cli.context import Context
    from nbguard.executed import Link
    from nbguard.ports import OutputStore
    from nbguard.rescue.source import Source


class Refuges:
    """Every emergency place of ours, where our own archive is gone. It is only read: indexes are made elsewhere."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._opened: list[ArchiveLibrary | ExecutedArchive] = []
        self._folders: list[str] = []
        self.unavailable: list[Unavailable] = []

    def sources(self) -> list[Source]:
        """What each of them holds: versions, executed cells, recorded runs."""
        from nbguard.app import archive_of
        from nbguard.history.timeline import kernel_session
        from nbguard.rescue.executed import KeptSessions, Recorder
        from nbguard.rescue.kept import Kept

        if archive_of(self._context).exists():
            return []
        sources: list[Source] = []
        for place in self._places():
            try:
                refuge = _Refuge(self._as_home(place), self._opened)
            except OSError as error:
                self.unavailable.append(Unavailable(SourceName.ARCHIVE, f"{place}: {error.strerror}"))
                continue
            sources.append(Kept(refuge.library, lambda: ()))
            sources.append(KeptSessions(refuge.executed, place))
            sources.append(Recorder(refuge.executed, refuge.outputs, place, kernel_session))
        return sources

    def links(self) -> list[Link]:
        """Every link in what was opened so far."""
        return links_in(self._opened)

    def close(self) -> None:
        """End what was opened, and remove what was made for it."""
        for opened in self._opened:
            opened.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)  # links in it are removed, and not followed

    def _places(self) -> list[str]:
        from nbguard.places import is_private, open_to_all

        found = [self._context.places.emergency]
        if not self._context.home:
            found += sorted(glob.glob(os.path.join(open_to_all(), f"nbguard-{os.getuid()}-*")))
        kept = [os.path.join(place, "kept") for place in dict.fromkeys(found) if place and is_private(place)]
        return [place for place in kept if os.path.isdir(os.path.join(place, "archive.git"))]

    def _as_home(self, place: str) -> Context:
        """What lies there is laid out as under NBGUARD_HOME: links to it, and a state of its own."""
        home = tempfile.mkdtemp(prefix="nbguard-rescue-")
        self._folders.append(home)
        for name in ("archive.git", "spool"):
            if os.path.isdir(os.path.join(place, name)):
                os.symlink(os.path.join(place, name), os.path.join(home, name))
        state = os.path.join(home, "state")
        os.mkdir(state, 0o700)
        for name in ("archive-made", "install-id"):
            try:
                shutil.copyfile(os.path.join(place, "state", name), os.path.join(state, name))
            except OSError:
                continue  # without it, the archive is read all the same
        return replace(self._context, home=home, config=None)


class _Refuge:
    """One of them, opened when it is asked."""

    def __init__(self, context: Context, opened: list[ArchiveLibrary | ExecutedArchive]) -> None:
        self._context = context
        self._opened = opened
        self._executed: ExecutedArchive | None = None

    def library(self) -> ArchiveLibrary:
        from nbguard.app import open_library

        library = open_library(self._context)
        self._opened.append(library)
        return library

    def executed(self) -> ExecutedArchive:
        from nbguard.app_history import executed_library

        if self._executed is None:
            self._executed = executed_library(self._context)
            self._opened.append(self._executed)
        return self._executed

    def outputs(self) -> OutputStore:
        from nbguard.app_history import output_store_of

        return output_store_of(self._context)


def links_in(opened: Sequence[ArchiveLibrary | ExecutedArchive]) -> list[Link]:
    """The links of every library of executed cells."""
    from nbguard.archive.executed_library import ExecutedArchive

    return [link for each in opened if isinstance(each, ExecutedArchive) for link in each.links()]
