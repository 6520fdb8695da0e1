"""The composition root's page for packages: what they are made from, wired from the rooms.

The daemon makes one too, after a home was wiped: :func:`preload` brings in everything that is needed while it is still
there, and :func:`build_package` then asks for no home, no working folder and no file of the installation.
"""

from __future__ import annotations

import codecs
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from nbguard.app import Store, archive_of, folder_of, spool_of
from nbguard.clock import SystemClock
from nbguard.errors import ArchiveTrouble, NbguardError, NoArchive, said
from nbguard.git import GitFolder
from nbguard.model import Version
from nbguard.package.build import DatabaseCopy, Parts, build
from nbguard.package.contents import Chosen, Missing, Order, PackageReport
from nbguard.package.executed import Base, RebuiltPair, Written
from nbguard.package.stories import Story

if TYPE_CHECKING:
    from nbguard.archive.repository import Archive
    from nbguard.archive.spool import Spool
    from nbguard.cli.context import Context
    from nbguard.ports import ExecutedLibrary, Library, Progress
    from nbguard.recover.found import FoundCell

_STREAM_OVER_BYTES = 16_000_000
# Versions are read in the order of their deltas, so git need not remember much: 16 MB instead of 96.
_LEAN = ("core.deltaBaseCacheLimit=16m", "core.packedGitWindowSize=1m", "core.packedGitLimit=32m")

GetOutputs = Callable[[str], str | None]
"""The recorded outputs of a run by its id, as OutputStore.get."""


def preload() -> None:
    """Import everything a package needs, so that later it can be made without the installation on disk."""
    for codec in ("ascii", "cp437", "latin-1", "utf-8", "utf-8-sig"):  # each is a module; zipfile reads names as cp437
        codecs.lookup(codec)
    datetime.strptime("2026", "%Y").replace(tzinfo=UTC)  # a module of its own, imported at the first call
    import nbguard.app_history
    import nbguard.archive.catalog
    import nbguard.archive.executed_library
    import nbguard.archive.library
    import nbguard.archive.outputs
    import nbguard.archive.salvage
    import nbguard.archive.streaming
    import nbguard.archive.trailers
    import nbguard.history.export
    import nbguard.history.lineage
    import nbguard.history.timeline
    import nbguard.recover.page
    import nbguard.recover.rebuild
    import nbguard.recover.wording  # noqa: F401 - imported for later


def package_store(context: Context, progress: Progress) -> tuple[Store, tuple[Missing, ...]]:
    """Archive, spool and catalog, as far as they can be read; and what cannot. Nothing of it needs to be writable."""
    from nbguard.archive.catalog import Catalog
    from nbguard.archive.repository import Archive

    archive, spool = archive_of(context), spool_of(context)
    missing: list[Missing] = []
    try:
        archive.require()
    except NoArchive as error:  # whatever lies in its place is not ours, and is not looked at
        missing.append(_missing("archive", error))
        archive = Archive(replace(context.places, archive=f"{context.places.archive}.gone"))
    trouble: Exception | None = None
    for path in (context.places.catalog, ":memory:"):
        try:
            catalog = Catalog(path)
            folder = folder_of(catalog, archive, spool)
            folder.catch_up(progress)
            unreadable = [_missing_draft(name, why) for name, why in folder.unreadable.items()]
            return Store(archive, spool, catalog, folder), (*missing, *unreadable)
        except (NbguardError, sqlite3.Error, OSError) as error:
            trouble = trouble or error
    store, lost = _salvaged(archive, spool, context.places.catalog)
    if trouble is not None and not any(item.reason == str(trouble) for item in lost):
        missing.append(_missing("archive", trouble))
    return store, (*missing, *lost)


def _salvaged(archive: Archive, spool: Spool, known: str) -> tuple[Store, list[Missing]]:
    """Every commit and draft that can be read by itself, and which versions of the catalog ``known`` cannot."""
    from nbguard.archive.catalog import Catalog
    from nbguard.archive.salvage import salvage

    catalog = Catalog(":memory:")
    folder = folder_of(catalog, archive, spool)
    lost = [_missing(what, trouble) for what, trouble in salvage(archive, catalog, folder)]
    lost += [_missing_draft(name, why) for name, why in folder.unreadable.items()]
    try:
        before = Catalog(known)
        for _, latest in [*before.entries(deleted=False), *before.entries(deleted=True)]:
            for version in before.log(latest.notebook):
                if catalog.version(version.id) is None:
                    reason = "its commit cannot be read"
                    lost.append(
                        Missing(what="version", reason=reason, path=version.path, id=version.id, time=version.saved_at)
                    )
        before.close()
    except (NbguardError, sqlite3.Error, OSError):
        pass  # no catalog either: what was in the broken commits nobody knows
    return Store(archive, spool, catalog, folder), lost


def _missing_draft(name: str, trouble: NbguardError) -> Missing:
    return Missing(what="spooled draft", id=name.rpartition("-")[2], reason=trouble.message)


def package_executed(context: Context, progress: Progress) -> tuple[ExecutedLibrary | None, tuple[Missing, ...]]:
    """Everything executed that was kept, as far as it can be read; and what cannot."""
    from nbguard.app_history import executed_library

    try:
        library = executed_library(context, progress)
        broken = library.unreadable()
        if broken:
            reason = f"{broken} lines of the record log are damaged, or written by a newer nbguard"
            return library, (Missing(what="executed cells", reason=reason),)
        return library, ()
    except (NbguardError, sqlite3.Error, OSError) as error:
        return None, (_missing("executed cells", error),)


def package_outputs(context: Context) -> GetOutputs:
    """Recorded outputs; none where they cannot be read."""

    def get(run: str) -> str | None:
        from nbguard.app_history import output_store_of

        try:
            return output_store_of(context).get(run)
        except (NbguardError, OSError):
            return None  # the code is there; that its outputs are not is said of the run itself

    return get


