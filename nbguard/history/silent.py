"""Which kernels have stopped writing history without saying so; told from what they hold open, nobody is asked.

While all is well a kernel holds its database open twice: once to read, once in the thread that writes. When that thread
dies it closes its own, and every later cell is only in the kernel's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

SETTLED_SECONDS = 25.0
_HINT_RESTART = "restart the kernel when you can: it then writes history again; save its notebook first"


class Why(StrEnum):
    """How a kernel lost its history."""

    DELETED = "deleted"
    REPLACED = "replaced"
    THREAD_DIED = "thread-died"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A history database that a kernel holds open ``times`` over. ``is_gone``: it has no name any more;
    ``is_elsewhere``: another file, or none, is at its path."""

    path: str
    times: int
    is_gone: bool
    is_elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSeen:
    """What can be seen of an IPython from outside. ``keeps_nothing``: it was told to keep its history in memory."""

    pid: int
    name: str
    age_seconds: float
    keeps_nothing: bool
    held: tuple[HeldFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One kernel whose cells reach no database that lasts."""

    pid: int
    name: str
    why: Why
    message: str
    hint: str


def losses(kernels: Iterable[KernelSeen]) -> Iterator[Loss]:
    """Those whose history is lost, each with its reason.

    Kernels that were told to keep nothing (nbconvert and papermill start theirs so) are no loss, and neither are those
    that have just started and not yet opened a database.
    """
    for kernel in kernels:
        if kernel.keeps_nothing:
            continue
        why, path = _why(kernel.held)
        is_starting = why in (Why.NOWHERE, Why.THREAD_DIED) and kernel.age_seconds < SETTLED_SECONDS
        if why is not None and not is_starting:
            message, hint = _words(why, kernel, path)
            yield Loss(pid=kernel.pid, name=kernel.name, why=why, message=message, hint=hint)


def _why(held: tuple[HeldFile, ...]) -> tuple[Why | None, str]:
    if not held:
        return Why.NOWHERE, ""
    in_place = [file for file in held if not file.is_elsewhere]
    if any(file.times > 1 for file in in_place):
        return None, ""
    if in_place:
        return Why.THREAD_DIED, in_place[0].path
    gone = held[0]
    return (Why.DELETED if gone.is_gone else Why.REPLACED), gone.path


def _words(why: Why, kernel: KernelSeen, path: str) -> tuple[str, str]:
    match why:
        case Why.DELETED:
            return f"{path} was deleted while {kernel.name} runs: its cells reach no file any more", _HINT_RESTART
        case Why.REPLACED:
            return f"{path} was replaced while {kernel.name} runs: its cells reach no file any more", _HINT_RESTART
        case Why.THREAD_DIED:
            return f"{kernel.name} has stopped writing history to {path} (its saving thread ended)", _HINT_RESTART
        case Why.NOWHERE:
            return (
                f"{kernel.name} keeps its history nowhere: it is disabled, or the database could not be opened",
                "see HistoryManager.enabled and hist_file in ipython_config.py, or restart the kernel",
            )
