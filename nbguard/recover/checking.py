"""Whether a rebuilt notebook runs from the top: in a kernel of its own, in an empty folder, and only when asked."""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import Protocol

from nbguard.errors import NbguardError
from nbguard.ports import Progress
from nbguard.recover.sound_cells import SKIPPED

_START_SECONDS = 60.0
_INTERRUPT_SECONDS = 10.0
_LONGEST = 200
_Message = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a run may take: each cell, and all of them."""

    cell_seconds: float = 60.0
    whole_seconds: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A code cell that did not run to its end: ``number`` counts the notebook's cells from 1.

    ``why`` is the error in one line, ``timeout``, or ``not run`` (the kernel was gone, or there was no time left).
    """

    number: int
    id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a run from the top showed. ``outputs`` are each executed cell's, as nbformat has them, by its id."""

    code_cells: int
    failing: tuple[Failing, ...]
    outputs: dict[str, list[dict[str, object]]]


class CheckFailed(NbguardError):
    """The check could not begin: no such kernel, or it did not start. It says nothing of the notebook."""

    code = "check-failed"


class _Channels(Protocol):
    def execute(self, code: str, *, allow_stdin: bool, stop_on_error: bool) -> str: ...
    def get_iopub_msg(self, timeout: float) -> _Message: ...
    def is_alive(self) -> bool: ...


def check(
    notebook: bytes, limits: Limits | None = None, *, kernel: str = "", progress: Progress | None = None
) -> Checked:
    """Execute a notebook's code cells in order, each also after one that failed; the kernel is killed at the end.

    Cells with the tag ``skip-execution`` are left out, as nbclient does. The kernel is ``kernel``, else the one the
    notebook names, else ``python3``. It works in a temporary folder that is removed, and keeps its history in memory.
    It is a process of this user all the same: what a cell does elsewhere, it does. Raises CheckFailed.
    """
    document = json.loads(notebook)
    cells = [
        (number, str(cell.get("id", number)), "".join(cell["source"]))
        for number, cell in enumerate(document["cells"], 1)
        if cell["cell_type"] == "code" and SKIPPED not in cell["metadata"].get("tags", ())
    ]
    folder = tempfile.mkdtemp(prefix="nbguard-check-")
    try:
        with _kernel(kernel or _kernel_name(document), folder) as running:
            return _Run(running, limits or Limits()).all(cells, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kernel_name(document: dict[str, dict[str, object]]) -> str:
    spec = document["metadata"].get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else "python3"


@dataclass(frozen=True, slots=True)
class _Kernel:
    channels: _Channels
    interrupt: Callable[[], None]


@contextmanager
def _kernel(name: str, folder: str) -> Iterator[_Kernel]:
    """A kernel that is ready, and dead afterwards. Raises CheckFailed."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name=name, connection_file=os.path.join(folder, "kernel.json"))
    client = None
    try:
        try:
            python = str(manager.kernel_spec.language).lower() == "python" if manager.kernel_spec else False
            # history.sqlite is the user's: this kernel must not write there, nor be one more that locks it
            in_memory = ["--HistoryManager.hist_file=:memory:"] if python else []
            manager.start_kernel(cwd=folder, extra_arguments=in_memory, stdout=DEVNULL, stderr=DEVNULL)
            client = manager.blocking_client()
            client.start_channels()
            client.wait_for_ready(timeout=_START_SECONDS)
        except Exception as error:  # jupyter_client raises its own, RuntimeError and OSError alike
            raise CheckFailed(
                f"the kernel {name!r} does not start: {error}",
                hint="`jupyter kernelspec list` names the kernels there are; what was rebuilt is not touched by this",
            ) from error
        yield _Kernel(client, manager.interrupt_kernel)
    finally:
        if client is not None:
            client.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources(restart=False)


class _Run:
    """One run from the top."""

    def __init__(self, kernel: _Kernel, limits: Limits) -> None:
        self._kernel = kernel
        self._cell_seconds = limits.cell_seconds
        self._deadline = time.monotonic() + limits.whole_seconds
        self._is_gone = False

    def all(self, cells: Sequence[tuple[int, str, str]], progress: Progress | None) -> Checked:
        """Every cell in turn."""
        failing: list[Failing] = []
        outputs: dict[str, list[dict[str, object]]] = {}
        for done, (number, identity, source) in enumerate(cells):
            if progress is not None:
                progress(done, len(cells))
            if self._is_gone or time.monotonic() >= self._deadline:
                failing.append(Failing(number=number, id=identity, why="not run"))
                continue
            outputs[identity], why = self._cell(source)
            if why:
                failing.append(Failing(number=number, id=identity, why=why))
        return Checked(code_cells=len(cells), failing=tuple(failing), outputs=outputs)

    def _cell(self, source: str) -> tuple[list[dict[str, object]], str]:
        """One cell's outputs, and why it failed ('' when it did not)."""
        try:
            shown, why = self._asked(source, min(time.monotonic() + self._cell_seconds, self._deadline))
        except (UnicodeEncodeError, ValueError) as error:  # a lone surrogate cannot be sent to a kernel
            return [], f"cannot be sent: {error}"[:_LONGEST]
        if why == "timeout":
            self._kernel.interrupt()
            _, still = self._asked("", time.monotonic() + _INTERRUPT_SECONDS)
            self._is_gone = still != ""
        elif why == "the kernel died":
            self._is_gone = True
        return shown, why

    def _asked(self, source: str, deadline: float) -> tuple[list[dict[str, object]], str]:
        channels = self._kernel.channels
        asked = channels.execute(source, allow_stdin=False, stop_on_error=False)
        shown: list[dict[str, object]] = []
        why = ""
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = channels.get_iopub_msg(timeout=min(left, 1.0))
            except queue.Empty:
                if not channels.is_alive():
                    return shown, "the kernel died"
                continue
            kind, content = _of(message, asked)
            if kind == "status" and content.get("execution_state") == "idle":
                return shown, why
            if kind in ("stream", "display_data", "execute_result", "error"):
                shown.append({**content, "output_type": kind})
            if kind == "error":
                why = f"{content.get('ename')}: {content.get('evalue')}".split("\n")[0][:_LONGEST]
        return shown, "timeout"


def _of(message: _Message, asked: str) -> tuple[str, _Message]:
    """A message's type and content; ('', {}) for one that answers something else."""
    parent, header, content = message.get("parent_header"), message.get("header"), message.get("content")
    if not (isinstance(parent, dict) and isinstance(header, dict) and isinstance(content, dict)):
        return "", {}
    return (str(header.get("msg_type")), content) if parent.get("msg_id") == asked else ("", {})
