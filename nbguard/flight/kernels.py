"""Which kernels are recorded: those of notebooks in a watched root that nothing excludes, others when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelToRecord:
    """A live kernel and how its IOPub channel is reached (as its connection file has it).

    ``path`` is the notebook it is linked to, None when there is none. The keys are for checking signatures and for
    CurveZMQ; they are no part of ``repr``. ``is_notebook``: a console's or a terminal's kernel is not.
    """

    kernel: str
    path: str | None
    transport: str
    ip: str
    iopub_port: int
    key: bytes = field(repr=False)
    scheme: str = "hmac-sha256"
    curve_public: bytes = field(default=b"", repr=False)
    curve_secret: bytes = field(default=b"", repr=False)
    is_notebook: bool = True
    generation: str | None = None
    session: int | None = None

    @property
    def address(self) -> str:
        """What ZeroMQ connects to; a kernel that listens everywhere is reached on this machine."""
        if self.transport == "ipc":
            return f"ipc://{self.ip}-{self.iopub_port}"
        ip = "127.0.0.1" if self.ip in ("*", "0.0.0.0", "") else self.ip
        return f"{self.transport}://{ip}:{self.iopub_port}"


IsWatched = Callable[[str], bool]
"""Whether a path is a notebook of a watched root."""


def chosen(
    kernels: Sequence[KernelToRecord], *, is_watched: IsWatched, is_excluded: IsWatched, others: bool
) -> list[KernelToRecord]:
    """The kernels that are to be recorded, each once.

    A kernel that serves several notebooks is listed once for each: one that is excluded excludes the kernel, for what
    it publishes may be of either. Unless ``others`` is asked for, one notebook that is not watched excludes it as well.
    """
    refused = {
        (kernel.kernel, kernel.address)
        for kernel in kernels
        if (kernel.path is not None and is_excluded(kernel.path)) or not (others or _is_ours(kernel, is_watched))
    }
    found: dict[tuple[str, str], KernelToRecord] = {}
    for kernel in kernels:
        if (name := (kernel.kernel, kernel.address)) not in refused:
            found.setdefault(name, kernel)
    return list(found.values())


def _is_ours(kernel: KernelToRecord, is_watched: IsWatched) -> bool:
    return kernel.is_notebook and kernel.path is not None and is_watched(kernel.path)
