"""The composition root's page for rescue: who is asked, where, and what belongs together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.rescue.findings import Wanted

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.ports import Progress
    from nbguard.rescue.gather import Gathered
    from nbguard.rescue.survey import Survey

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

    @property
    def config_home(self) -> str:
        return self.environment.get("XDG_CONFIG_HOME") or os.path.join(self.home, ".config")

    @property
    def data_home(self) -> str:
        return self.environment.get("XDG_DATA_HOME") or os.path.join(self.home, ".local", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``wanted``; ``under`` is the only folder that is searched, if given; ``output`` is where the result goes."""

    wanted: Wanted
    under: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """Everything found, and the notebooks of that name that lie there now: ``present_exactly`` at the very path.

    ``close`` ends what findings are read through.
    """

    gathered: Gathered
    present: tuple[str, ...]
    close: Callable[[], None]
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
    from nbguard.app_rescue_sources import Sources
    from nbguard.rescue.attribution import attribute
    from nbguard.rescue.comparing import texts_to_compare
    from nbguard.rescue.gather import ask, together
    from nbguard.rescue.likeness import looks_like

    wanted = request.wanted
    surveyed = _survey(context, machine, request, progress)
    sources = Sources(context, machine, surveyed, _search_folders(machine, request))
    look = ask(sources.all(wanted), wanted, progress)
    present = _present(surveyed, wanted)
    exactly = tuple(path for path in wanted.paths[:1] if path in present)
    texts = texts_to_compare(look.found, wanted, exactly, surveyed.notebooks, time.monotonic)
    is_likely = looks_like([source for path in wanted.paths for source in texts.get(path, ())])
    nameless = ask(sources.nameless(wanted, is_likely), wanted, progress)
    attributed = attribute(
        (*look.found, *nameless.found), wanted, links=sources.links(), aliases=sources.aliases(wanted), texts=texts
    )
    gathered = together(attributed, (*look.unavailable, *nameless.unavailable, *sources.unavailable()))
    return Rescued(gathered=gathered, present=present, present_exactly=exactly, close=sources.close)


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

    if not wanted.paths:
        return ()
    there = [path for path in wanted.paths[:1] if os.path.isfile(path)]
    return tuple(dict.fromkeys([*there, *(path for path in surveyed.notebooks if fit(wanted, path) is not None)]))