def parts_of(
    store: Store,
    *,
    executed: ExecutedLibrary | None = None,
    outputs: GetOutputs = lambda run: None,
    databases: str | None = None,
    zone: tzinfo = UTC,
) -> Parts:
    """What a package is made from; ``databases`` is the folder with whole copies, ``zone`` that of whoever reads."""
    from nbguard.archive.library import ArchiveLibrary
    from nbguard.archive.names import escape_component, fast_import_path, tree_path
    from nbguard.archive.repository import Archive
    from nbguard.archive.streaming import stream
    from nbguard.archive.trailers import subject_of, trailers_of
    from nbguard.history.timeline import choose
    from nbguard.recover.page import as_html
    from nbguard.recover.wording import local

    archive = Archive(store.archive.places)
    archive.git = GitFolder(archive.folder, _LEAN)
    library = ArchiveLibrary(catalog=store.catalog, archive=archive, spool=store.spool)

    def read(version: Version) -> Iterator[bytes]:
        try:
            # What was packed a moment ago the library still finds.
            is_there = version.commit is not None or store.spool.find(version.id) is not None
            if version.size > _STREAM_OVER_BYTES and is_there:
                yield from stream(archive, store.spool, version)
            else:
                yield library.read(version)
        except OSError as error:
            raise ArchiveTrouble(f"it cannot be read: {error.strerror}", hint="check the disk") from error

    return Parts(
        library=library,
        read=read,
        executed=executed,
        holder_at=holder_in(library),
        choose_link=lambda links, at: choose(links, at).link,
        export=lambda story: export_story(story, outputs),
        rebuild=lambda base, stories: rebuild_stories(base, stories, outputs, SystemClock().now()),
        databases=lambda: database_copies(databases) if databases is not None else [],
        as_page=lambda data, name, subtitle: as_html(data, name=name, subtitle=subtitle),
        escape=escape_component,
        tree_path=lambda path: fast_import_path(tree_path(path)),
        message_of=lambda version: f"{subject_of(version)}\n\n{trailers_of(version)}",
        now=SystemClock().now,
        in_words=lambda moment: local(moment, zone),
        close=library.close,
    )


def holder_in(library: Library) -> Callable[[str, datetime], str | None]:
    """Which lineage was at a path at a time; what was asked once is remembered."""
    from nbguard.history.lineage import holder_at

    logs: dict[str, dict[str, list[Version]]] = {}

    def holder(path: str, at: datetime) -> str | None:
        if path not in logs:
            logs[path] = {lineage: library.log(lineage) for _, lineage in library.named(path)}
        return holder_at(path, at, logs[path])

    return holder


def everything_in(library: Library) -> tuple[Chosen, ...]:
    """Every notebook, deleted ones too, as it is now."""
    return tuple(
        Chosen(path=entry.path, notebook=entry.notebook, versions=entry.versions)
        for deleted in (False, True)
        for entry in library.entries(deleted=deleted)
    )


def build_package(parts: Parts, order: Order, target: str, progress: Progress) -> PackageReport:
    """Make the package at the absolute path ``target``; the parts are closed. Raises Refused, StorageTrouble."""
    return build(parts, order, target, progress)


def export_story(story: Story, outputs: GetOutputs) -> Written:
    """A session as py:percent and as a notebook, with what was recorded of it."""
    from nbguard.history.export import ExportedCell, as_notebook, as_percent
    from nbguard.recover.chronology import chronological_log

    found = _found_cells(story, outputs)
    cells = [ExportedCell(cell.source, cell.line, cell.seen_at or story.began_at) for cell in found]
    ipynb = chronological_log(found, {}, now=SystemClock().now()) if story.runs else as_notebook(cells, story.id)
    return Written(py=as_percent(cells).text.encode("utf-8", "replace"), ipynb=ipynb)


def rebuild_stories(base: Base | None, stories: Sequence[Story], outputs: GetOutputs, now: datetime) -> RebuiltPair:
    """A notebook from its last good version and what was executed for it."""
    from nbguard.recover.rebuild import rebuild

    found = [cell for story in stories for cell in _found_cells(story, outputs)]
    rebuilt = rebuild(
        base.data if base is not None else None, found, now=now, base_at=base.saved_at if base is not None else None
    )
    return RebuiltPair(notebook=rebuilt.notebook, log=rebuilt.log)


def database_copies(folder: str) -> Iterator[DatabaseCopy]:
    """Whole copies of history databases that lie in ``folder``: regular files only. Raises NbguardError."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise NbguardError(f"cannot read {folder}: {error.strerror}") from error
    for name in names:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and not name.startswith("."):
            yield DatabaseCopy(path, datetime.fromtimestamp(status.st_mtime, UTC))


def _found_cells(story: Story, outputs: GetOutputs) -> list[FoundCell]:
    from nbguard.package.belonging import paired
    from nbguard.recover.found import FoundCell

    found = []
    for cell, run in paired(story.cells, story.runs):
        line = cell.line if cell is not None else run.execution_count if run is not None else None
        source = cell.source if cell is not None else run.source if run is not None else ""
        found.append(
            FoundCell(
                source=source,
                origin=f"history {story.id}:{line}" if cell is not None else "recorder",
                group=story.id,
                line=line,
                seen_at=run.started_at if run is not None else cell.seen_at if cell is not None else None,
                outputs=outputs(run.id) if run is not None else None,
                output_text=cell.output if cell is not None else None,
                failed=run is not None and run.status == "error",
            )
        )
    return found


def _missing(what: str, error: Exception) -> Missing:
    return Missing(what=what, reason=said(error))
