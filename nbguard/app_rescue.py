"""The composition root's page for rescue: every source, wired; and what is written of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nbguard.rescue.findings import Wanted

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.model import Draft
    from nbguard.ports import Library, Progress
    from nbguard.rescue.gather import Gathered
    from nbguard.rescue.source import Source
    from nbguard.rescue.survey import Survey
    from nbguard.rescue.trash import Trash

_NEVER_WALKED = frozenset({"/proc", "/sys", "/dev", "/run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What rescue must know of where it runs; only the command line reads the environment."""

    environment: Mapping[str, str]
    home: str
    cwd: str
    platform: str = sys.platform
    proc: str = "/proc"
    temporary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``wanted``; ``under`` is the only folder that is searched, if given; ``output`` is where the result goes."""

    wanted: Wanted
    under: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """Everything found, and the notebooks of that name that lie there now: ``present_exactly`` at the very path."""

    gathered: Gathered
    present: tuple[str, ...]
    present_exactly: tuple[str, ...] = ()


def wanted_of(text: str | None, session: str | None, cwd: str) -> Wanted:
    """What NOTEBOOK means for somebody in ``cwd``: also without its ending, also through a symlinked folder."""
    if session:
        return Wanted(session=session)
    if not text:
        return Wanted()
    name = text if text.endswith(".ipynb") else text + ".ipynb"
    path = os.path.normpath(os.path.join(cwd, name))
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    tail = "" if os.path.isabs(text) or text.startswith("..") else os.path.normpath(name)
    return Wanted(paths=tuple(dict.fromkeys((path, real))), tail=tail)


def temporary_folders(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where programs put temporary files; with NBGUARD_HOME, a chosen TMPDIR is all that belongs to it."""
    chosen = [folder for name in ("TMPDIR", "TEMP", "TMP") if (folder := environment.get(name, ""))]
    usual = [] if chosen and environment.get("NBGUARD_HOME") else ["/tmp", "/var/tmp"]
    there = [os.path.realpath(folder) for folder in (*chosen, *usual) if os.path.isdir(folder)]
    return tuple(dict.fromkeys(there))


def look_everywhere(context: Context, machine: Machine, request: Request, progress: Progress) -> Rescued:
    """Ask every source on this machine."""
    from nbguard.rescue.gather import gather

    surveyed = _survey(context, machine, request, progress)
    sources = _sources(context, machine, request, surveyed)
    gathered = gather(sources, request.wanted, lambda found: found, lambda done, total: None)
    present = _present(surveyed, request.wanted)
    exactly = tuple(path for path in request.wanted.paths[:1] if path in present)
    return Rescued(gathered=gathered, present=present, present_exactly=exactly)


def _sources(context: Context, machine: Machine, request: Request, surveyed: Survey) -> list[Source]:
    from nbguard.rescue.files import Checkpoints, JupyterCheckpoints, PreSaves, TemporaryFiles
    from nbguard.rescue.jupyter_config import checkpoint_places
    from nbguard.rescue.kept import Kept
    from nbguard.rescue.searching import Searching
    from nbguard.rescue.vscode import VSCode, vscode_folders

    home, environment = machine.home, machine.environment
    config_home = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    data_home = environment.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    places = checkpoint_places(environment, home, sys.prefix)
    avoid = frozenset(_search_folders(machine, request)) | frozenset(context.places.own_folders())
    return [
        Searching(surveyed),
        Kept(lambda: _library(context), lambda: _drafts(context)),
        Checkpoints(surveyed, places, machine.temporary),
        PreSaves(surveyed),
        _trashes(machine, data_home, surveyed),
        VSCode(vscode_folders(home, config_home, data_home)),
        JupyterCheckpoints(surveyed, places),
        TemporaryFiles(machine.temporary, avoid, os.getuid(), time.monotonic),
    ]


def _survey(context: Context, machine: Machine, request: Request, progress: Progress) -> Survey:
    from nbguard.rescue.jupyter_config import checkpoint_places
    from nbguard.rescue.survey import Search, survey

    output = {os.path.abspath(request.output)} if request.output else set()
    search = Search(
        folders=_search_folders(machine, request),
        skips=_UsualSkips,
        avoid=_NEVER_WALKED | frozenset(context.places.own_folders()) | output,
        checkpoint_names=checkpoint_places(machine.environment, machine.home, sys.prefix).names(),
    )
    return survey(search, time.monotonic, progress)


class _UsualSkips:
    """The folders that watching passes over, without what a configuration adds: today everything counts."""

    def __init__(self, root: str) -> None:
        from nbguard.watch.scope import Scope, closed_by_contents

        self._scope = Scope(root)
        self._closed = closed_by_contents

    def enters(self, folder: str) -> bool:
        """As the watcher."""
        return self._scope.enters(folder)

    def closed(self, name: str, names: Collection[str]) -> bool | frozenset[str]:
        """As the watcher."""
        return self._closed(name, names)


def _search_folders(machine: Machine, request: Request) -> tuple[str, ...]:
    if request.under is not None:
        return (os.path.normpath(os.path.join(machine.cwd, request.under)),)
    beside = [os.path.dirname(path) for path in request.wanted.paths if os.path.isdir(os.path.dirname(path))]
    return tuple(dict.fromkeys(os.path.normpath(folder) for folder in (machine.home, *beside, machine.cwd)))


def _present(surveyed: Survey, wanted: Wanted) -> tuple[str, ...]:
    from nbguard.rescue.matching import fit

    there = [path for path in wanted.paths if os.path.isfile(path)]
    if wanted.is_everything or not wanted.paths:
        return ()
    return tuple(dict.fromkeys([*there, *(path for path in surveyed.notebooks if fit(wanted, path) is not None)]))


def _trashes(machine: Machine, data_home: str, surveyed: Survey) -> Trash:
    from nbguard.rescue.trash import Trash, trash_folders
    from nbguard.watch.mounts import is_remote, read_mounts

    # A dead network mount would hold us for ever.
    mounts = tuple(mount.point for mount in read_mounts() if not is_remote(mount.kind))
    plain: tuple[str, ...] = ()
    if machine.platform == "darwin":
        plain = (os.path.join(machine.home, ".Trash"),)
    return Trash(trash_folders(data_home, mounts, surveyed.trashes, os.getuid()), plain)


def _library(context: Context) -> Library | None:
    from nbguard.app import archive_of, open_library

    archive = archive_of(context)
    if not archive.exists() and not archive.was_made() and not os.path.isdir(context.places.spool):
        return None
    return open_library(context)


def _drafts(context: Context) -> Iterator[tuple[Draft, Callable[[], bytes]]]:
    from nbguard.app import spool_of
    from nbguard.archive.draft_header import OpenDraft
    from nbguard.errors import ArchiveTrouble

    for spooled in spool_of(context).drafts():
        try:
            with OpenDraft(spooled.path) as opened:
                draft, data = opened.draft, opened.data()
        except (FileNotFoundError, ArchiveTrouble):
            continue
        yield draft, partial(bytes, data)
