"""The composition root's page for the flight recorder: which kernels it hears, and where its runs go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from nbguard.app import scopes_of
from nbguard.app_history import executed_library, output_store_of, record_log_of
from nbguard.executed import Frontend
from nbguard.settings import Settings

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.clock import Clock
    from nbguard.flight.kernels import KernelToRecord
    from nbguard.flight.recorder import FlightRecorder
    from nbguard.history.connection import Connection
    from nbguard.history.kernels import LiveKernel
    from nbguard.model import Version
    from nbguard.recover.complete import Completed

LiveKernels = Callable[[], Sequence["LiveKernel"]]


def flight_recorder_of(
    context: Context, roots: Sequence[str], clock: Clock, live: LiveKernels
) -> FlightRecorder | None:
    """The recorder of a daemon that watches ``roots``; None when it is switched off. Raises StorageTrouble.

    ``live`` are the kernels that live now, with their notebooks; it is asked every two seconds while some are recorded.
    """
    from nbguard.flight.caps import Caps
    from nbguard.flight.recorder import FlightRecorder

    settings = (context.settings or Settings()).recorder
    if not settings.enabled:
        return None
    outputs = output_store_of(context)
    today = clock.now().astimezone(UTC).date()
    return FlightRecorder(
        kernels=_choosing(context, roots, live),
        log=record_log_of(context),
        outputs=outputs,
        clock=clock,
        caps=Caps(output_bytes=settings.output_bytes, day_bytes=settings.day_bytes),
        spent_today=sum(file.size for file in outputs.files() if file.day == today),
    )


def completing(context: Context, version: Version, versions: Sequence[Version]) -> Callable[[bytes], Completed]:
    """How a version's bytes are completed with outputs recorded after its save, at any of the notebook's paths."""
    from nbguard.recover.complete import Completed, complete

    library = executed_library(context)
    runs = [run for path in {one.path for one in versions} for run in library.runs(path=path)]
    if not runs:
        return lambda data: Completed(data=data)
    runs.sort(key=lambda run: run.started_at)
    store = output_store_of(context)

    def outputs_of(run: str) -> str | None:
        return store.get(run, version.saved_at)  # only later runs are asked for

    return lambda data: complete(data, runs=runs, outputs_of=outputs_of, saved_at=version.saved_at, version=version.id)


def _choosing(context: Context, roots: Sequence[str], live: LiveKernels) -> Callable[[], list[KernelToRecord]]:
    from nbguard.flight.kernels import chosen

    settings = (context.settings or Settings()).recorder
    scopes, excluded = scopes_of(context, roots), _matcher(settings.exclude, roots)

    def is_watched(path: str) -> bool:
        return any(scope.covers(path) for scope in scopes)

    def kernels() -> list[KernelToRecord]:
        found = [kernel for one in live() if (kernel := _to_record(one, is_watched)) is not None]
        return chosen(found, is_watched=is_watched, is_excluded=excluded, others=settings.other_kernels)

    return kernels


def _matcher(patterns: tuple[str, ...], roots: Sequence[str]) -> Callable[[str], bool]:
    """Patterns are relative to a root, as `ignore` is; for a notebook outside of every root, to ``/``."""
    if not patterns:
        return lambda path: False
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(patterns)
    prefixes = [root.rstrip("/") + "/" for root in roots]

    def is_excluded(path: str) -> bool:
        inside = [path[len(prefix) :] for prefix in prefixes if path.startswith(prefix)] or [path.lstrip("/")]
        return any(spec.match_file(relative) for relative in inside)

    return is_excluded


def _absolute(connection: Connection, pid: int) -> str:
    """The address; a socket in the file system is named from the folder the kernel was started in."""
    if connection.transport != "ipc" or os.path.isabs(connection.ip):
        return connection.ip
    try:
        return os.path.join(os.readlink(f"/proc/{pid}/cwd"), connection.ip)
    except OSError:
        return connection.ip


def _to_record(kernel: LiveKernel, is_watched: Callable[[str], bool]) -> KernelToRecord | None:
    from nbguard.flight.kernels import KernelToRecord

    connection, path = kernel.connection, kernel.path
    if connection is None:
        return None
    if path is not None and not is_watched(path) and is_watched(real := os.path.realpath(path)):
        path = real  # the server was started in a folder that is a link into a root
    return KernelToRecord(
        kernel=kernel.kernel,
        path=path,
        transport=connection.transport,
        ip=_absolute(connection, kernel.pid),
        iopub_port=connection.iopub_port,
        key=connection.key,
        scheme=connection.scheme,
        curve_public=connection.curve_public,
        curve_secret=connection.curve_secret,
        is_notebook=kernel.frontend in (Frontend.NOTEBOOK, Frontend.VSCODE),
        generation=kernel.generation,
        session=kernel.session,
    )
