"""The composition root's page for the refuge: what lives on outside HOME, and what is done when HOME is wiped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from nbguard import app_package
from nbguard.archive.executed_library import ExecutedArchive
from nbguard.archive.pack_index import PackIndex
from nbguard.durable import read_plain
from nbguard.errors import ArchiveTrouble, Refused
from nbguard.places import check_private, choose_outside, open_to_all
from nbguard.refuge.alive import Alive
from nbguard.refuge.emergency import EmergencyPlace
from nbguard.refuge.refuge import Orders, Pace, Refuge
from nbguard.refuge.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.package.build import Parts
    from nbguard.problems import ProblemBoard

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_ROOMS = ("archive", "capture", "flight", "history", "package", "recover", "refuge", "watch")
_IMPORTED_LATE = (
    *("_strptime", "ctypes", "difflib", "gc", "http.client", "linecache", "pathspec", "psutil", "resource", "select"),
    *("shlex", "shutil", "socket", "sqlite3", "tempfile", "traceback", "zipfile", "zmq", "zoneinfo"),
)
_ENCODINGS = ("ascii", "cp437", "idna", "latin-1", "unicode_escape", "utf-8", "utf-8-sig", "utf-16")
_MOST_FDS = 16_384
_SPARE_FDS = 256


def refuge_of(
    context: Context,
    roots: Sequence[str],
    *,
    clock: Clock,
    board: ProblemBoard,
    make_anew: Callable[[], None],
    move_to: Callable[[str], None],
    pace: Pace | None = None,
) -> Refuge:
    """The refuge of a daemon that watches ``roots``. Nothing is made yet."""
    places, home = context.places, os.path.abspath(os.path.expanduser("~"))
    identity = _archive_id(places.archive_marker)
    name = f"nbguard-{os.getuid()}-{identity}"
    folder = places.emergency
    is_outside = bool(folder) and not f"{folder}/".startswith(f"{home}/")
    refused = _refused(os.path.join(open_to_all(), name), folder)
    if refused is not None:
        board.note(
            "emergency-refused",
            f"{refused.message}; {folder} is used instead",
            "find out who made it, and remove it",
            subject="emergency-name",
        )
    return Refuge(
        Alive(
            Survey(places),
            folder=os.path.join(folder, "kept") if is_outside else None,
            covers=covers,
            most_fds=_raise_limit(),
        ),
        EmergencyPlace(folder),
        home=home,
        ours=(os.path.join(places.archive, "objects"), os.path.join(places.spool, "new"), places.state),
        roots=roots,
        orders=Orders(
            make_anew=make_anew,
            move_to=move_to,
            package=lambda source, target: package_from(context, source, target),
            another_place=lambda: choose_outside(open_to_all(), name),
        ),
        clock=clock,
        board=board,
        pace=pace,
    )


def preload() -> None:
    """Import everything that is needed once HOME is gone, and with it perhaps all of Python's own modules: every
    module of our rooms (some 5 MB), and what they and the standard library import late."""
    import importlib
    import pkgutil

    for room in _ROOMS:
        package = importlib.import_module(f"nbguard.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    for encoding in _ENCODINGS:
        "x".encode(encoding)
    app_package.preload()


def package_from(context: Context, source: str | None, target: str) -> None:
    """Make a package of everything, at ``target``, from what lies at ``source`` (laid out as NBGUARD_HOME; None: from
    the installation itself). Raises NbguardError."""
    from nbguard.package.contents import Order

    there = context if source is None else replace(context, home=source, config=None)
    store, missing = app_package.package_store(there, _quietly)
    executed, not_executed = app_package.package_executed(there, _quietly)
    try:
        parts = app_package.parts_of(
            store,
            executed=executed,
            outputs=app_package.package_outputs(there),
            databases=there.places.databases,
        )
        order = Order(
            notebooks=app_package.everything_in(parts.library),
            unsaved=True,
            everything=True,
            known_missing=missing + not_executed,
        )
        app_package.build_package(_without_imports(parts), order, target, _quietly)
    finally:
        store.catalog.close()
        if isinstance(executed, ExecutedArchive):
            executed.close()


def _without_imports(parts: Parts) -> Parts:
    """What needs a module that nobody imported in time (nbformat, for notebooks of formats long past) costs itself
    alone, and is named in the package."""

    def guarded(work: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
        def attempt(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
            try:
                return work(*given, **named)
            except ImportError as error:
                raise ArchiveTrouble(f"it needs a module that is gone: {error.name}") from error

        return attempt

    return replace(parts, export=guarded(parts.export), rebuild=guarded(parts.rebuild), as_page=guarded(parts.as_page))


def covers(index: str, others: Sequence[str]) -> bool:
    """Whether every object that a pack index names is named by one of the others too. Raises OSError."""
    try:
        with ExitStack() as opened:
            indexes = [opened.enter_context(PackIndex(path)) for path in others]
            gone = opened.enter_context(PackIndex(index))
            return all(any(oid in one for one in indexes) for oid in gone)
    except ArchiveTrouble:
        return False


def _quietly(done: int, total: int) -> None:
    """Nobody watches."""


def _archive_id(marker: str) -> str:
    try:
        identity = read_plain(marker, 4_096).decode("ascii").strip()[:12]
    except (OSError, ValueError):
        identity = ""
    return identity if identity.isalnum() else "new"


def _refused(wanted: str, used: str) -> Refused | None:
    """Why the emergency place has not the name it should have."""
    if not used.startswith(f"{wanted}-"):
        return None
    try:
        check_private(wanted)
    except Refused as refused:
        return refused
    except OSError:
        pass
    return None


def _raise_limit() -> int:
    """How many descriptors may hold files, after asking for as many as this process may have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FDS if hard == resource.RLIM_INFINITY else min(hard, _MOST_FDS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass
    return max(16, (_MOST_FDS if soft == resource.RLIM_INFINITY else soft) - _SPARE_FDS)
